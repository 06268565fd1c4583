#include "gemwire/client.h"

#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "connection.h"
#include "decode.h"
#include "failure.h"
#include "reader.h"
#include "requests.h"

namespace gemwire {
namespace {

using Embedding = v1::EmbeddingService::Stub;

Model model_of(const v1::Model& message) {
  Model model;
  model.name = message.name();
  model.display_name = message.display_name();
  model.revision = message.revision();
  model.dtype = message.dtype();
  model.engine = message.engine();
  model.server_version = message.server_version();
  model.dimensions = message.dimensions();
  model.supported_dimensions = {message.supported_dimensions().begin(),
                                message.supported_dimensions().end()};
  // Servers before this field gave the full size.
  model.default_dimensions =
      message.default_dimensions() > 0 ? message.default_dimensions() : message.dimensions();
  model.max_input_tokens = message.max_input_tokens();
  model.vocabulary_size = message.vocabulary_size();
  for (const int task : message.supported_tasks()) {
    model.supported_tasks.push_back(static_cast<Task>(task));
  }
  if (message.default_task() != v1::TASK_TYPE_UNSPECIFIED) {
    model.default_task = static_cast<Task>(message.default_task());
  }
  model.prompts = {message.prompts().begin(), message.prompts().end()};
  for (const int encoding : message.supported_encodings()) {
    model.supported_encodings.push_back(static_cast<Encoding>(encoding));
  }
  const auto& limits = message.limits();
  model.limits = {limits.max_inputs_per_request(),     limits.max_request_bytes(),
                  limits.max_batch_tokens(),           limits.max_queue_tokens(),
                  limits.max_stream_inflight_inputs(), limits.max_response_bytes()};
  return model;
}

/// The answers to the texts of one call, as its requests are answered.
template <class Value>
class Answers {
 public:
  /// Takes the response to a slice of the texts. Throws Error if it cannot belong to them.
  template <class Response, class Read>
  void add(const Response& response, const Slice& slice, Read read) {
    if (revision_ && *revision_ != response.model_revision()) model_changed()->raise();
    revision_ = response.model_revision();
    const auto count = static_cast<std::size_t>(response.results_size());
    if (count != slice.end - slice.begin) {
      throw Error(std::to_string(count) + " answers to " + std::to_string(slice.end - slice.begin) +
                      " texts",
                  {.code = Code::unknown});
    }
    for (const auto& result : response.results()) {
      const std::uint64_t index = values_.size();
      if (auto value = read(result)) {
        values_.push_back(std::move(*value));
      } else {
        values_.emplace_back();
        errors_.emplace(index, failure_of(result.error(), index).error);
      }
    }
  }

  /// All values. If texts failed, throws the error of the first of them, which holds all.
  std::vector<Value> values() && {
    if (!errors_.empty()) {
      const Error& first = *errors_.begin()->second;
      ErrorDetails details = first.details();
      details.errors = errors_;
      make_error(first.message(), std::move(details))->raise();
    }
    return std::move(values_);
  }

 private:
  std::vector<Value> values_;
  std::map<std::uint64_t, std::shared_ptr<const Error>> errors_;
  std::optional<std::string> revision_;
};

Floats floats(Vector vector) {
  if (auto* numbers = std::get_if<Floats>(&vector)) return std::move(*numbers);
  throw Error("the server answered in an encoding that was not asked for", {.code = Code::unknown});
}

}  // namespace

class Client::State {
 public:
  State(const std::string& address, const ClientOptions& options)
      : connection(std::make_shared<Connection>(address, options)) {}
  ~State() { connection->close(); }

  /// Calls a method of the embedding service.
  template <class Request, class Response>
  void call(grpc::Status (Embedding::*method)(grpc::ClientContext*, const Request&, Response*),
            const Request& request, Response* response, const CallOptions& options) {
    connection->call(connection->embedding(), method, request, response, options);
  }

  Model model(const CallOptions& options) {
    {
      const std::lock_guard lock(mutex_);
      if (model_) return *model_;
    }
    v1::GetModelResponse response;
    connection->call(connection->models(), &v1::ModelService::Stub::GetModel, v1::GetModelRequest(),
                     &response, options);
    const std::lock_guard lock(mutex_);
    model_ = model_of(response.model());
    return *model_;
  }

  std::shared_ptr<Connection> connection;

 private:
  std::mutex mutex_;
  std::optional<Model> model_;
};

Client::Client(const std::string& address, const ClientOptions& options)
    : state_(std::make_unique<State>(address, options)) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Floats Client::embed_query(const Text& text, std::uint32_t dimensions, const CallOptions& call) {
  return floats(embed_one(text, {.task = Task::retrieval_query, .dimensions = dimensions}, call));
}

std::vector<Floats> Client::embed_documents(const std::vector<Text>& texts,
                                            std::uint32_t dimensions, const CallOptions& call) {
  std::vector<Vector> vectors =
      embed(texts, {.task = Task::retrieval_document, .dimensions = dimensions}, call);
  std::vector<Floats> documents;
  documents.reserve(vectors.size());
  for (Vector& vector : vectors) documents.push_back(floats(std::move(vector)));
  return documents;
}

std::vector<Vector> Client::embed(const std::vector<Text>& texts, const EmbedOptions& options,
                                  const CallOptions& call) {
  v1::BatchEmbedRequest request;
  *request.mutable_options() = options_message(options);
  std::vector<v1::EmbedInput> inputs = input_messages(texts);
  if (inputs.empty()) return {};
  Answers<Vector> answers;
  for (const Slice& slice : split(inputs, embed_room(state_->model(call), request.options()))) {
    request.clear_inputs();
    for (auto i = slice.begin; i < slice.end; ++i) *request.add_inputs() = std::move(inputs[i]);
    v1::BatchEmbedResponse response;
    state_->call(&Embedding::BatchEmbed, request, &response, call);
    answers.add(response, slice, [](const v1::EmbedResult& result) {
      return result.has_embedding() ? std::optional(decode(result.embedding())) : std::nullopt;
    });
  }
  return std::move(answers).values();
}

Vector Client::embed_one(const Text& text, const EmbedOptions& options, const CallOptions& call) {
  v1::EmbedRequest request;
  *request.mutable_options() = options_message(options);
  *request.mutable_input() = input_message(text);
  v1::EmbedResponse response;
  state_->call(&Embedding::Embed, request, &response, call);
  return decode(response.embedding());
}

Stream Client::embed_stream(Source source, const EmbedOptions& options, const StreamOptions& stream,
                            const CallOptions& call) {
  return Stream(std::make_unique<Stream::Reader>(state_->connection, std::move(source), options,
                                                 stream, call));
}

std::vector<float> Client::similarity(const Text& source, const std::vector<Text>& targets,
                                      const SimilarityOptions& options, const CallOptions& call) {
  v1::ComputeSimilarityRequest request;
  *request.mutable_source() = input_message(source);
  *request.mutable_options() = options_message(options.task, options.dimensions);
  if (options.target_task) {
    *request.mutable_target_options() = options_message(options.target_task, options.dimensions);
  }
  std::vector<v1::EmbedInput> inputs = input_messages(targets);
  if (inputs.empty()) return {};
  Answers<float> answers;
  for (const Slice& slice : split(inputs, similarity_room(state_->model(call)))) {
    request.clear_targets();
    for (auto i = slice.begin; i < slice.end; ++i) *request.add_targets() = std::move(inputs[i]);
    v1::ComputeSimilarityResponse response;
    state_->call(&Embedding::ComputeSimilarity, request, &response, call);
    answers.add(response, slice, [](const v1::SimilarityResult& result) {
      const bool scored = result.outcome_case() == v1::SimilarityResult::kScore;
      return scored ? std::optional(result.score()) : std::nullopt;
    });
  }
  return std::move(answers).values();
}

TokenIds Client::tokenize(const Text& text, const EmbedOptions& options, const CallOptions& call) {
  v1::TokenizeRequest request;
  *request.mutable_input() = input_message(text);
  *request.mutable_options() = options_message(options);
  v1::TokenizeResponse response;
  state_->call(&Embedding::Tokenize, request, &response, call);
  return {response.ids().begin(), response.ids().end()};
}

TokenSpans Client::token_spans(const Text& text, const EmbedOptions& options,
                               const CallOptions& call) {
  if (std::holds_alternative<TokenIds>(text.content)) {
    throw std::invalid_argument("spans are places in a text, and token ids have none");
  }
  v1::TokenizeRequest request;
  *request.mutable_input() = input_message(text);
  *request.mutable_options() = options_message(options);
  request.set_include_spans(true);
  v1::TokenizeResponse response;
  state_->call(&Embedding::Tokenize, request, &response, call);
  if (response.spans_size() != response.ids_size()) {
    throw Error("the server gives no spans: it is older than they are",
                {.code = Code::unimplemented});
  }
  TokenSpans tokens{{response.ids().begin(), response.ids().end()}, {}};
  tokens.spans.reserve(tokens.ids.size());
  for (const auto& span : response.spans()) {
    tokens.spans.emplace_back(span.start_byte(), span.end_byte());
  }
  return tokens;
}

std::string Client::detokenize(const TokenIds& ids, bool keep_special_tokens,
                               const CallOptions& call) {
  v1::DetokenizeRequest request;
  request.mutable_ids()->Add(ids.begin(), ids.end());
  request.set_keep_special_tokens(keep_special_tokens);
  v1::DetokenizeResponse response;
  state_->call(&Embedding::Detokenize, request, &response, call);
  return std::move(*response.mutable_text());
}

Model Client::model(const CallOptions& call) { return state_->model(call); }

void Client::close() noexcept { state_->connection->close(); }

}  // namespace gemwire
