package dev.gemwire;

/**
 * The server's limits of one request. The client keeps them by itself.
 *
 * @param maxInputsPerRequest texts of one request or of one message of a stream
 * @param maxRequestBytes bytes of one message
 * @param maxBatchTokens tokens that are computed in one step
 * @param maxQueueTokens tokens that may wait; 0: no limit
 * @param maxStreamInflightInputs texts of a stream that may be unanswered
 * @param maxResponseBytes bytes of one answer; 0: no limit
 */
public record Limits(
    int maxInputsPerRequest,
    int maxRequestBytes,
    int maxBatchTokens,
    int maxQueueTokens,
    int maxStreamInflightInputs,
    int maxResponseBytes) {

  static Limits of(dev.gemwire.v1.Limits message) {
    return new Limits(
        atMostInt(message.getMaxInputsPerRequest()),
        atMostInt(message.getMaxRequestBytes()),
        atMostInt(message.getMaxBatchTokens()),
        atMostInt(message.getMaxQueueTokens()),
        atMostInt(message.getMaxStreamInflightInputs()),
        atMostInt(message.getMaxResponseBytes()));
  }

  /** Returns an unsigned limit, at most Integer.MAX_VALUE: Java reads a larger one as negative. */
  static int atMostInt(int unsigned) {
    return unsigned < 0 ? Integer.MAX_VALUE : unsigned;
  }
}
