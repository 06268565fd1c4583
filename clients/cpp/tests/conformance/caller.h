#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "gemwire/client.h"

using Json = nlohmann::json;

/// A client of a server of the file of CONFORMANCE, with a case's timeout.
gemwire::Client dial(const Json& server, const std::string& token, const Json& timeout);

/// Makes a call of a case. Returns what the caller gets in the form of `expect`: vectors, scores,
/// ids, text, model or results, and the error with all its details. Of a stream it also returns
/// `read_ahead`: the most texts that were taken from the source and not yet handed out.
Json call(gemwire::Client& client, const Json& said);
