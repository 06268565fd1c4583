package dev.gemwire;

/**
 * A token and its place in the text: the bytes from {@code startByte} to {@code endByte}, without
 * the last, of the text in UTF-8. These are not the chars of a String. Both are 0 for a special
 * token, and for one of the prompt or the title.
 *
 * @param id the id in the model's vocabulary
 * @param startByte the first byte
 * @param endByte behind the last byte
 */
public record Token(int id, int startByte, int endByte) {}
