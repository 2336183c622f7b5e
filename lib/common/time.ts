/** Time as the coordinator sees it: the machine's, or a simulated host's. */
export interface Time {
  /** A clock that never steps, ms. */
  now(): number;
  /** `done` resolves after `ms`, or at once when `wake` is called. */
  sleep(ms: number): {
    readonly done: Promise<void>;
    /** Ends the sleep at once. */
    readonly wake: () => void;
  };
}

/** CLOCK_MONOTONIC, the clock of the addon's readings. Steps of the wall clock do not affect it. */
export const machineTime: Time = {
  now: () => Number(process.hrtime.bigint()) / 1e6,
  sleep(ms) {
    let wake = () => {};
    const done = new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    return { done, wake };
  },
};
