package dev.gemwire;

import dev.gemwire.v1.EmbedOptions;
import dev.gemwire.v1.EmbedStreamRequest;
import dev.gemwire.v1.StreamOpen;
import io.grpc.Status;
import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.CountDownLatch;

/**
 * The results of any number of texts. A text that fails has its error in its place, and the others
 * go on. If a server goes away, what is unanswered is sent to the next one.
 *
 * <p>The source of the texts is read in the thread that asks for results, and only as far as the
 * server gave credit, some hundred texts ahead: so it may be endless, and a caller who reads slowly
 * slows it. While it blocks, no result is handed out. What it throws ends the stream and comes
 * through. {@link #hasNext} and {@link #next} throw a {@link GemwireException} if the stream fails.
 *
 * <p>One thread at a time uses a stream; any thread may close it. A stream that is neither read to
 * its end nor closed goes on until its client is closed.
 */
public final class EmbedStream implements Iterator<StreamResult>, AutoCloseable {
  // A message waits this long for texts of a slow source.
  private static final long GATHER_NANOS = 10_000_000;

  private final Connection connection;
  private final Iterator<Text> texts;
  private final EmbedStreamRequest open;
  private final Duration timeout;
  private final Exchange exchange;
  private final CountDownLatch closed = new CountDownLatch(1);
  private volatile StreamCall call;
  private boolean halfClosed;
  private boolean ended;
  private long waitingSince;
  private StreamResult next;

  EmbedStream(
      Connection connection,
      Iterator<Text> texts,
      EmbedOptions options,
      boolean ordered,
      Duration timeout) {
    this.connection = connection;
    this.texts = texts;
    this.timeout = timeout;
    this.open =
        EmbedStreamRequest.newBuilder()
            .setOpen(StreamOpen.newBuilder().setOptions(options))
            .build();
    this.exchange = new Exchange(ordered, timeout);
  }

  /**
   * Returns whether there is another result, and waits for it.
   *
   * @return false after the last one
   */
  @Override
  public boolean hasNext() {
    if (!ended) {
      checkOpen();
    }
    if (next != null) {
      return true;
    }
    boolean failed = true;
    try {
      waitingSince = System.nanoTime();
      while ((next = exchange.take()) == null && !ended) {
        step();
      }
      failed = false;
    } catch (InterruptedException e) {
      throw Connection.interrupted(e);
    } finally {
      if (failed) {
        close();
      }
    }
    return next != null;
  }

  /**
   * Returns the next result, and waits for it.
   *
   * @return the result
   * @throws NoSuchElementException after the last one
   */
  @Override
  public StreamResult next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    StreamResult result = next;
    next = null;
    return result;
  }

  /** Ends the stream. What was not handed out is lost. */
  @Override
  public void close() {
    closed.countDown();
    StreamCall current = call;
    if (current != null) {
      current.cancel();
    }
  }

  private void checkOpen() {
    if (closed.getCount() == 0) {
      throw Connection.cancelled("the stream is closed", null);
    }
  }

  /** Sends what may be sent, and takes what comes first: a message, the end, or leave to send. */
  private void step() throws InterruptedException {
    if (call == null) {
      begin();
    }
    // Texts that another stream left come first: the source may take long.
    send();
    gather();
    send();
    if (exchange.isSent() && !halfClosed) {
      call.halfClose();
      halfClosed = true;
    }
    boolean more = exchange.wantsText() && call.isReady();
    long left = Long.MAX_VALUE;
    if (timeout != null) {
      left = timeout.toNanos() - (System.nanoTime() - waitingSince);
    }
    StreamCall.Event event = call.next(more ? 0 : left);
    if (event == null) {
      if (!more) {
        String message = "no answer for " + timeout.toMillis() + " ms";
        throw Failure.of(Status.Code.DEADLINE_EXCEEDED, "", message).exception(null);
      }
    } else if (event.message() != null) {
      connection.answered();
      exchange.receive(event.message());
      waitingSince = System.nanoTime();
    } else if (event.status() != null) {
      end(event);
    }
  }

  private void begin() {
    connection.checkOpen();
    exchange.begin();
    halfClosed = false;
    call = new StreamCall(connection);
    call.send(open);
    waitingSince = System.nanoTime();
    checkOpen(); // close() may have come before there was a call to cancel
  }

  private void send() {
    EmbedStreamRequest batch;
    while (call.isReady() && (batch = exchange.nextBatch()) != null) {
      call.send(batch);
      waitingSince = System.nanoTime();
    }
  }

  /** Takes as many texts as a message holds, or as come within a moment. */
  private void gather() {
    if (!call.isReady() || !exchange.wantsText()) {
      return;
    }
    long start = System.nanoTime();
    do {
      if (!texts.hasNext()) {
        exchange.endSource();
        break;
      }
      exchange.add(texts.next().message());
    } while (exchange.wantsText() && System.nanoTime() - start < GATHER_NANOS);
    waitingSince = System.nanoTime();
  }

  private void end(StreamCall.Event event) throws InterruptedException {
    checkOpen();
    if (exchange.isFinished()) {
      ended = true;
      return;
    }
    GemwireException error = null;
    if (!event.status().isOk()) {
      error = connection.failure(event.status().asRuntimeException(event.trailers()));
    }
    long pause = exchange.end(error);
    call = null;
    connection.sleep(pause, closed);
    checkOpen();
  }
}
