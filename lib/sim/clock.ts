/** A simulated clock: time advances only in `pass` and `take`, and `pass` wakes sleepers when their time comes. */
import type { Time } from '../common/time.js';

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/** Largest step by which time advances. */
const STEP_MS = 20;
/** Most turns of the event loop in which running tasks can reach their next sleep, including reads and writes of files. */
const MOST_TURNS = 20;

export class SimClock implements Time {
  #at = 0;
  #sleepers: Sleeper[] = [];
  readonly #step: () => void;
  readonly #leastTurns: number;

  /**
   * @param step called after each step of time
   * @param leastTurns turns of the event loop before time advances: 1 is enough, and fast, if tasks wait for nothing but promises
   */
  constructor(step: () => void, leastTurns = MOST_TURNS) {
    this.#step = step;
    this.#leastTurns = leastTurns;
  }

  now(): number {
    return this.#at;
  }

  sleep(ms: number): { readonly done: Promise<void>; readonly wake: () => void } {
    let wake = () => {};
    const done = new Promise<void>((resolve) => {
      const sleeper = { at: this.#at + Math.max(0, ms), wake: resolve };
      this.#sleepers.push(sleeper);
      wake = () => {
        this.#sleepers = this.#sleepers.filter((each) => each !== sleeper);
        resolve();
      };
    });
    return { done, wake };
  }

  /** Schedules `what` for `time`, or for now if `time` is past. */
  at(time: number, what: () => void): void {
    this.#sleepers.push({ at: Math.max(time, this.#at), wake: what });
  }

  /** Lets `ms` pass without waking any sleeper: the duration of a call. */
  take(ms: number): void {
    this.#reach(this.#at + ms);
  }

  /** Lets `ms` pass, and wakes sleepers when their time comes. */
  async pass(ms: number): Promise<void> {
    const end = this.#at + ms;
    for (;;) {
      // Running tasks reach their next sleep before simulated time advances.
      for (let turn = 0; turn < this.#leastTurns || (turn < MOST_TURNS && this.#sleepers.length === 0); turn++)
        await new Promise((resolve) => setImmediate(resolve));
      const next = this.#sleepers.reduce<Sleeper | null>((first, each) => (first === null || each.at < first.at ? each : first), null);
      if (next === null || next.at > end) break;
      this.#reach(next.at);
      this.#sleepers = this.#sleepers.filter((each) => each !== next);
      next.wake();
    }
    this.#reach(end);
  }

  #reach(at: number): void {
    while (this.#at < at) {
      this.#at = Math.min(at, this.#at + STEP_MS);
      this.#step();
    }
  }
}
