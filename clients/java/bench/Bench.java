import com.sun.management.OperatingSystemMXBean;
import dev.gemwire.EmbedStream;
import dev.gemwire.GemwireClient;
import dev.gemwire.Options;
import dev.gemwire.Text;
import io.grpc.ManagedChannel;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.Locale;
import java.util.stream.IntStream;

/** Measures the client: {@code Bench ADDRESS TEXTS} prints one line of JSON. */
public final class Bench {
  // Until then the JVM's compiler costs more than the client.
  private static final int WARM_UP = 100;
  private static final int WARM_UP_TEXTS = 10_000;
  private static final int CALLS = 300;

  private Bench() {}

  /**
   * Makes calls one after the other, and then streams texts.
   *
   * @param arguments the server's address, and how many texts to stream
   */
  public static void main(String[] arguments) {
    int texts = Integer.parseInt(arguments[1]);
    var system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    try (GemwireClient client = GemwireClient.connect(arguments[0])) {
      unary(client, WARM_UP);
      double[] milliseconds = unary(client, CALLS);
      Arrays.sort(milliseconds);
      stream(client, WARM_UP_TEXTS);
      long cpu = system.getProcessCpuTime();
      long start = System.nanoTime();
      stream(client, texts);
      double seconds = (System.nanoTime() - start) / 1e9;
      double cpuSeconds = (system.getProcessCpuTime() - cpu) / 1e9;
      System.out.printf(
          Locale.ROOT,
          "{\"client\": \"java\", \"runtime\": \"grpc-java %s\", \"unary_p50_ms\": %.3f,"
              + " \"unary_p99_ms\": %.3f, \"texts\": %d, \"stream_seconds\": %.3f,"
              + " \"stream_cpu_seconds\": %.4f}%n",
          ManagedChannel.class.getPackage().getImplementationVersion(),
          milliseconds[CALLS / 2],
          milliseconds[CALLS * 99 / 100],
          texts,
          seconds,
          cpuSeconds);
    }
  }

  private static double[] unary(GemwireClient client, int calls) {
    return IntStream.range(0, calls)
        .mapToDouble(
            i -> {
              long start = System.nanoTime();
              client.embedQuery("Which planet is known as the Red Planet?");
              return (System.nanoTime() - start) / 1e6;
            })
        .toArray();
  }

  private static void stream(GemwireClient client, int texts) {
    var source = IntStream.range(0, texts).mapToObj(i -> Text.of("text number " + i)).iterator();
    try (EmbedStream results = client.embedStream(source, Options.DEFAULT)) {
      for (int i = 0; i < texts; i++) {
        if (results.next().index() != i || (i == texts - 1) == results.hasNext()) {
          throw new IllegalStateException("not one result for each text in order");
        }
      }
    }
  }
}
