#include "expectation.h"

#include <algorithm>
#include <cmath>

namespace {

using Json = nlohmann::json;

std::string differs(const std::string& what, const Json& expected, const Json& got) {
  return what + ": " + got.dump().substr(0, 2000) + " where " + expected.dump().substr(0, 2000) +
         " is due";
}

/// An error has what is expected, as far as that is given.
std::string error_difference(const Json& expected, const Json& got) {
  if (got.is_null()) return "no error where one is due";
  for (const auto& [key, value] : expected.items()) {
    const bool near = key == "retry_after" && value.is_number() && got[key].is_number() &&
                      std::abs(value.get<double>() - got[key].get<double>()) < 1e-6;
    if (!near && got[key] != value) return differs("the error's " + key, value, got);
  }
  return "";
}

std::string results_difference(const Json& expected, const Json& got) {
  if (expected.size() != got.size()) return differs("results", expected, got);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (got[i]["index"] != expected[i]["index"]) return differs("index", expected[i], got[i]);
    if (expected[i].contains("error")) {
      const auto found = error_difference(expected[i]["error"], got[i].value("error", Json()));
      if (!found.empty()) return found;
    } else if (got[i].value("vector", Json()) != expected[i]["vector"]) {
      return differs("vector", expected[i], got[i]);
    }
  }
  return "";
}

/// The results of texts 0 to count - 1, each with the vector [i, 1].
Json counted(std::size_t count) {
  Json results = Json::array();
  for (std::size_t i = 0; i < count; ++i) {
    results.push_back({{"index", i}, {"vector", {i, 1}}});
  }
  return results;
}

Json vectors_of(const Json& results) {
  Json vectors = Json::array();
  for (const Json& result : results) vectors.push_back(result.value("vector", Json()));
  return vectors;
}

Json lengths_of(const Json& vectors) {
  Json lengths = Json::array();
  for (const Json& vector : vectors) lengths.push_back(vector.size());
  return lengths;
}

std::string value_difference(const std::string& key, const Json& expected, const Json& got,
                             const Json& reference) {
  if (key == "results") return results_difference(expected, got[key]);
  if (key == "count") {
    Json results = got["results"];
    std::sort(results.begin(), results.end(),
              [](const Json& a, const Json& b) { return a["index"] < b["index"]; });
    return results_difference(counted(expected), results);
  }
  if (key == "model") {
    for (const auto& [name, value] : expected.items()) {
      if (got[key].value(name, Json()) != value) return differs(name, value, got[key]);
    }
    return "";
  }
  if (key == "read_ahead") {
    return got[key] > expected ? differs(key, expected, got[key]) : "";
  }
  if (key == "lengths") {
    const Json lengths = lengths_of(got["vectors"]);
    return lengths != expected ? differs(key, expected, lengths) : "";
  }
  if (key == "reference") {
    const Json due = reference.at(expected.get<std::string>());
    const Json found = got.contains("results") ? vectors_of(got["results"]) : *got.begin();
    return found != due ? differs(key, due, found) : "";
  }
  return got.value(key, Json()) != expected ? differs(key, expected, got) : "";
}

}  // namespace

std::string difference(const Json& expect, const Json& got, const Json& reference) {
  const bool unexpected = got.contains("error") && !expect.contains("error");
  if (unexpected) return differs("an error", expect, got["error"]);
  for (const auto& [key, expected] : expect.items()) {
    const auto found = key == "error" ? error_difference(expected, got.value("error", Json()))
                                      : value_difference(key, expected, got, reference);
    if (!found.empty()) return found;
  }
  return "";
}
