package dev.gemwire;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What a status says. {@code answered} is true if a gemwire server sent it, and not gRPC itself or
 * a proxy. {@code retryAfter} is null without RetryInfo.
 */
record Failure(
    Status.Code code,
    String message,
    boolean answered,
    String reason,
    Map<String, String> metadata,
    Map<String, String> fields,
    Duration retryAfter) {

  private static final String DOMAIN = "gemwire.dev";
  // StatusProto throws where the code in the details is not the call's, as behind some proxies.
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  /** Returns a failure that this client found. */
  static Failure of(Status.Code code, String reason, String message) {
    return new Failure(code, message, false, reason, Map.of(), Map.of(), null);
  }

  /** Reads the status of one text, where OK makes no sense: a newer server gave another outcome. */
  static Failure of(com.google.rpc.Status status) {
    Status.Code code = Status.fromCodeValue(status.getCode()).getCode();
    if (code == Status.Code.OK) {
      return of(Status.Code.UNKNOWN, "", "the server gave neither an answer nor an error");
    }
    return read(code, status.getMessage(), status.getDetailsList());
  }

  /** Reads the status of a call; the trailers may be null. */
  static Failure of(Status status, Metadata trailers) {
    List<Any> details = List.of();
    byte[] bytes = trailers == null ? null : trailers.get(DETAILS);
    if (bytes != null) {
      try {
        details = com.google.rpc.Status.parseFrom(bytes).getDetailsList();
      } catch (InvalidProtocolBufferException e) {
        details = List.of(); // not of a gemwire server
      }
    }
    String message = status.getDescription();
    return read(status.getCode(), message == null ? status.getCode().name() : message, details);
  }

  private static Failure read(Status.Code code, String message, List<Any> details) {
    ErrorInfo info = null;
    Map<String, String> fields = new TreeMap<>();
    Duration retryAfter = null;
    for (Any detail : details) {
      if (unpack(detail, ErrorInfo.class) instanceof ErrorInfo found) {
        if (found.getDomain().equals(DOMAIN)) {
          info = found;
        }
      } else if (unpack(detail, BadRequest.class) instanceof BadRequest request) {
        for (BadRequest.FieldViolation violation : request.getFieldViolationsList()) {
          fields.put(violation.getField(), violation.getDescription());
        }
      } else if (unpack(detail, RetryInfo.class) instanceof RetryInfo retry) {
        retryAfter = duration(retry.getRetryDelay());
      }
    }
    if (info == null) {
      return of(code, "", message);
    }
    return new Failure(
        code,
        message,
        true,
        info.getReason(),
        info.getMetadataMap(),
        Collections.unmodifiableMap(fields),
        retryAfter);
  }

  private static Message unpack(Any detail, Class<? extends Message> type) {
    try {
      return detail.is(type) ? detail.unpack(type) : null;
    } catch (InvalidProtocolBufferException e) {
      return null; // not of a gemwire server
    }
  }

  /** Returns the duration, at most a day: what no server means must not overflow. */
  static Duration duration(com.google.protobuf.Duration message) {
    long seconds = Math.max(0, Math.min(message.getSeconds(), 86_400));
    return Duration.ofSeconds(seconds, Math.max(0, message.getNanos()));
  }

  /** Returns whether a text that failed so may be sent again soon. */
  boolean passes() {
    return retryAfter != null
        && retryAfter.compareTo(Retries.LONGEST_PAUSE) <= 0
        && (code == Status.Code.RESOURCE_EXHAUSTED || code == Status.Code.UNAVAILABLE);
  }

  /** Returns the exception of a whole call. */
  GemwireException exception(Throwable why) {
    return exception(OptionalLong.empty(), Collections.emptySortedMap(), why);
  }

  /** Returns the exception of one text. */
  GemwireException exception(long index) {
    return exception(OptionalLong.of(index), Collections.emptySortedMap(), null);
  }

  /** Returns the exception of a text in whose place a call of many texts fails. */
  GemwireException exception(long index, SortedMap<Long, GemwireException> errors) {
    return exception(OptionalLong.of(index), errors, null);
  }

  private GemwireException exception(
      OptionalLong index, SortedMap<Long, GemwireException> errors, Throwable why) {
    return switch (code) {
      case INVALID_ARGUMENT -> new InvalidInputException(this, index, errors, why);
      case NOT_FOUND -> new NotFoundException(this, index, errors, why);
      case RESOURCE_EXHAUSTED -> new OverloadedException(this, index, errors, why);
      case DEADLINE_EXCEEDED -> new DeadlineExceededException(this, index, errors, why);
      case UNAVAILABLE, CANCELLED -> new UnavailableException(this, index, errors, why);
      case UNAUTHENTICATED, PERMISSION_DENIED ->
          new AccessDeniedException(this, index, errors, why);
      case INTERNAL -> new EngineFailureException(this, index, errors, why);
      default -> new GemwireException(this, index, errors, why);
    };
  }
}
