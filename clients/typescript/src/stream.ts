import type { Call, Connection } from "./connection.js";
import { DeadlineExceeded, type GemwireError } from "./errors.js";
import type { Exchange, StreamResult } from "./exchange.js";
import type { EmbedStreamRequest, EmbedStreamResponse } from "./gen/gemwire/v1/embedding_pb.js";
import type { Source } from "./source.js";
import type { Wake } from "./wake.js";

// Messages that are read ahead of the exchange. The server waits where the caller reads slowly.
const MESSAGES_READ_AHEAD = 16;

/** One EmbedStream under way. */
export class Stream {
  /** Why it ended; undefined after OK. */
  error: GemwireError | undefined;
  ended = false;
  readonly #controller = new AbortController();
  readonly #outbox: EmbedStreamRequest[] = [];
  readonly #arrived: EmbedStreamResponse[] = [];
  readonly #wake: Wake;
  readonly #reading: Promise<void>;
  #halfClosed = false;
  #wakeSender = () => {};
  #wakeReader = () => {};

  /** Begins a stream; `wake` is woken for each message and at the end. */
  constructor(connection: Connection, call: Call, wake: Wake, opening: EmbedStreamRequest) {
    this.#wake = wake;
    this.#outbox.push(opening);
    this.#reading = this.#read(connection, call);
  }

  /** Queues a message. The credit bounds the queue. */
  send(message: EmbedStreamRequest): void {
    this.#outbox.push(message);
    this.#wakeSender();
  }

  halfClose(): void {
    this.#halfClosed = true;
    this.#wakeSender();
  }

  /** The next message that arrived. */
  receive(): EmbedStreamResponse | undefined {
    const message = this.#arrived.shift();
    this.#wakeReader();
    return message;
  }

  /** Cancels the stream if it has not ended, and waits until it has. */
  async close(): Promise<void> {
    this.halfClose();
    this.#controller.abort();
    this.#wakeReader();
    await this.#reading;
  }

  async #read(connection: Connection, call: Call): Promise<void> {
    const cancel = () => this.#controller.abort();
    call.signal.addEventListener("abort", cancel, { once: true });
    try {
      const options = connection.options(this.#controller.signal);
      for await (const message of connection.embedding.embedStream(this.#messages(), options)) {
        connection.answered();
        this.#arrived.push(message);
        this.#wake.wake();
        while (this.#arrived.length >= MESSAGES_READ_AHEAD && !this.#controller.signal.aborted) {
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
        }
      }
    } catch (raw) {
      if (!this.#controller.signal.aborted) this.error = connection.failure(raw);
    } finally {
      call.signal.removeEventListener("abort", cancel);
      this.halfClose();
      this.ended = true;
      this.#wake.wake();
    }
  }

  async *#messages(): AsyncGenerator<EmbedStreamRequest, void, undefined> {
    for (;;) {
      for (let message = this.#outbox.shift(); message; message = this.#outbox.shift())
        yield message;
      if (this.#halfClosed) return;
      await new Promise<void>((resolve) => {
        this.#wakeSender = resolve;
      });
    }
  }
}

/**
 * Sends and receives until the stream ends, and hands out the results.
 *
 * @throws {@link DeadlineExceeded} if the server owes something and sends nothing for so long.
 */
export async function* runStream(
  exchange: Exchange,
  source: Source,
  stream: Stream,
  wake: Wake,
  call: AbortSignal,
  timeoutMs: number | null,
): AsyncGenerator<StreamResult, void, undefined> {
  let halfClosed = false;
  // What the time limit counts from, while the server owes something.
  let heardAt = performance.now();
  let owed = true;
  try {
    for (;;) {
      call.throwIfAborted();
      for (let batch = exchange.nextBatch(); batch; batch = exchange.nextBatch())
        stream.send(batch);
      const reading = performance.now();
      if (source.read()) {
        heardAt += performance.now() - reading; // The iterable may block, and with it what has come.
        continue;
      }
      if (exchange.sendingDone && !halfClosed) {
        stream.halfClose();
        halfClosed = true;
      }
      let result = exchange.take();
      if (result !== undefined) {
        for (; result !== undefined; result = exchange.take()) yield result;
        heardAt = performance.now();
        continue; // There may be room to read again.
      }
      const message = stream.receive();
      if (message !== undefined) {
        exchange.receive(message);
        heardAt = performance.now();
      } else if (stream.ended) {
        return;
      } else {
        const owes = exchange.waiting;
        if (!owes || !owed) heardAt = performance.now();
        owed = owes;
        const limit = timeoutMs === null || !owes ? Number.POSITIVE_INFINITY : timeoutMs;
        const left = heardAt + limit - performance.now();
        if (left <= 0) {
          throw new DeadlineExceeded(`no answer for ${limit} ms`, { code: "DEADLINE_EXCEEDED" });
        }
        await wake.wait(left);
      }
    }
  } finally {
    await stream.close();
  }
}
