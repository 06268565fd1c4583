import { type GemwireError, Overloaded, Unavailable } from "./errors.js";

/** The most tries of a call that a server refused or that was lost, and of a text of a stream. */
export const TRIES = 5;
const LONGEST_PAUSE_MS = 60_000;
const BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 5_000;
// gRPC's header holds eight digits: over a day, while timers of Node.js end after 24 days.
const LONGEST_TIMEOUT_MS = 99_999_999;

/** Callers that were refused together must not come back together. */
function spread(ms: number): number {
  return ms * (1 + 0.3 * Math.random());
}

/** The milliseconds before a call that a server refused is sent again; undefined if it must not be. */
export function refusalPause(error: GemwireError): number | undefined {
  const pause = error.retryAfterMs === undefined ? undefined : spread(error.retryAfterMs);
  return pause !== undefined && pause <= LONGEST_PAUSE_MS ? pause : undefined;
}

/** The milliseconds of the pause after so many failures in a row to get an answer. */
export function backoff(error: GemwireError, failures: number): number {
  const pause = spread(Math.min(BACKOFF_MS * 2 ** Math.min(failures - 1, 10), LONGEST_BACKOFF_MS));
  // The first pause is short: another server may answer.
  return failures === 1 ? pause : Math.max(pause, error.retryAfterMs ?? 0);
}

/** Whether the server is away, or the call was lost on its way. */
export function isAbsence(error: GemwireError): boolean {
  return error instanceof Unavailable && !(error.code === "CANCELLED" && error.reason);
}

/** Whether no server can have begun to work on the call: none took the connection. */
function neverSent(error: GemwireError): boolean {
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
    // Several addresses failed, or one.
    if (cause instanceof AggregateError) return true;
    if ("syscall" in cause && /^(connect|getaddrinfo)$/.test(String(cause.syscall))) return true;
  }
  return false;
}

/** The tries of one unary call, until its deadline. */
export class Tries {
  readonly #deadline: number;
  #failures = 0;
  #lost = 0;

  /** `timeoutMs` null: no deadline. */
  constructor(timeoutMs: number | null) {
    this.#deadline = timeoutMs === null ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
  }

  /** Milliseconds left for the next try, whole and at least 1; undefined without a deadline. */
  get leftMs(): number | undefined {
    const left = Math.ceil(this.#deadline - performance.now());
    return left === Number.POSITIVE_INFINITY
      ? undefined
      : Math.min(Math.max(left, 1), LONGEST_TIMEOUT_MS);
  }

  /**
   * The milliseconds to wait before the call is made again; throws the error if it must not be.
   *
   * @param known - whether a server has ever answered this client.
   */
  pause(error: GemwireError, known: boolean): number {
    this.#failures++;
    const pause = this.#next(error, known);
    if (pause === undefined || pause >= this.#deadline - performance.now()) throw error;
    return pause;
  }

  #next(error: GemwireError, known: boolean): number | undefined {
    if (error instanceof Overloaded) {
      return this.#failures < TRIES ? refusalPause(error) : undefined;
    }
    if (!isAbsence(error)) return undefined;
    // The call itself may be what ends the servers, unless a server refused it or none was reached.
    if (!error.reason && !(known && neverSent(error))) this.#lost++;
    return this.#lost < TRIES ? backoff(error, this.#failures) : undefined;
  }
}
