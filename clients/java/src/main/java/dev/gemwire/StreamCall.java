package dev.gemwire;

import dev.gemwire.v1.EmbedStreamRequest;
import dev.gemwire.v1.EmbedStreamResponse;
import dev.gemwire.v1.EmbeddingServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** One EmbedStream call, whose events wait in a queue. */
final class StreamCall extends ClientCall.Listener<EmbedStreamResponse> {
  /** Messages that may wait in the queue: gRPC holds back the server's others. */
  private static final int MESSAGES = 8;

  private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();
  private final ClientCall<EmbedStreamRequest, EmbedStreamResponse> call;
  private boolean cancelled; // guarded by this

  /**
   * What happened: a message came, or the call ended with a status, or if both are null, the call
   * takes messages again.
   */
  record Event(EmbedStreamResponse message, Status status, Metadata trailers) {}

  /** Starts the call. */
  StreamCall(Connection connection) {
    call =
        connection
            .channel()
            .newCall(EmbeddingServiceGrpc.getEmbedStreamMethod(), CallOptions.DEFAULT);
    call.start(this, new Metadata());
    call.request(MESSAGES);
  }

  @Override
  public void onMessage(EmbedStreamResponse message) {
    events.add(new Event(message, null, null));
  }

  @Override
  public void onReady() {
    events.add(new Event(null, null, null));
  }

  @Override
  public void onClose(Status status, Metadata trailers) {
    events.add(new Event(null, status, trailers));
  }

  /** Returns the next event, or null if none came in so many nanoseconds. */
  Event next(long nanos) throws InterruptedException {
    Event event = events.poll(nanos, TimeUnit.NANOSECONDS);
    if (event != null && event.message() != null) {
      call.request(1);
    }
    return event;
  }

  /** Returns whether a message would be sent at once. */
  boolean isReady() {
    return call.isReady();
  }

  // gRPC throws IllegalStateException for what is sent over a cancelled call.

  synchronized void send(EmbedStreamRequest message) {
    if (!cancelled) {
      call.sendMessage(message);
    }
  }

  synchronized void halfClose() {
    if (!cancelled) {
      call.halfClose();
    }
  }

  /** Ends the call. Any thread may do so. */
  synchronized void cancel() {
    cancelled = true;
    call.cancel("the caller stopped", null);
  }
}
