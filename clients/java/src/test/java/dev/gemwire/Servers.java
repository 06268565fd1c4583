package dev.gemwire;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/** The servers and cases of clients/conformance, which the file of CONFORMANCE names. */
final class Servers {
  private static final String RUNS =
      "java" + Long.toHexString(ThreadLocalRandom.current().nextLong()) + "x";
  private static final AtomicInteger COUNT = new AtomicInteger();

  private final JsonObject file;

  private Servers(JsonObject file) {
    this.file = file;
  }

  /** Returns the servers. Skips the test if there are none. */
  static Servers orSkip() throws IOException {
    String path = System.getenv("CONFORMANCE");
    String hint = "skipped without servers: run make clients LANGS=java";
    if (path == null) {
      System.err.println(hint);
    }
    Assumptions.assumeTrue(path != null, hint);
    return new Servers(JsonParser.parseString(Files.readString(Path.of(path))).getAsJsonObject());
  }

  List<JsonObject> cases() throws IOException {
    List<JsonObject> cases = new ArrayList<>();
    try (Stream<Path> files = Files.list(Path.of(file.get("cases").getAsString()))) {
      for (Path path : files.filter(p -> p.toString().endsWith(".json")).sorted().toList()) {
        JsonObject content = JsonParser.parseString(Files.readString(path)).getAsJsonObject();
        content.getAsJsonArray("cases").forEach(found -> cases.add(found.getAsJsonObject()));
      }
    }
    return cases;
  }

  JsonObject named(String name) throws IOException {
    return cases().stream()
        .filter(found -> found.get("name").getAsString().equals(name))
        .findFirst()
        .orElseThrow();
  }

  /** Returns what the server answers to the stubs alone. */
  JsonElement reference(String name) {
    return file.getAsJsonObject("reference").get(name);
  }

  String address(String server) {
    return server(server).get("address").getAsString();
  }

  private JsonObject server(String name) {
    return file.getAsJsonObject("servers").getAsJsonObject(name);
  }

  /** Returns a token that begins a new run of a scripted case. */
  static String run(String name) {
    return name + "." + RUNS + COUNT.incrementAndGet();
  }

  /** Returns a client of the scripted server. */
  GemwireClient scripted(String token) {
    return GemwireClient.builder(address("scripted"))
        .token(token)
        .timeout(Duration.ofSeconds(20))
        .build();
  }

  /** Throws an exception with what the scripted server saw that was not in the script. */
  void verdict(String run) {
    try (GemwireClient client = scripted("verdict." + run)) {
      client.model();
    }
  }

  /** Returns a client for a case. */
  GemwireClient client(JsonObject found, String token) throws IOException {
    JsonElement name = found.get("server");
    JsonObject server = server(name == null ? "scripted" : name.getAsString());
    GemwireClientBuilder builder = GemwireClient.builder(server.get("address").getAsString());
    if (token != null) {
      builder.token(token);
    }
    if (server.has("ca")) {
      builder.tls(Path.of(server.get("ca").getAsString()));
    }
    if (server.has("cert")) {
      builder.clientCertificate(
          Path.of(server.get("cert").getAsString()), Path.of(server.get("key").getAsString()));
    }
    if (!found.has("timeout")) {
      builder.timeout(Duration.ofSeconds(20));
    } else if (found.get("timeout").isJsonNull()) {
      builder.noTimeout();
    } else {
      builder.timeout(Duration.ofNanos((long) (found.get("timeout").getAsDouble() * 1e9)));
    }
    return builder.build();
  }
}
