package dev.gemwire;

import dev.gemwire.v1.TokenSpan;
import dev.gemwire.v1.TokenizeResponse;
import java.util.ArrayList;
import java.util.List;

/**
 * A token and its place in the text: the bytes from {@code startByte} to {@code endByte}, without
 * the last, of the text in UTF-8. These are not the chars of a String. Both are 0 for a special
 * token, and for one of the prompt or the title.
 *
 * @param id the id in the model's vocabulary
 * @param startByte the first byte
 * @param endByte behind the last byte
 */
public record Token(int id, int startByte, int endByte) {

  /** Reads an answer. Throws GemwireException if it has no spans. */
  static List<Token> of(TokenizeResponse response) {
    if (response.getSpansCount() != response.getIdsCount()) {
      throw Answers.unreadable("the server gives no spans: it is older than they are");
    }
    List<Token> tokens = new ArrayList<>(response.getIdsCount());
    for (int i = 0; i < response.getIdsCount(); i++) {
      TokenSpan span = response.getSpans(i);
      tokens.add(new Token(response.getIds(i), span.getStartByte(), span.getEndByte()));
    }
    return tokens;
  }
}
