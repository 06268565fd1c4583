package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Every case of clients/conformance/cases, and afterwards what is left running. */
class ConformanceTest {
  private static final Duration CASE = Duration.ofSeconds(90);

  @TestFactory
  Stream<DynamicTest> cases() throws IOException {
    if (System.getenv("CONFORMANCE") == null) {
      return Stream.of(DynamicTest.dynamicTest("all", Servers::orSkip));
    }
    Servers servers = Servers.orSkip();
    Stream<DynamicTest> cases =
        servers.cases().stream()
            .map(
                found ->
                    DynamicTest.dynamicTest(
                        found.get("name").getAsString(), () -> named(servers, found)));
    Stream<DynamicTest> ends =
        Stream.of(
            DynamicTest.dynamicTest(
                "no_connection_left_open",
                () -> {
                  try (GemwireClient client = servers.scripted("verdict.connections")) {
                    client.model();
                  }
                }),
            DynamicTest.dynamicTest("no_thread_left", Threads::assertNoneOfGrpc));
    return Stream.concat(cases, ends);
  }

  /** Runs a case; Surefire prints the message of what fails, and not the name of its test. */
  private static void named(Servers servers, JsonObject found) {
    assertAll(
        found.get("name").getAsString(),
        () -> assertTimeoutPreemptively(CASE, () -> run(servers, found)));
  }

  private static void run(Servers servers, JsonObject found) throws Exception {
    boolean scripted = !found.has("server");
    String token = found.has("token") ? found.get("token").getAsString() : null;
    if (scripted) {
      token = Servers.run(found.get("name").getAsString());
    }
    Expected expected = new Expected(found.getAsJsonObject("expect"), servers);
    JsonObject call = found.getAsJsonObject("call");
    try (GemwireClient client = servers.client(found, token)) {
      int calls = call.has("calls") ? call.get("calls").getAsInt() : 1;
      ExecutorService threads = Executors.newFixedThreadPool(calls);
      try {
        var ends =
            IntStream.range(0, calls)
                .mapToObj(i -> (Future<?>) threads.submit(() -> expected.check(client, call)))
                .toList();
        for (Future<?> end : ends) {
          end.get();
        }
      } finally {
        threads.shutdownNow();
      }
      if (scripted) {
        servers.verdict(token);
      }
    }
  }
}
