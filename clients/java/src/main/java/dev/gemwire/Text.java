package dev.gemwire;

import dev.gemwire.v1.EmbedInput;
import dev.gemwire.v1.TokenIds;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** A text, a text with its title, or the ids of a text's tokens. */
public final class Text {
  private final EmbedInput message;

  private Text(EmbedInput message) {
    this.message = message;
  }

  EmbedInput message() {
    return message;
  }

  /**
   * Makes an input of a text.
   *
   * @param text the text, not empty
   * @return the input
   * @throws IllegalArgumentException if the text holds a lone surrogate, which is no Unicode
   */
  public static Text of(String text) {
    return new Text(EmbedInput.newBuilder().setText(checked(text)).build());
  }

  /**
   * Makes an input of a text with a title, for {@link Task#RETRIEVAL_DOCUMENT} alone.
   *
   * @param text the text, not empty
   * @param title the title, empty if the text has none
   * @return the input
   * @throws IllegalArgumentException if one of them holds a lone surrogate
   */
  public static Text of(String text, String title) {
    return new Text(
        EmbedInput.newBuilder().setText(checked(text)).setTitle(checked(title)).build());
  }

  /**
   * Makes an input of token ids.
   *
   * @param ids ids of the model's vocabulary, without those of the prompt and special tokens
   * @return the input
   */
  public static Text ofTokens(int... ids) {
    TokenIds.Builder tokens = TokenIds.newBuilder();
    for (int id : ids) {
      tokens.addIds(id);
    }
    return new Text(EmbedInput.newBuilder().setTokens(tokens).build());
  }

  static List<EmbedInput> messages(List<Text> texts) {
    return texts.stream().map(Text::message).toList();
  }

  /** Returns the text; protobuf would put a question mark in the place of a lone surrogate. */
  static String checked(String text) {
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
      throw new IllegalArgumentException("the text holds a lone surrogate");
    }
    return text;
  }
}
