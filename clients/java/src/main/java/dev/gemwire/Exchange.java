package dev.gemwire;

import dev.gemwire.v1.EmbedInput;
import dev.gemwire.v1.EmbedStreamRequest;
import dev.gemwire.v1.EmbedStreamResponse;
import dev.gemwire.v1.Embedding;
import dev.gemwire.v1.StreamBatch;
import dev.gemwire.v1.StreamOpened;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The books of an {@link EmbedStream}: ids, credit, order, and what is still unanswered. It does no
 * I/O. Texts get ids in the order in which they are taken. One stream follows another: when a
 * server goes away, or has no room for a text, the next stream is sent what is unanswered.
 */
final class Exchange {
  // Texts of a message: enough that a message's own cost vanishes among them.
  private static final int TEXTS_PER_MESSAGE = 64;
  private static final int BYTES_PER_MESSAGE = 1 << 20;

  private final boolean ordered;
  private final Duration timeout;
  private final Deque<Entry> taken = new ArrayDeque<>(); // if ordered: not yet handed out
  private final Deque<StreamResult> done = new ArrayDeque<>(); // if not ordered
  private final Map<Long, Entry> unanswered = new LinkedHashMap<>();
  private Deque<Entry> unsent = new ArrayDeque<>();
  private long count;
  private int held; // taken from the source and not yet handed out
  private boolean sourceEnded;
  private String revision;
  private int failures; // streams in a row that were opened and brought no answer
  private int absences; // streams in a row that no server opened
  private long absentSince;

  // Of the stream that is open.
  private StreamOpened opened;
  private int credit;
  private int underWay; // texts sent and not yet answered
  private boolean leaving;
  private long rest; // nanoseconds before the next stream
  private boolean progress;

  private static final class Entry {
    private final long id;
    private final EmbedInput input;
    private int sent; // times
    private int cut; // times that the stream ended early with this text on it
    private boolean underWay;
    private StreamResult result;

    private Entry(long id, EmbedInput input) {
      this.id = id;
      this.input = input;
    }
  }

  Exchange(boolean ordered, Duration timeout) {
    this.ordered = ordered;
    this.timeout = timeout;
  }

  /** Begins a new stream. Nothing is sent before the server has granted credit. */
  void begin() {
    opened = null;
    credit = 0;
    underWay = 0;
    leaving = false;
    rest = 0;
    progress = false;
    unanswered.values().forEach(entry -> entry.underWay = false);
    unsent = new ArrayDeque<>(unanswered.values());
  }

  /** Returns whether one more text may be taken from the source now. */
  boolean wantsText() {
    return opened != null
        && !sourceEnded
        && !leaving
        && unsent.size() < textsPerMessage()
        && credit > unsent.size()
        && held < Limits.atMostInt(opened.getMaxInflightInputs());
  }

  /** Returns whether the stream is to be half-closed: not while an answer is due. */
  boolean isSent() {
    return underWay == 0 && (leaving || isFinished());
  }

  /** Returns whether every text was taken and answered. */
  boolean isFinished() {
    return sourceEnded && unanswered.isEmpty();
  }

  void endSource() {
    sourceEnded = true;
  }

  void add(EmbedInput input) {
    Entry entry = new Entry(count++, input);
    held++;
    if (ordered) {
      taken.add(entry);
    }
    unanswered.put(entry.id, entry);
    unsent.add(entry);
  }

  private int textsPerMessage() {
    int most = Limits.atMostInt(opened.getMaxInputsPerMessage());
    return most == 0 ? TEXTS_PER_MESSAGE : Math.min(TEXTS_PER_MESSAGE, most);
  }

  private int room() {
    int most = Limits.atMostInt(opened.getMaxRequestBytes());
    return most == 0 ? Integer.MAX_VALUE : Splitter.room(most);
  }

  /** Returns the next message as far as there is credit, or null. */
  EmbedStreamRequest nextBatch() {
    StreamBatch.Builder batch = StreamBatch.newBuilder();
    int size = 0;
    while (opened != null && !unsent.isEmpty() && credit > 0 && !leaving) {
      Entry entry = unsent.element();
      int own = entry.input.getSerializedSize();
      if (own > room()) {
        unsent.remove();
        GemwireException error =
            Splitter.tooLong(own, opened.getMaxRequestBytes()).exception(entry.id);
        finish(entry, StreamResult.of(entry.id, error));
        continue;
      }
      int texts = batch.getInputsCount();
      size += own;
      if (texts > 0
          && (texts == textsPerMessage()
              || size > Math.min(BYTES_PER_MESSAGE, room())
              || entry.id != batch.getFirstId() + texts)) {
        break;
      }
      if (texts == 0) {
        batch.setFirstId(entry.id);
      }
      batch.addInputs(entry.input);
      unsent.remove();
      entry.sent++;
      entry.underWay = true;
      underWay++;
      credit--;
    }
    return batch.getInputsCount() == 0
        ? null
        : EmbedStreamRequest.newBuilder().setBatch(batch).build();
  }

  /** Takes a message of the server. */
  void receive(EmbedStreamResponse message) {
    switch (message.getPayloadCase()) {
      case OPENED -> {
        String found = message.getOpened().getModelRevision();
        if (revision != null && !revision.equals(found)) {
          throw Answers.modelChanged();
        }
        revision = found;
        opened = message.getOpened();
        credit = Limits.atMostInt(opened.getMaxInflightInputs());
      }
      case GO_AWAY -> leave(Failure.duration(message.getGoAway().getReconnectAfter()));
      case RESULTS -> {
        credit += message.getResults().getGrantedInputs();
        message.getResults().getResultsList().forEach(this::answer);
      }
      default -> {} // of a newer server
    }
  }

  private void answer(dev.gemwire.v1.StreamResult result) {
    Entry entry = unanswered.get(result.getId());
    if (entry == null || !entry.underWay) {
      return;
    }
    switch (result.getOutcomeCase()) {
      case EMBEDDING -> {
        finish(entry, decoded(entry.id, result.getEmbedding()));
      }
      case ERROR -> {
        Failure failure = Failure.of(result.getError());
        if (failure.passes() && entry.sent < Retries.TRIES) {
          // Another stream's work: this server ends, or has no room.
          entry.underWay = false;
          underWay--;
          leave(failure.retryAfter());
          return;
        }
        finish(entry, StreamResult.of(entry.id, failure.exception(entry.id)));
      }
      default -> {
        return; // of a newer server
      }
    }
    progress = true;
  }

  private void finish(Entry entry, StreamResult result) {
    unanswered.remove(entry.id);
    if (entry.underWay) {
      entry.underWay = false;
      underWay--;
    }
    if (ordered) {
      entry.result = result;
    } else {
      done.add(result);
    }
  }

  private void leave(Duration reconnectAfter) {
    leaving = true;
    rest = Math.max(rest, reconnectAfter.toNanos());
  }

  /** Returns the next result whose turn has come, or null. */
  StreamResult take() {
    StreamResult result;
    if (ordered) {
      result = taken.isEmpty() ? null : taken.element().result;
      if (result != null) {
        taken.remove();
      }
    } else {
      result = done.poll();
    }
    held -= result == null ? 0 : 1;
    return result;
  }

  /**
   * Notes that the stream ended, of which {@code error} is null after OK. Returns the nanoseconds
   * before the next stream. Throws the error if another stream would not help, or was tried often
   * enough.
   */
  long end(GemwireException error) {
    boolean left = error == null && leaving && underWay == 0;
    if (error == null) {
      error =
          Failure.of(Status.Code.UNAVAILABLE, "", "the server ended the stream").exception(null);
    }
    boolean absent =
        error.code() == Status.Code.UNAVAILABLE || error.code() == Status.Code.CANCELLED;
    if (!absent && !Retries.isRefusal(error)) {
      throw error;
    }
    if (absent && opened == null) {
      return absence(error);
    }
    absences = 0;
    failures = progress ? 0 : failures + 1;
    // A text that ends every stream that it is on must not be sent for ever.
    if (failures >= Retries.TRIES || cuts() >= Retries.TRIES) {
      throw error;
    }
    if (left) {
      return rest;
    }
    long pause = absent ? Retries.absence(error, Math.max(1, failures)) : Retries.refusal(error);
    return Math.max(pause, rest);
  }

  /** Reads a vector; an encoding that this client does not know is an error of its text alone. */
  private static StreamResult decoded(long index, Embedding embedding) {
    try {
      return StreamResult.of(index, Vector.of(embedding));
    } catch (GemwireException error) {
      Failure failure = Failure.of(error.code(), "", error.getMessage());
      return StreamResult.of(index, failure.exception(index));
    }
  }

  /** Counts an early end for each text under way. Returns the most that one of them has seen. */
  private int cuts() {
    return unanswered.values().stream()
        .filter(entry -> entry.underWay)
        .mapToInt(entry -> ++entry.cut)
        .max()
        .orElse(0);
  }

  /**
   * Returns the pause while no server opens a stream: a restart may take longer than some tries.
   */
  private long absence(GemwireException error) {
    if (absences++ == 0) {
      absentSince = System.nanoTime();
    }
    long pause = Math.max(rest, Retries.absence(error, absences));
    if (timeout == null) {
      return pause;
    }
    long left = absentSince + timeout.toNanos() - System.nanoTime();
    if (left <= 0) {
      throw error;
    }
    return Math.min(left, pause);
  }
}
