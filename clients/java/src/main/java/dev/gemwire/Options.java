package dev.gemwire;

import dev.gemwire.v1.EmbedOptions;

/**
 * How texts are embedded. What is not set is the server's default. Instances do not change; each
 * method returns another one:
 *
 * <pre>{@code
 * Options.DEFAULT.withTask(Task.CLUSTERING).withDimensions(256)
 * }</pre>
 */
public final class Options {
  /** The server's defaults. */
  public static final Options DEFAULT = new Options(EmbedOptions.getDefaultInstance());

  private final EmbedOptions message;

  private Options(EmbedOptions message) {
    this.message = message;
  }

  EmbedOptions message() {
    return message;
  }

  private static Options of(EmbedOptions.Builder builder) {
    return new Options(builder.build());
  }

  /**
   * Puts the prompt of a task before each text, in place of another task or prompt.
   *
   * @param task what the vectors are for
   * @return the other options
   */
  public Options withTask(Task task) {
    return of(message.toBuilder().setTask(task.message()));
  }

  /**
   * Puts a prompt of the model before each text, in place of a task or another prompt.
   *
   * @param name one of {@link Model#prompts}
   * @return the other options
   */
  public Options withPromptName(String name) {
    return of(message.toBuilder().setPromptName(name));
  }

  /**
   * Puts a text before each text as it is, in place of a task or another prompt.
   *
   * @param prompt the prompt, empty for none
   * @return the other options
   */
  public Options withPrompt(String prompt) {
    return of(message.toBuilder().setPromptText(Text.checked(prompt)));
  }

  /**
   * Asks for shorter vectors.
   *
   * @param dimensions one of {@link Model#supportedDimensions}; 0: {@link Model#defaultDimensions}
   * @return the other options
   */
  public Options withDimensions(int dimensions) {
    return of(message.toBuilder().setOutputDimensionality(dimensions));
  }

  /**
   * Says whether a shortened vector gets the length 1 again, which is the default.
   *
   * @param normalize false: it stays as the cut part of the unit vector
   * @return the other options
   */
  public Options withNormalize(boolean normalize) {
    return of(message.toBuilder().setNormalize(normalize));
  }

  /**
   * Says what to do with a text that is too long.
   *
   * @param truncation refuse it, or cut one end
   * @return the other options
   */
  public Options withTruncation(Truncation truncation) {
    return of(message.toBuilder().setTruncation(truncation.message()));
  }

  /**
   * Says how vectors travel, and with that what {@link Vector} holds.
   *
   * @param encoding one that the model supports
   * @return the other options
   */
  public Options withEncoding(Encoding encoding) {
    return of(message.toBuilder().setEncoding(encoding.message()));
  }

  /**
   * Says how urgent the texts are.
   *
   * @param priority from -10 to 10; higher runs first, 0 is normal
   * @return the other options
   */
  public Options withPriority(int priority) {
    return of(message.toBuilder().setPriority(priority));
  }
}
