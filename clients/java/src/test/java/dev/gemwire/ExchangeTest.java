package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gemwire.v1.EmbedStreamResponse;
import dev.gemwire.v1.StreamOpened;
import dev.gemwire.v1.StreamResults;
import org.junit.jupiter.api.Test;

class ExchangeTest {
  private static EmbedStreamResponse opened(int limits) {
    StreamOpened.Builder opened =
        StreamOpened.newBuilder()
            .setMaxInflightInputs(limits)
            .setMaxInputsPerMessage(limits)
            .setMaxRequestBytes(limits);
    return EmbedStreamResponse.newBuilder().setOpened(opened).build();
  }

  @Test
  void unsignedLimitsThatNoIntHoldsAreWide() {
    Exchange exchange = new Exchange(true, null);
    exchange.begin();
    exchange.receive(opened(-1));
    for (int i = 0; i < 64; i++) {
      assertTrue(exchange.wantsText());
      exchange.add(Text.of("a").message());
    }
    assertEquals(64, exchange.nextBatch().getBatch().getInputsCount());
    var message = dev.gemwire.v1.Limits.newBuilder().setMaxQueueTokens(-1).build();
    assertEquals(Integer.MAX_VALUE, Limits.of(message).maxQueueTokens());
  }

  @Test
  void creditBeforeTheOpeningSendsNothing() {
    Exchange exchange = new Exchange(true, null);
    exchange.begin();
    exchange.receive(opened(1));
    exchange.add(Text.of("a").message());
    exchange.end(null);
    exchange.begin();
    StreamResults credit = StreamResults.newBuilder().setGrantedInputs(1).build();
    exchange.receive(EmbedStreamResponse.newBuilder().setResults(credit).build());
    assertNull(exchange.nextBatch());
  }
}
