#pragma once

#include <nlohmann/json.hpp>
#include <string>

/// What differs between `expect` of a case and what the caller got, see call(); empty if nothing.
std::string difference(const nlohmann::json& expect, const nlohmann::json& got,
                       const nlohmann::json& reference);
