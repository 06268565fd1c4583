const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Lets one task wait until another one has something for it. */
export class Wake {
  #woken = false;
  #resolve: (() => void) | undefined;

  /** Ends the wait that is under way, or else the next one. */
  wake(): void {
    this.#woken = true;
    this.#resolve?.();
  }

  /** Waits for `wake`, at most so many milliseconds. */
  async wait(ms: number): Promise<void> {
    if (!this.#woken) {
      await new Promise<void>((resolve) => {
        const timer = ms < LONGEST_TIMER_MS ? setTimeout(resolve, ms) : undefined;
        this.#resolve = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#resolve = undefined;
    }
    this.#woken = false;
  }
}
