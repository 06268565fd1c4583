#include "caller.h"

#include <algorithm>
#include <map>

namespace {

using gemwire::Encoding;
using gemwire::Task;
using gemwire::Truncation;

const std::map<std::string, Task> kTasks = {{"retrieval_query", Task::retrieval_query},
                                            {"retrieval_document", Task::retrieval_document},
                                            {"question_answering", Task::question_answering},
                                            {"fact_verification", Task::fact_verification},
                                            {"classification", Task::classification},
                                            {"clustering", Task::clustering},
                                            {"semantic_similarity", Task::semantic_similarity},
                                            {"code_retrieval_query", Task::code_retrieval_query}};
const std::map<std::string, Truncation> kTruncations = {
    {"error", Truncation::error}, {"end", Truncation::end}, {"start", Truncation::start}};
const std::map<std::string, Encoding> kEncodings = {
    {"float32", Encoding::float32},       {"bfloat16", Encoding::bfloat16},
    {"float16", Encoding::float16},       {"int8", Encoding::int8},
    {"int8_fixed", Encoding::int8_fixed}, {"binary", Encoding::binary},
    {"ubinary", Encoding::ubinary},       {"ubinary_lsb", Encoding::ubinary_lsb}};

gemwire::Text text_of(const Json& said) {
  if (said.is_string()) return said.get<std::string>();
  if (said.contains("ids")) return said["ids"].get<gemwire::TokenIds>();
  if (said.contains("bytes")) return std::string(said["bytes"].get<std::size_t>(), 'a');
  return gemwire::Text::document(said["text"], said.value("title", ""));
}

std::vector<gemwire::Text> texts_of(const Json& said) {
  std::vector<gemwire::Text> texts;
  if (said.is_object()) {
    for (int i = 0; i < said["count"]; ++i) texts.push_back("text " + std::to_string(i));
  } else {
    for (const Json& text : said) texts.push_back(text_of(text));
  }
  return texts;
}

std::optional<Task> task_of(const Json& said, const char* key) {
  if (!said.contains(key)) return std::nullopt;
  return kTasks.at(said[key]);
}

gemwire::EmbedOptions options_of(const Json& call) {
  const Json said = call.value("options", Json::object());
  gemwire::EmbedOptions options;
  options.task = task_of(said, "task");
  if (said.contains("prompt_name")) options.prompt_name = said["prompt_name"];
  if (said.contains("prompt")) options.prompt = said["prompt"];
  options.dimensions = said.value("dimensions", 0u);
  options.normalize = said.value("normalize", true);
  options.truncation = kTruncations.at(said.value("truncation", "error"));
  options.encoding = kEncodings.at(said.value("encoding", "float32"));
  options.priority = said.value("priority", 0);
  return options;
}

Json json_of(const gemwire::Vector& vector) {
  return std::visit([](const auto& numbers) { return Json(numbers); }, vector);
}

std::string type_of(const gemwire::Error& error) {
  if (dynamic_cast<const gemwire::InvalidInput*>(&error)) return "InvalidInput";
  if (dynamic_cast<const gemwire::NotFound*>(&error)) return "NotFound";
  if (dynamic_cast<const gemwire::Overloaded*>(&error)) return "Overloaded";
  if (dynamic_cast<const gemwire::DeadlineExceeded*>(&error)) return "DeadlineExceeded";
  if (dynamic_cast<const gemwire::Unavailable*>(&error)) return "Unavailable";
  if (dynamic_cast<const gemwire::AccessDenied*>(&error)) return "AccessDenied";
  if (dynamic_cast<const gemwire::EngineFailure*>(&error)) return "EngineFailure";
  return "Error";
}

Json json_of(const gemwire::Error& error) {
  Json json = {{"type", type_of(error)},       {"code", gemwire::name(error.code())},
               {"message", error.message()},   {"reason", error.reason()},
               {"metadata", error.metadata()}, {"fields", error.fields()},
               {"retry_after", nullptr},       {"index", nullptr},
               {"errors", Json::array()}};
  if (const auto delay = error.retry_after()) {
    json["retry_after"] = std::chrono::duration<double>(*delay).count();
  }
  if (error.index()) json["index"] = *error.index();
  for (const auto& [index, each] : error.errors()) json["errors"].push_back(index);
  return json;
}

Json json_of(const gemwire::Model& model) {
  return {{"name", model.name},
          {"display_name", model.display_name},
          {"revision", model.revision},
          {"dtype", model.dtype},
          {"engine", model.engine},
          {"server_version", model.server_version},
          {"dimensions", model.dimensions},
          {"supported_dimensions", model.supported_dimensions},
          {"default_dimensions", model.default_dimensions},
          {"max_input_tokens", model.max_input_tokens},
          {"vocabulary_size", model.vocabulary_size},
          {"prompts", model.prompts},
          {"max_inputs_per_request", model.limits.max_inputs_per_request},
          {"max_request_bytes", model.limits.max_request_bytes},
          {"max_batch_tokens", model.limits.max_batch_tokens},
          {"max_queue_tokens", model.limits.max_queue_tokens},
          {"max_stream_inflight_inputs", model.limits.max_stream_inflight_inputs},
          {"max_response_bytes", model.limits.max_response_bytes}};
}

/// Reads a stream into `outcome`, which keeps what came before an error.
void read_stream(gemwire::Client& client, const Json& said, Json& outcome) {
  outcome = {{"results", Json::array()}, {"read_ahead", 0}};
  const std::vector<gemwire::Text> texts = texts_of(said["texts"]);
  std::size_t taken = 0;
  const auto source = [&]() -> std::optional<gemwire::Text> {
    if (taken == texts.size()) return std::nullopt;
    const std::size_t ahead = taken + 1 - outcome["results"].size();
    outcome["read_ahead"] = std::max(outcome["read_ahead"].get<std::size_t>(), ahead);
    return texts[taken++];
  };
  gemwire::Stream stream =
      client.embed_stream(source, options_of(said), {.ordered = said.value("ordered", true)});
  for (const gemwire::StreamResult& result : stream) {
    Json json = {{"index", result.index()}};
    if (result.ok()) {
      json["vector"] = json_of(result.vector());
    } else {
      json["error"] = json_of(*result.error());
    }
    outcome["results"].push_back(std::move(json));
    if (outcome["results"].size() == said.value("stop_after", std::size_t{0})) return;
  }
}

void call_into(gemwire::Client& client, const Json& said, Json& outcome) {
  const std::string method = said["method"];
  const auto dimensions = said.value("dimensions", 0u);
  if (method == "embed_query") {
    outcome["vectors"] = {client.embed_query(text_of(said["text"]), dimensions)};
  } else if (method == "embed_documents") {
    std::vector<gemwire::Text> texts = texts_of(said["texts"]);
    const Json titles = said.value("titles", Json::array());
    for (std::size_t i = 0; i < titles.size(); ++i) texts[i].title = titles[i];
    outcome["vectors"] = client.embed_documents(texts, dimensions);
  } else if (method == "embed") {
    outcome["vectors"] = Json::array();
    for (const auto& vector : client.embed(texts_of(said["texts"]), options_of(said))) {
      outcome["vectors"].push_back(json_of(vector));
    }
  } else if (method == "similarity") {
    outcome["scores"] = client.similarity(text_of(said["source"]), texts_of(said["targets"]),
                                          {.task = task_of(said, "task"),
                                           .target_task = task_of(said, "target_task"),
                                           .dimensions = dimensions});
  } else if (method == "tokenize") {
    outcome["ids"] = client.tokenize(text_of(said["text"]), options_of(said));
  } else if (method == "detokenize") {
    outcome["text"] = client.detokenize(said["ids"].get<gemwire::TokenIds>(),
                                        said.value("keep_special_tokens", false));
  } else if (method == "model") {
    outcome["model"] = json_of(client.model());
  } else if (method == "embed_stream") {
    read_stream(client, said, outcome);
  } else {
    throw std::invalid_argument("there is no method " + method);
  }
}

}  // namespace

gemwire::Client dial(const Json& server, const std::string& token, const Json& timeout) {
  gemwire::ClientOptions options;
  options.token = token;
  options.timeout = timeout.is_null()
                        ? gemwire::no_timeout
                        : std::chrono::milliseconds(static_cast<int>(timeout.get<double>() * 1000));
  if (server.contains("ca")) {
    options.tls = gemwire::Tls{.ca = server["ca"].get<std::string>(),
                               .certificate = server.value("cert", ""),
                               .key = server.value("key", "")};
  }
  return gemwire::Client(server["address"].get<std::string>(), options);
}

Json call(gemwire::Client& client, const Json& said) {
  Json outcome = Json::object();
  try {
    call_into(client, said, outcome);
  } catch (const gemwire::Error& error) {
    outcome["error"] = json_of(error);
  }
  return outcome;
}
