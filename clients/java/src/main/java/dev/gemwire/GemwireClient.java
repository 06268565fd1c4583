package dev.gemwire;

import dev.gemwire.v1.DetokenizeRequest;
import dev.gemwire.v1.EmbedRequest;
import dev.gemwire.v1.EmbeddingServiceGrpc;
import dev.gemwire.v1.GetModelRequest;
import dev.gemwire.v1.ModelServiceGrpc;
import dev.gemwire.v1.TokenizeRequest;
import dev.gemwire.v1.TokenizeResponse;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;

/**
 * A client of a gemwire server. Its calls block; threads may share it.
 *
 * <pre>{@code
 * try (GemwireClient client = GemwireClient.connect("localhost:50051")) {
 *   float[] query = client.embedQuery("Which planet is known as the Red Planet?");
 * }
 * }</pre>
 *
 * <p>Every method throws a {@link GemwireException} if the call fails. A call that a server had no
 * room for, or that was lost, is made again within the timeout. Interrupting the calling thread,
 * cancelling its {@link io.grpc.Context} and closing the client end a call at once.
 */
public final class GemwireClient implements AutoCloseable {
  private final Connection connection;
  private final Duration timeout;
  private final AtomicReference<Model> model;

  GemwireClient(Connection connection, Duration timeout, AtomicReference<Model> model) {
    this.connection = connection;
    this.timeout = timeout;
    this.model = model;
  }

  /**
   * Makes a client without TLS, token or other settings. It connects with its first call.
   *
   * @param address "host:port", "dns:///name:port" or "unix:/path"
   * @return the client
   */
  public static GemwireClient connect(String address) {
    return builder(address).build();
  }

  /**
   * Begins a client with settings.
   *
   * @param address "host:port", "dns:///name:port" or "unix:/path"
   * @return the settings
   */
  public static GemwireClientBuilder builder(String address) {
    return new GemwireClientBuilder(address);
  }

  /**
   * Returns this client with another timeout. Both have one connection, which either closes.
   *
   * @param timeout see {@link GemwireClientBuilder#timeout}
   * @return the other client
   */
  public GemwireClient withTimeout(Duration timeout) {
    return new GemwireClient(connection, GemwireClientBuilder.checked(timeout), model);
  }

  /**
   * Returns this client with no timeout. Both have one connection, which either closes.
   *
   * @return the other client
   */
  public GemwireClient withoutTimeout() {
    return new GemwireClient(connection, null, model);
  }

  /**
   * Returns the model of the server. The client asks for it once.
   *
   * @return the model
   */
  public Model model() {
    Model known = model.get();
    if (known == null) {
      GetModelRequest request = GetModelRequest.getDefaultInstance();
      known = Model.of(call(ModelServiceGrpc.getGetModelMethod(), request).getModel());
      model.set(known);
    }
    return known;
  }

  /**
   * Embeds a search query.
   *
   * @param text the query
   * @return its vector
   */
  public float[] embedQuery(String text) {
    return embedQuery(text, 0);
  }

  /**
   * Embeds a search query as a shorter vector.
   *
   * @param text the query
   * @param dimensions one of {@link Model#supportedDimensions}; 0: the default
   * @return its vector
   */
  public float[] embedQuery(String text, int dimensions) {
    Options options = Options.DEFAULT.withTask(Task.RETRIEVAL_QUERY).withDimensions(dimensions);
    return embed(Text.of(text), options).floats();
  }

  /**
   * Embeds documents to search in. For titles, see the method with texts of type {@link Text}.
   *
   * @param texts any number of documents
   * @return their vectors in order
   */
  public List<float[]> embedDocuments(List<String> texts) {
    return embedDocuments(texts.stream().map(Text::of).toList(), 0);
  }

  /**
   * Embeds documents to search in, which may have titles, as shorter vectors.
   *
   * @param texts any number of documents
   * @param dimensions one of {@link Model#supportedDimensions}; 0: the default
   * @return their vectors in order
   */
  public List<float[]> embedDocuments(List<Text> texts, int dimensions) {
    Options options = Options.DEFAULT.withTask(Task.RETRIEVAL_DOCUMENT).withDimensions(dimensions);
    return embed(texts, options).stream().map(Vector::floats).toList();
  }

  /**
   * Embeds one text.
   *
   * @param text the text
   * @param options how to embed it
   * @return its vector
   */
  public Vector embed(Text text, Options options) {
    EmbedRequest request =
        EmbedRequest.newBuilder().setInput(text.message()).setOptions(options.message()).build();
    return Vector.of(call(EmbeddingServiceGrpc.getEmbedMethod(), request).getEmbedding());
  }

  /**
   * Embeds any number of texts. What is over the server's limits is sent in several requests, and
   * the timeout is for each. If texts fail, the error of the first of them is thrown: {@link
   * GemwireException#errors} has all. For the vectors of the others, use {@link #embedStream}.
   *
   * @param texts the texts
   * @param options how to embed them
   * @return their vectors in order
   */
  public List<Vector> embed(List<Text> texts, Options options) {
    return new Batches(connection, model(), timeout).embed(texts, options);
  }

  /**
   * Scores targets against a source, all embedded with the same options.
   *
   * @param source the text to compare with
   * @param targets any number of texts
   * @param options how to embed all
   * @return the cosine of each target with the source, from -1 to 1
   */
  public float[] similarity(Text source, List<Text> targets, Options options) {
    return similarity(source, targets, options, null);
  }

  /**
   * Scores targets against a source. What is over the server's limits is sent in several requests,
   * as by {@link #embed(List, Options)}.
   *
   * @param source the text to compare with, such as a query
   * @param targets any number of texts, such as documents
   * @param options how to embed the source
   * @param targetOptions how to embed the targets, with the same dimensions; null: as the source
   * @return the cosine of each target with the source, from -1 to 1
   */
  public float[] similarity(
      Text source, List<Text> targets, Options options, Options targetOptions) {
    return new Batches(connection, model(), timeout)
        .similarity(source, targets, options, targetOptions);
  }

  /**
   * Returns the token ids of a text with the server's default prompt.
   *
   * @param text the text
   * @return the ids that the model gets, prompt and special tokens included
   */
  public int[] tokenize(String text) {
    return tokenize(Text.of(text), Options.DEFAULT);
  }

  /**
   * Returns the token ids of a text.
   *
   * @param text the text
   * @param options of which prompt and truncation matter; a text that is not to be cut comes whole
   * @return the ids that the model gets, prompt and special tokens included
   */
  public int[] tokenize(Text text, Options options) {
    return tokens(text, options, false).getIdsList().stream().mapToInt(id -> id).toArray();
  }

  /**
   * Returns the tokens of a text with their places in it.
   *
   * @param text the text, not token ids
   * @param options as for {@link #tokenize(Text, Options)}
   * @return the tokens that the model gets, prompt and special tokens included
   * @throws IllegalArgumentException if the text is token ids
   */
  public List<Token> tokenSpans(Text text, Options options) {
    if (text.message().hasTokens()) {
      throw new IllegalArgumentException("token ids have no places in a text");
    }
    return Token.of(tokens(text, options, true));
  }

  private TokenizeResponse tokens(Text text, Options options, boolean spans) {
    TokenizeRequest request =
        TokenizeRequest.newBuilder()
            .setInput(text.message())
            .setOptions(options.message())
            .setIncludeSpans(spans)
            .build();
    return call(EmbeddingServiceGrpc.getTokenizeMethod(), request);
  }

  /**
   * Returns the text of token ids without special tokens.
   *
   * @param ids ids of the model's vocabulary
   * @return the text
   */
  public String detokenize(int[] ids) {
    return detokenize(ids, false);
  }

  /**
   * Returns the text of token ids.
   *
   * @param ids ids of the model's vocabulary
   * @param keepSpecialTokens whether special tokens are spelt in the text
   * @return the text; bytes that are no UTF-8 read as U+FFFD
   */
  public String detokenize(int[] ids, boolean keepSpecialTokens) {
    DetokenizeRequest.Builder request =
        DetokenizeRequest.newBuilder().setKeepSpecialTokens(keepSpecialTokens);
    for (int id : ids) {
      request.addIds(id);
    }
    return call(EmbeddingServiceGrpc.getDetokenizeMethod(), request.build()).getText();
  }

  /**
   * Embeds any number of texts over one stream, with the results in the order of the texts.
   *
   * @param texts the source of the texts, which may be endless: see {@link EmbedStream}
   * @param options how to embed them
   * @return the results; close it
   */
  public EmbedStream embedStream(Iterator<Text> texts, Options options) {
    return embedStream(texts, options, true);
  }

  /**
   * Embeds any number of texts over one stream.
   *
   * @param texts the source of the texts, which may be endless: see {@link EmbedStream}
   * @param options how to embed them
   * @param ordered true: results come in the order of the texts; false: as they finish
   * @return the results; close it
   */
  public EmbedStream embedStream(Iterator<Text> texts, Options options, boolean ordered) {
    connection.checkOpen();
    return new EmbedStream(connection, texts, options.message(), ordered, timeout);
  }

  /**
   * Closes the connection. Calls and streams under way fail, also those of clients that {@link
   * #withTimeout} returned.
   */
  @Override
  public void close() {
    connection.close();
  }

  private <Q, R> R call(MethodDescriptor<Q, R> method, Q request) {
    return new UnaryCall<>(connection, method, request, timeout).await();
  }
}
