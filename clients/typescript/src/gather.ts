import { fromStatus, GemwireError, modelChanged } from "./errors.js";
import type { Status } from "./gen/google/rpc/status_pb.js";
import type { Range } from "./requests.js";

type Outcome<V> =
  | { case: string; value: V }
  | { case: "error"; value: Status }
  | { case: undefined; value?: undefined };

/** An answer to several texts. */
interface Answer<V> {
  modelRevision: string;
  results: { outcome: Outcome<V> }[];
}

/** Collects the answers to the texts of one call, as its requests are answered. */
export class Gathered<V, R> {
  readonly #rows: R[] = [];
  readonly #errors = new Map<number, GemwireError>();
  readonly #read: (value: V) => R;
  #revision: string | undefined;

  /** `read` reads the outcome of a text that did not fail. */
  constructor(read: (value: V) => R) {
    this.#read = read;
  }

  /** Takes the answer to the next texts. Throws {@link GemwireError} if it cannot belong to them. */
  add(range: Range, answer: Answer<V>): void {
    this.#revision ??= answer.modelRevision;
    if (this.#revision !== answer.modelRevision) throw modelChanged();
    const count = range.end - range.start;
    if (answer.results.length !== count) {
      throw new GemwireError(`${answer.results.length} answers to ${count} texts`, {
        code: "UNKNOWN",
      });
    }
    answer.results.forEach(({ outcome }, i) => {
      const index = range.start + i;
      if (outcome.case === "error") {
        this.#errors.set(index, fromStatus(outcome.value as Status, index));
      } else if (outcome.case !== undefined) {
        this.#rows[index] = this.#read(outcome.value as V);
      } else {
        this.#errors.set(
          index,
          new GemwireError("the server gave neither an answer nor an error", {
            code: "UNKNOWN",
            index,
          }),
        );
      }
    });
  }

  /** All rows. If texts failed, throws the first one's error, whose `errors` holds all of them. */
  all(): R[] {
    const first = this.#errors.values().next().value;
    if (first !== undefined) {
      first.errors = this.#errors;
      throw first;
    }
    return this.#rows;
  }
}
