/** A clock that jumps: time passes where somebody lets it, and whoever sleeps on it is woken when its moment comes. */
import type { Time } from '../common/time.js';

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/** Largest step of time. */
const STEP_MS = 20;
/** Turns of the event loop that those who are awake get to come to their next sleep, reading and writing of files included. */
const MOST_TURNS = 20;

export class SimClock implements Time {
  #at = 0;
  #sleepers: Sleeper[] = [];
  readonly #step: () => void;
  readonly #leastTurns: number;

  /**
   * @param step is called after each small step of time
   * @param leastTurns where nothing but promises is waited for 1 will do, and is fast
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

  /** Wakes `what` at a time, or at once where that is over. */
  at(time: number, what: () => void): void {
    this.#sleepers.push({ at: Math.max(time, this.#at), wake: what });
  }

  /** Lets `ms` pass without anybody waking: a call that takes its time. */
  take(ms: number): void {
    this.#reach(this.#at + ms);
  }

  /** Lets `ms` pass. */
  async pass(ms: number): Promise<void> {
    const end = this.#at + ms;
    for (;;) {
      // Those who are awake come to their next sleep without simulated time passing.
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
