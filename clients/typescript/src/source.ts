import type { Exchange } from "./exchange.js";
import { type Text, textInput } from "./text.js";
import type { Wake } from "./wake.js";

/** Reads the texts of an exchange as far as it wants them, over all its streams. */
export class Source {
  readonly #exchange: Exchange;
  readonly #wake: Wake;
  readonly #sync: Iterator<Text> | undefined;
  readonly #async: AsyncIterator<Text> | undefined;
  #reading = false;
  #failed = false;
  #failure: unknown;
  #immediate: NodeJS.Immediate | undefined;

  constructor(texts: Iterable<Text> | AsyncIterable<Text>, exchange: Exchange, wake: Wake) {
    this.#exchange = exchange;
    this.#wake = wake;
    if (Symbol.asyncIterator in texts) this.#async = texts[Symbol.asyncIterator]();
    else this.#sync = texts[Symbol.iterator]();
  }

  /**
   * Reads on as far as there is room. An async iterable is read while this returns, and `wake` is woken when
   * texts have come. Throws what the iterable threw.
   *
   * @returns whether there are new texts at once.
   */
  read(): boolean {
    if (this.#failed) throw this.#failure;
    if (this.#sync !== undefined) return this.#readSync(this.#sync);
    if (!this.#reading && this.#exchange.wanted) void this.#readAsync(this.#async!);
    return false;
  }

  /** Lets the iterable clean up. One that is busy with its next text does it when that has come. */
  async close(): Promise<void> {
    clearImmediate(this.#immediate);
    if (this.#exchange.sourceEnded) return;
    if (this.#sync !== undefined) {
      this.#sync.return?.();
    } else if (this.#reading) {
      this.#async?.return?.().then(undefined, () => {});
    } else {
      await this.#async?.return?.();
    }
  }

  #readSync(texts: Iterator<Text>): boolean {
    let read = false;
    while (this.#exchange.wanted) {
      read = true;
      this.#add(texts.next());
    }
    return read;
  }

  async #readAsync(texts: AsyncIterator<Text>): Promise<void> {
    this.#reading = true;
    try {
      while (this.#exchange.wanted) {
        this.#add(await texts.next());
        // A message gathers the texts that come without a pause.
        this.#immediate ??= setImmediate(() => {
          this.#immediate = undefined;
          this.#wake.wake();
        });
      }
    } catch (error) {
      this.#failed = true;
      this.#failure = error;
    } finally {
      this.#reading = false;
      this.#wake.wake();
    }
  }

  #add({ done, value }: IteratorResult<Text>): void {
    if (done === true) this.#exchange.sourceEnded = true;
    else this.#exchange.add(textInput(value));
  }
}
