package dev.gemwire;

import com.google.common.util.concurrent.ListenableFuture;
import io.grpc.CallOptions;
import io.grpc.MethodDescriptor;
import io.grpc.stub.ClientCalls;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/** A unary call under way: the first try begins at once, later ones in {@link #await}. */
final class UnaryCall<Q, R> {
  private final Connection connection;
  private final MethodDescriptor<Q, R> method;
  private final Q request;
  private final Retries retries;
  private ListenableFuture<R> answer;

  UnaryCall(Connection connection, MethodDescriptor<Q, R> method, Q request, Duration timeout) {
    this.connection = connection;
    this.method = method;
    this.request = request;
    this.retries = new Retries(timeout);
    begin();
  }

  private void begin() {
    connection.checkOpen();
    CallOptions options = CallOptions.DEFAULT;
    long left = retries.left();
    if (left < Long.MAX_VALUE) {
      options = options.withDeadlineAfter(left, TimeUnit.NANOSECONDS);
    }
    answer = ClientCalls.futureUnaryCall(connection.channel().newCall(method, options), request);
  }

  /** Returns the answer. Throws GemwireException after the last try, and if interrupted. */
  R await() {
    try {
      while (true) {
        try {
          R response = answer.get();
          connection.answered();
          return response;
        } catch (ExecutionException e) {
          GemwireException error = connection.failure(e.getCause());
          connection.sleep(retries.pause(error, connection.known()), new CountDownLatch(1));
        }
        begin();
      }
    } catch (InterruptedException e) {
      throw Connection.interrupted(e);
    } finally {
      cancel();
    }
  }

  /** Ends the call if it is under way. */
  void cancel() {
    answer.cancel(true);
  }
}
