package dev.gemwire;

import dev.gemwire.v1.TaskType;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What a server serves.
 *
 * @param name "models/NAME"
 * @param displayName a name for people
 * @param revision vectors of different revisions do not compare
 * @param dtype what weights and matrix products use: "bfloat16" or "float32"
 * @param engine where the engine runs, for people
 * @param dimensions the full size of a vector
 * @param supportedDimensions all sizes, largest first
 * @param defaultDimensions the size where a request asks for none
 * @param maxInputTokens the window: tokens of one text, prompt and special tokens counted
 * @param vocabularySize ids of tokens are below it
 * @param defaultTask the task where a request names no prompt; empty: the text as it is
 * @param prompts the prompts by name
 * @param limits the limits of one request
 * @param serverVersion the version of the server's software
 */
public record Model(
    String name,
    String displayName,
    String revision,
    String dtype,
    String engine,
    int dimensions,
    List<Integer> supportedDimensions,
    int defaultDimensions,
    int maxInputTokens,
    int vocabularySize,
    Optional<Task> defaultTask,
    Map<String, String> prompts,
    Limits limits,
    String serverVersion) {

  static Model of(dev.gemwire.v1.Model message) {
    // Servers before this field gave the full size.
    int defaultDimensions = message.getDefaultDimensions();
    return new Model(
        message.getName(),
        message.getDisplayName(),
        message.getRevision(),
        message.getDtype(),
        message.getEngine(),
        message.getDimensions(),
        List.copyOf(message.getSupportedDimensionsList()),
        defaultDimensions == 0 ? message.getDimensions() : defaultDimensions,
        message.getMaxInputTokens(),
        message.getVocabularySize(),
        task(message.getDefaultTask()),
        Map.copyOf(message.getPromptsMap()),
        Limits.of(message.getLimits()),
        message.getServerVersion());
  }

  private static Optional<Task> task(TaskType type) {
    for (Task task : Task.values()) {
      if (task.message() == type) {
        return Optional.of(task);
      }
    }
    return Optional.empty();
  }
}
