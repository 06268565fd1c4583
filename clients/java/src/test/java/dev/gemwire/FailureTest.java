package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.rpc.ErrorInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import org.junit.jupiter.api.Test;

class FailureTest {
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  private static Failure read(Status status, byte[] details) {
    Metadata trailers = new Metadata();
    trailers.put(DETAILS, details);
    return Failure.of(status, trailers);
  }

  @Test
  void theCodeIsTheCallsWhereTheDetailsHaveAnother() {
    Failure failure =
        read(Status.UNAVAILABLE.withDescription("gone"), LocalServer.full(3).toByteArray());
    assertEquals(Status.Code.UNAVAILABLE, failure.code());
    assertEquals("gone", failure.message());
    assertEquals("QUEUE_FULL", failure.reason());
    assertEquals(3, failure.retryAfter().getSeconds());
  }

  @Test
  void detailsThatAreNoMessageAreIgnored() {
    Failure failure = read(Status.INTERNAL, new byte[] {(byte) 0xff, 1, 2});
    assertEquals(Status.Code.INTERNAL, failure.code());
    assertEquals(false, failure.answered());
    Any broken =
        Any.newBuilder()
            .setTypeUrl("type.googleapis.com/google.rpc.RetryInfo")
            .setValue(ByteString.copyFrom(new byte[] {(byte) 0xff}))
            .build();
    com.google.rpc.Status status =
        com.google.rpc.Status.newBuilder().setCode(8).addDetails(broken).build();
    assertNull(Failure.of(status).retryAfter());
  }

  @Test
  void theServersOwnErrorInfoCountsBesideAnothers() {
    Any foreign = Any.pack(ErrorInfo.newBuilder().setDomain("a").setReason("B").build());
    com.google.rpc.Status own = LocalServer.full(3);
    com.google.rpc.Status both =
        own.toBuilder()
            .clearDetails()
            .addDetails(foreign)
            .addAllDetails(own.getDetailsList())
            .build();
    assertEquals("QUEUE_FULL", Failure.of(both).reason());
    com.google.rpc.Status other = own.toBuilder().setDetails(0, foreign).build();
    assertEquals("", Failure.of(other).reason());
    assertNull(Failure.of(other).retryAfter());
  }

  @Test
  void aCodeOfANewerServerIsUnknown() {
    com.google.rpc.Status status = com.google.rpc.Status.newBuilder().setCode(99).build();
    GemwireException error = Failure.of(status).exception(4);
    assertEquals(Status.Code.UNKNOWN, error.code());
    assertEquals(GemwireException.class, error.getClass());
    assertEquals(4, error.index().orElseThrow());
    assertInstanceOf(OverloadedException.class, Failure.of(LocalServer.full(1)).exception(0));
  }

  @Test
  void aTextWithoutAnOutcomeIsNoSuccess() {
    Failure failure = Failure.of(com.google.rpc.Status.getDefaultInstance());
    assertEquals(Status.Code.UNKNOWN, failure.code());
    assertEquals("the server gave neither an answer nor an error", failure.message());
  }
}
