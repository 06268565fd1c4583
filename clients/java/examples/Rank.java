import dev.gemwire.GemwireClient;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/** Ranks the documents of the model card's example: {@code Rank ADDRESS}. */
public final class Rank {
  private static final String QUERY = "Which planet is known as the Red Planet?";
  private static final List<String> DOCUMENTS =
      List.of(
          "Venus is often called Earth's twin because of its similar size and proximity.",
          "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
          "Jupiter, the largest planet in our solar system, has a prominent red spot.",
          "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.");

  private Rank() {}

  /**
   * Prints the documents, the likeliest answer first.
   *
   * @param arguments the server's address
   */
  public static void main(String[] arguments) {
    try (GemwireClient client = GemwireClient.connect(arguments[0])) {
      float[] query = client.embedQuery(QUERY);
      List<float[]> documents = client.embedDocuments(DOCUMENTS);
      System.out.println(QUERY);
      IntStream.range(0, DOCUMENTS.size())
          .boxed()
          .sorted(Comparator.comparingDouble(i -> -dot(query, documents.get(i))))
          .forEach(
              i ->
                  System.out.printf(
                      "  %.4f  %s%n", dot(query, documents.get(i)), DOCUMENTS.get(i)));
    }
  }

  private static float dot(float[] a, float[] b) {
    float sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }
}
