package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Context;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class ClientTest {
  private LocalServer server;
  private GemwireClient client;

  @BeforeEach
  void start() throws Exception {
    server = new LocalServer();
    client = server.client().build();
  }

  @AfterEach
  void stop() throws Exception {
    client.close();
    server.close();
  }

  @AfterAll
  static void checkThreads() throws Exception {
    Threads.assertNoneOfGrpc();
  }

  /** A call in a thread of its own, and what it threw. */
  private final class Call {
    private final AtomicReference<GemwireException> error = new AtomicReference<>();
    private final AtomicReference<Boolean> interrupted = new AtomicReference<>();
    private final Thread thread;

    private Call(String text) throws InterruptedException {
      thread =
          new Thread(
              () -> {
                try {
                  client.embedQuery(text);
                } catch (GemwireException e) {
                  error.set(e);
                }
                interrupted.set(Thread.currentThread().isInterrupted());
              });
      thread.start();
      assertTrue(server.met.await(10, TimeUnit.SECONDS));
    }

    private void assertCancelled() throws InterruptedException {
      thread.join(3_000);
      assertFalse(thread.isAlive());
      assertEquals(GemwireException.class, error.get().getClass());
      assertEquals(Status.Code.CANCELLED, error.get().code());
      assertEquals(1, server.calls.get());
    }
  }

  @Test
  void interruptionCancelsACall() throws Exception {
    Call call = new Call("hang");
    call.thread.interrupt();
    call.assertCancelled();
    assertTrue(call.interrupted.get());
    assertTrue(server.cancelled.await(5, TimeUnit.SECONDS));
  }

  @Test
  void interruptionEndsThePauseBeforeATry() throws Exception {
    Call call = new Call("refuse");
    Thread.sleep(200);
    call.thread.interrupt();
    call.assertCancelled();
    assertTrue(call.interrupted.get());
  }

  @Test
  void closingCancelsACall() throws Exception {
    Call call = new Call("hang");
    client.close();
    call.assertCancelled();
    assertTrue(server.cancelled.await(5, TimeUnit.SECONDS));
  }

  @Test
  void closingEndsThePauseBeforeATry() throws Exception {
    Call call = new Call("refuse");
    Thread.sleep(200);
    client.close();
    call.assertCancelled();
  }

  @Test
  void cancellingTheContextEndsACallAndItsPause() throws Exception {
    for (String text : List.of("hang", "refuse")) {
      int before = server.calls.get();
      Context.CancellableContext context = Context.current().withCancellation();
      CompletableFuture<float[]> answer =
          CompletableFuture.supplyAsync(() -> call(context, client, text));
      while (server.calls.get() == before) {
        Thread.sleep(10);
      }
      Thread.sleep(200);
      context.cancel(null);
      GemwireException error = failure(answer);
      assertEquals(Status.Code.CANCELLED, error.code());
      assertEquals(GemwireException.class, error.getClass());
      assertEquals(before + 1, server.calls.get());
    }
  }

  private static float[] call(Context context, GemwireClient client, String text) {
    Context before = context.attach();
    try {
      return client.embedQuery(text);
    } finally {
      context.detach(before);
    }
  }

  private static GemwireException failure(CompletableFuture<?> answer) throws Exception {
    try {
      answer.get(5, TimeUnit.SECONDS);
    } catch (ExecutionException e) {
      return (GemwireException) e.getCause();
    }
    throw new AssertionError("the call did not fail");
  }

  @Test
  void aClosedClientCallsNoServer() {
    client.close();
    client.close();
    GemwireException error = assertThrows(GemwireException.class, () -> client.embedQuery("a"));
    assertEquals(Status.Code.CANCELLED, error.code());
    assertEquals(0, server.calls.get());
  }

  @Test
  void threadsShareAClient() throws Exception {
    List<CompletableFuture<Void>> ends = new ArrayList<>();
    for (int thread = 0; thread < 8; thread++) {
      int first = 10 * thread;
      ends.add(
          CompletableFuture.runAsync(
              () -> {
                for (int i = 0; i < 200; i++) {
                  int length = 1 + first + i % 10;
                  assertArrayEquals(new float[] {length, 1}, client.embedQuery("a".repeat(length)));
                }
              }));
    }
    for (CompletableFuture<Void> end : ends) {
      end.get(30, TimeUnit.SECONDS);
    }
    assertEquals(1_600, server.calls.get());
  }

  @Test
  void aTimeoutOfOneCallLeavesTheOthers() {
    GemwireClient hasty = client.withTimeout(Duration.ofMillis(300));
    long start = System.nanoTime();
    assertThrows(DeadlineExceededException.class, () -> hasty.embedQuery("hang"));
    assertTrue(System.nanoTime() - start < 3_000_000_000L);
    assertArrayEquals(new float[] {1, 1}, client.embedQuery("a"));
    assertArrayEquals(new float[] {1, 1}, client.withoutTimeout().embedQuery("a"));
  }

  /** Five tries take about 3 s; a server that has answered before is waited for longer. */
  @Test
  void aServerThatRestartsIsWaitedFor() throws Exception {
    assertArrayEquals(new float[] {1, 1}, client.embedQuery("a"));
    int port = server.port();
    server.close();
    CompletableFuture<float[]> answer =
        CompletableFuture.supplyAsync(() -> client.embedQuery("abc"));
    Thread.sleep(6_000);
    assertFalse(answer.isDone());
    server = new LocalServer(port);
    assertArrayEquals(new float[] {3, 1}, answer.get(8, TimeUnit.SECONDS));
  }
}
