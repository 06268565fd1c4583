/// \file
/// The client of a gemwire server. The headers of this library name neither gRPC nor protobuf.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gemwire/error.h"
#include "gemwire/model.h"
#include "gemwire/options.h"
#include "gemwire/stream.h"
#include "gemwire/text.h"
#include "gemwire/vector.h"

namespace gemwire {

/// Files in PEM for TLS.
struct Tls {
  /// Certificates of the authorities to trust; empty: the system's.
  std::filesystem::path ca = {};
  /// The client's certificate, with `key`; empty: none.
  std::filesystem::path certificate = {};
  /// The client's private key.
  std::filesystem::path key = {};
};

/// Options of a client.
struct ClientOptions {
  /// TLS with these files; absent: plain text.
  std::optional<Tls> tls = {};
  /// Sent as `authorization: Bearer TOKEN` with every call; empty: none.
  std::string token = {};
  /// The timeout of calls that set none; `no_timeout`: no deadline is sent.
  std::chrono::milliseconds timeout = std::chrono::seconds(60);
};

/// The ids of a text's tokens and their places in the text.
struct TokenSpans {
  /// The ids that the model gets, with prompt and special tokens.
  TokenIds ids;
  /// For each id the first byte and the byte behind the last that it stands for in the text. Both
  /// are 0 for a special token, and for one of the prompt or the title.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> spans;
};

/// Calls a gemwire server. Every method blocks, and throws Error or a type derived from it. Threads
/// may share a client. A call is tried again where that is safe and helps, within its timeout.
class Client {
 public:
  /// A client of the server at `address`: "host:port", "dns:///name:port" or "unix:/path". Connects
  /// with the first call. Throws std::system_error for a file of `options.tls` that cannot be read,
  /// and std::invalid_argument for a token that no header takes, a CA file without a certificate,
  /// and a client certificate or key without the other.
  explicit Client(const std::string& address, const ClientOptions& options = {});
  /// As `close`. No other thread may be in a method of the client.
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  /// The vector of a search query, of `dimensions` numbers; 0: the model's default.
  Floats embed_query(const Text& text, std::uint32_t dimensions = 0, const CallOptions& call = {});

  /// The vectors of documents to search in, in order, of `dimensions` numbers each; 0: the model's
  /// default. For titles see Text::document. Throws as `embed`.
  std::vector<Floats> embed_documents(const std::vector<Text>& texts, std::uint32_t dimensions = 0,
                                      const CallOptions& call = {});

  /// The vectors of any number of texts, in order. What is over the server's limits is sent in
  /// several requests, one after the other; the timeout is for each. If texts fail, throws the
  /// error of the first of them: its `index` says which, and its `errors` holds all. For partial
  /// results see `embed_stream`. Throws InvalidInput, reason TEXT_TOO_LONG, before any text is
  /// sent, if a text fits in no request, and Error, reason MODEL_CHANGED, if two requests were
  /// answered by different revisions of the model. Throws std::invalid_argument for more than one
  /// prompt.
  std::vector<Vector> embed(const std::vector<Text>& texts, const EmbedOptions& options = {},
                            const CallOptions& call = {});

  /// The vector of one text: the path with the least latency.
  Vector embed_one(const Text& text, const EmbedOptions& options = {},
                   const CallOptions& call = {});

  /// The vectors of any number of texts over one stream, for bulk work; see Stream. `source` is
  /// called in Stream::next only, by its thread, and only as far as the server gave credit, so it
  /// may be endless. If the server goes away, what is unanswered is sent to the next one. Opens the
  /// stream with the first Stream::next.
  Stream embed_stream(Source source, const EmbedOptions& options = {},
                      const StreamOptions& stream = {}, const CallOptions& call = {});

  /// The cosine of each target with the source, from -1 to 1, in order. Any number of targets, as
  /// for `embed`. Throws the source's error, or as `embed` if targets fail.
  std::vector<float> similarity(const Text& source, const std::vector<Text>& targets,
                                const SimilarityOptions& options = {},
                                const CallOptions& call = {});

  /// The ids of the tokens that the model gets, with prompt and special tokens. With
  /// Truncation::error a text over the window comes whole.
  TokenIds tokenize(const Text& text, const EmbedOptions& options = {},
                    const CallOptions& call = {});

  /// The ids as of `tokenize`, and their spans. Throws std::invalid_argument for a Text of ids.
  TokenSpans token_spans(const Text& text, const EmbedOptions& options = {},
                         const CallOptions& call = {});

  /// The text of token ids. Bytes that are no UTF-8 read as U+FFFD.
  std::string detokenize(const TokenIds& ids, bool keep_special_tokens = false,
                         const CallOptions& call = {});

  /// The model of the server. The client asks for it once.
  Model model(const CallOptions& call = {});

  /// Cancels the calls and streams under way: they fail with Error, code Code::cancelled, and so
  /// does every later call. May be called from any thread.
  void close() noexcept;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace gemwire
