package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class EmbedStreamTest {
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

  private EmbedStream stream(Iterator<Text> texts) {
    return client.embedStream(texts, Options.DEFAULT);
  }

  private static Iterator<Text> endless(AtomicInteger taken) {
    return Stream.generate(() -> Text.of("text " + taken.getAndIncrement())).iterator();
  }

  @Test
  void aSlowReaderSlowsAnEndlessSource() throws Exception {
    AtomicInteger taken = new AtomicInteger();
    try (EmbedStream stream = stream(endless(taken))) {
      for (int i = 0; i < 100; i++) {
        assertArrayEquals(new float[] {i, 1}, stream.next().vector().floats());
        Thread.sleep(2);
        assertTrue(taken.get() <= i + 1 + LocalServer.CREDIT, "taken " + taken + " at " + i);
        assertTrue(server.texts.get() <= i + 1 + LocalServer.CREDIT);
      }
    }
    assertTrue(server.cancelled.await(5, TimeUnit.SECONDS));
  }

  @Test
  void aServerThatDoesNotReadSlowsTheSource() throws Exception {
    server.reads = false;
    AtomicInteger taken = new AtomicInteger();
    String kilobyte = "a".repeat(1_000);
    Iterator<Text> texts =
        Stream.generate(() -> Text.of(kilobyte + taken.getAndIncrement())).iterator();
    EmbedStream stream = stream(texts);
    CompletableFuture<Boolean> end = CompletableFuture.supplyAsync(stream::hasNext);
    Thread.sleep(2_000);
    assertTrue(taken.get() > 0 && taken.get() < 4_000, "taken " + taken);
    stream.close();
    assertCancelled(end);
  }

  @Test
  void aTextThatEndsEveryStreamIsNotSentForEver() {
    Iterator<Text> texts =
        Stream.iterate(0, i -> i + 1).map(i -> Text.of(i == 3 ? "poison" : "text " + i)).iterator();
    try (EmbedStream stream = client.embedStream(texts, Options.DEFAULT, false)) {
      assertThrows(
          UnavailableException.class,
          () -> {
            while (true) {
              assertTrue(stream.next().index() != 3);
            }
          });
    }
    assertEquals(5, server.calls.get());
  }

  @Test
  void whatTheSourceThrowsComesThroughAndCancels() throws Exception {
    IllegalStateException thrown = new IllegalStateException("the source");
    Iterator<Text> texts =
        Stream.iterate(0, i -> i + 1)
            .map(
                i -> {
                  if (i == 20) {
                    throw thrown;
                  }
                  return Text.of("text " + i);
                })
            .iterator();
    int results = 0;
    try (EmbedStream stream = stream(texts)) {
      while (stream.hasNext()) {
        stream.next();
        results++;
      }
    } catch (IllegalStateException e) {
      assertSame(thrown, e);
    }
    assertTrue(results > 0 && results <= 20);
    assertTrue(server.cancelled.await(5, TimeUnit.SECONDS));
  }

  @Test
  void anotherThreadMayCloseAStreamThatWaits() throws Exception {
    EmbedStream stream = stream(List.of(Text.of("hang")).iterator());
    CompletableFuture<Boolean> end = CompletableFuture.supplyAsync(stream::hasNext);
    assertTrue(server.met.await(10, TimeUnit.SECONDS));
    stream.close();
    assertCancelled(end);
  }

  @Test
  void anotherThreadMayCloseAStreamThatSends() throws Exception {
    for (int i = 0; i < 200; i++) {
      EmbedStream stream = stream(endless(new AtomicInteger()));
      stream.next();
      CompletableFuture<Void> end =
          CompletableFuture.runAsync(
              () -> {
                while (true) {
                  stream.next();
                }
              });
      Thread.sleep(1);
      stream.close();
      ExecutionException why =
          assertThrows(ExecutionException.class, () -> end.get(5, TimeUnit.SECONDS));
      GemwireException error = assertInstanceOf(GemwireException.class, why.getCause());
      assertEquals(Status.Code.CANCELLED, error.code());
    }
  }

  @Test
  void closingTheClientEndsAStreamThatWaits() throws Exception {
    EmbedStream stream = stream(List.of(Text.of("hang")).iterator());
    CompletableFuture<Boolean> end = CompletableFuture.supplyAsync(stream::hasNext);
    assertTrue(server.met.await(10, TimeUnit.SECONDS));
    client.close();
    assertCancelled(end);
    assertThrows(GemwireException.class, () -> stream(List.<Text>of().iterator()));
  }

  @Test
  void aStreamClosedWhileItPausesEndsAtOnce() throws Exception {
    server.close();
    EmbedStream stream = stream(List.of(Text.of("a")).iterator());
    CompletableFuture<Boolean> end = CompletableFuture.supplyAsync(stream::hasNext);
    Thread.sleep(4_000); // pauses of 3 s and more by now
    stream.close();
    long start = System.nanoTime();
    assertThrows(ExecutionException.class, () -> end.get(5, TimeUnit.SECONDS));
    assertTrue(System.nanoTime() - start < 500_000_000L);
  }

  private void assertCancelled(CompletableFuture<Boolean> end) throws Exception {
    ExecutionException why =
        assertThrows(ExecutionException.class, () -> end.get(5, TimeUnit.SECONDS));
    assertEquals(Status.Code.CANCELLED, ((GemwireException) why.getCause()).code());
    assertTrue(server.cancelled.await(5, TimeUnit.SECONDS));
    assertEquals(1, server.calls.get());
  }

  @Test
  void interruptionEndsAStream() throws Exception {
    CompletableFuture<Status.Code> code = new CompletableFuture<>();
    Thread thread =
        new Thread(
            () -> {
              try (EmbedStream stream = stream(List.of(Text.of("hang")).iterator())) {
                stream.next();
              } catch (GemwireException e) {
                code.complete(Thread.currentThread().isInterrupted() ? e.code() : null);
              }
            });
    thread.start();
    assertTrue(server.met.await(10, TimeUnit.SECONDS));
    thread.interrupt();
    assertEquals(Status.Code.CANCELLED, code.get(5, TimeUnit.SECONDS));
    assertTrue(server.cancelled.await(5, TimeUnit.SECONDS));
  }

  @Test
  void afterTheLastResultThereIsNone() {
    EmbedStream stream = stream(List.of(Text.of("a"), Text.of("b")).iterator());
    assertEquals(0, stream.next().index());
    assertTrue(stream.hasNext());
    assertEquals(1, stream.next().index());
    assertFalse(stream.hasNext());
    assertThrows(NoSuchElementException.class, stream::next);
    stream.close();
    assertFalse(stream.hasNext());
  }

  @Test
  void aClosedStreamGivesNothing() {
    EmbedStream stream = stream(endless(new AtomicInteger()));
    stream.next();
    stream.close();
    assertThrows(GemwireException.class, stream::hasNext);
  }

  @Test
  void streamsShareAClient() throws Exception {
    List<CompletableFuture<Integer>> counts =
        Stream.generate(
                () ->
                    CompletableFuture.supplyAsync(
                        () -> {
                          int count = 0;
                          Iterator<Text> texts = endless(new AtomicInteger());
                          try (EmbedStream stream = stream(texts)) {
                            while (count < 1_000) {
                              assertEquals(count++, stream.next().index());
                            }
                          }
                          return count;
                        }))
            .limit(4)
            .toList();
    for (CompletableFuture<Integer> count : counts) {
      assertEquals(1_000, count.get(30, TimeUnit.SECONDS));
    }
  }
}
