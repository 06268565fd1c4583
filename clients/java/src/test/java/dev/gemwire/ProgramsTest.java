package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** The example and the benchmark as processes of their own, against a real server. */
class ProgramsTest {
  @Test
  void theExampleRanksMarsFirst() throws Exception {
    List<String> lines = run("Rank", Servers.orSkip().address("plain")).lines().toList();
    assertEquals(5, lines.size());
    assertEquals("Which planet is known as the Red Planet?", lines.get(0));
    List<Double> scores =
        lines.stream().skip(1).map(line -> Double.valueOf(line.strip().split(" ")[0])).toList();
    assertEquals(scores.stream().sorted((a, b) -> b.compareTo(a)).toList(), scores);
    assertTrue(lines.get(1).contains("Mars, known for its reddish appearance"), lines.get(1));
  }

  @Test
  void theBenchmarkPrintsOneLineOfJson() throws Exception {
    String printed = run("Bench", Servers.orSkip().address("plain"), "2000");
    assertEquals(1, printed.lines().count());
    JsonObject line = JsonParser.parseString(printed).getAsJsonObject();
    assertEquals(
        List.of(
            "client",
            "runtime",
            "unary_p50_ms",
            "unary_p99_ms",
            "texts",
            "stream_seconds",
            "stream_cpu_seconds"),
        List.copyOf(line.keySet()));
    assertEquals(2000, line.get("texts").getAsInt());
    assertTrue(line.get("runtime").getAsString().matches("grpc-java [0-9.]+"));
  }

  private static String run(String program, String... arguments)
      throws IOException, InterruptedException {
    List<String> command =
        new ArrayList<>(
            List.of(
                ProcessHandle.current().info().command().orElseThrow(),
                "-cp",
                System.getProperty("java.class.path"),
                program));
    command.addAll(List.of(arguments));
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    String printed = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertTrue(process.waitFor(60, TimeUnit.SECONDS));
    assertEquals(0, process.exitValue());
    return printed;
  }
}
