package dev.gemwire;

import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptors;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.util.Collections;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** The channel of a client, and what its calls share. */
final class Connection {
  private static final int RECEIVED_BYTES = 64 << 20;
  private static final long KEEPALIVE_SECONDS = 60;
  private static final long CLOSE_SECONDS = 5;
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final ManagedChannel managed;
  private final Channel channel;
  private final Set<CountDownLatch> sleepers = ConcurrentHashMap.newKeySet();
  private volatile boolean closed;
  private volatile boolean known;

  Connection(String address, ChannelCredentials credentials, String token) {
    managed =
        Grpc.newChannelBuilder(address, credentials)
            .disableRetry()
            .disableServiceConfigLookUp()
            .defaultLoadBalancingPolicy("round_robin")
            .maxInboundMessageSize(RECEIVED_BYTES)
            .keepAliveTime(KEEPALIVE_SECONDS, TimeUnit.SECONDS)
            // No callback of this library blocks: each only puts what came into a queue.
            .directExecutor()
            .build();
    if (token == null) {
      channel = managed;
    } else {
      Metadata headers = new Metadata();
      headers.put(AUTHORIZATION, "Bearer " + token);
      channel =
          ClientInterceptors.intercept(managed, MetadataUtils.newAttachHeadersInterceptor(headers));
    }
  }

  Channel channel() {
    return channel;
  }

  /** Returns whether a server has ever answered. */
  boolean known() {
    return known;
  }

  /** Notes that a server has answered. */
  void answered() {
    known = true;
  }

  /** Throws an exception if the client was closed. */
  void checkOpen() {
    if (closed) {
      throw cancelled("the client is closed", null);
    }
  }

  /**
   * Returns the error of a call that ended. Throws it if the caller ended the call: another try
   * would end likewise.
   */
  GemwireException failure(Throwable why) {
    checkOpen();
    Status status = Status.fromThrowable(why);
    boolean cancelled = status.getCode() == Status.Code.CANCELLED;
    if (cancelled && Context.current().isCancelled()) {
      throw cancelled("the Context of the calling thread is cancelled", why);
    }
    if (cancelled && status.getCause() instanceof StatusRuntimeException unreadable) {
      // gRPC cancels a call whose answer it cannot read: no sign of a lost connection.
      status = unreadable.getStatus();
    }
    Failure failure = Failure.of(status, Status.trailersFromThrowable(why));
    known |= failure.answered();
    return failure.exception(why);
  }

  /** Returns the error of a call that the caller ended. */
  static GemwireException cancelled(String message, Throwable why) {
    Failure failure = Failure.of(Status.Code.CANCELLED, "", message);
    return new GemwireException(failure, OptionalLong.empty(), Collections.emptySortedMap(), why);
  }

  /** Returns the error of a call whose thread was interrupted, and interrupts the thread again. */
  static GemwireException interrupted(InterruptedException why) {
    Thread.currentThread().interrupt();
    return cancelled("the calling thread was interrupted", why);
  }

  /**
   * Waits so long, and less if the latch is counted down, the client is closed or the caller's
   * Context is cancelled. Throws an exception if the client was closed.
   */
  void sleep(long nanos, CountDownLatch woken) throws InterruptedException {
    // Otherwise gRPC tries to connect again after a backoff of its own, of up to two minutes.
    managed.resetConnectBackoff();
    Context context = Context.current();
    Context.CancellationListener listener = cancelled -> woken.countDown();
    context.addListener(listener, Runnable::run);
    sleepers.add(woken);
    try {
      checkOpen();
      woken.await(nanos, TimeUnit.NANOSECONDS);
    } finally {
      sleepers.remove(woken);
      context.removeListener(listener);
    }
    checkOpen();
  }

  /** Ends all calls, and waits for the connections' end. */
  void close() {
    closed = true;
    sleepers.forEach(CountDownLatch::countDown);
    managed.shutdownNow();
    try {
      managed.awaitTermination(CLOSE_SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
