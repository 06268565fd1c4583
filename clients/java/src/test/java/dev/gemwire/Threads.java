package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;

/** The threads of this process. */
final class Threads {
  // gRPC ends the threads that its channels share some seconds after the last channel's end.
  private static final long PATIENCE_NANOS = 15_000_000_000L;

  private Threads() {}

  static void assertNoneOfGrpc() throws InterruptedException {
    long start = System.nanoTime();
    List<String> found = ofGrpc();
    while (!found.isEmpty() && System.nanoTime() - start < PATIENCE_NANOS) {
      Thread.sleep(100);
      found = ofGrpc();
    }
    assertEquals(List.of(), found);
  }

  private static List<String> ofGrpc() {
    return Thread.getAllStackTraces().keySet().stream()
        .map(Thread::getName)
        .filter(name -> name.startsWith("grpc-") || name.startsWith("globalEventExecutor"))
        .sorted()
        .toList();
  }
}
