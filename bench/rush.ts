/** Runs the coordinator itself at full speed: its clock jumps over every rest between two samples. */
import { Coordinator, type CoordinatorOptions, defaultConfig, type Hypervisor } from 'memcoord';

/** Time that passes only while the coordinator rests, ms. */
export class Clock {
  now = 1_000_000;
}

/**
 * Makes `cycles` samples of all guests, an interval apart by the clock, and carries out what is planned.
 *
 * @param connect given the clock, by which the hypervisor dates its figures.
 * @param each called after the cycle of that number.
 */
export async function rush(connect: (clock: Clock) => Promise<Hypervisor>, cycles: number, each: (cycle: number) => void): Promise<void> {
  const clock = new Clock();
  const time: CoordinatorOptions['time'] = {
    now: () => clock.now,
    sleep(ms) {
      clock.now += ms;
      return { done: Promise.resolve(), wake: () => undefined };
    },
  };
  const hypervisor = await connect(clock);
  let samples = 0;
  let over: () => void = () => undefined;
  const done = new Promise<void>((resolve) => {
    over = resolve;
  });
  // A sample begins with the sweep: when the next is asked for, the one before is over.
  const counted: Hypervisor = {
    ...hypervisor,
    async sample(options) {
      if (samples > 0) each(samples);
      if (samples === cycles) {
        over();
        return new Promise(() => undefined);
      }
      samples++;
      return hypervisor.sample(options);
    },
  };
  // No extra samples of some guests: every sample is a cycle.
  const coordinator = new Coordinator({ connect: async () => counted, config: { ...defaultConfig(), samplingBudget: 0 }, time });
  coordinator.on('lost', (error) => {
    throw error;
  });
  await coordinator.start();
  await done;
}
