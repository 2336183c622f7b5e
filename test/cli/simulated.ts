/** Simulated guests for the tests of the commands. */
import type { Connect } from '../../lib/cli/session.js';
import { machineTime } from '../../lib/common/time.js';
import { GiB, MiB } from '../../lib/common/units.js';
import type { DomainFacts, Hypervisor } from '../../lib/hypervisor.js';
import type { GuestSpec } from '../../lib/sim/guest.js';
import { SimHost } from '../../lib/sim/host.js';
import { LAST_UPDATE, READ_AT, STRIDE } from '../../lib/sweep.js';

/** A guest that uses 300 MiB of its 512, and may have 2 GiB. */
export function idle(name: string, more: Partial<GuestSpec> = {}): GuestSpec {
  return { name, maximum: 2 * GiB, current: 512 * MiB, uses: () => 300 * MiB, ...more };
}

export function hostWith(...guests: readonly GuestSpec[]): SimHost {
  return new SimHost({ total: 16 * GiB, guests });
}

/** Connects to a simulated host, with parts of it as a test wants them. */
export function connectTo(host: SimHost, change: (real: Hypervisor) => Partial<Hypervisor> = () => ({})): Connect {
  return async () => {
    const real = await host.connect();
    return { ...real, ...change(real) };
  };
}

/** As {@link connectTo}, for commands that go by the machine's clocks: what the guests have answered, they answered 3 s ago. */
export function connectNow(host: SimHost, change: (real: Hypervisor) => Partial<Hypervisor> = () => ({})): Connect {
  return connectTo(host, (real) => ({
    sample: async (options) => {
      const sweep = await real.sample(options);
      sweep.guests.forEach((_, row) => {
        sweep.figures[row * STRIDE + READ_AT] = machineTime.now();
        if (sweep.figures[row * STRIDE + LAST_UPDATE] !== 0) sweep.figures[row * STRIDE + LAST_UPDATE] = Date.now() / 1000 - 3;
      });
      return sweep;
    },
    ...change(real),
  }));
}

/** As {@link connectNow}, with other facts of the guest of that name. */
export function connectWithFacts(host: SimHost, name: string, facts: Partial<DomainFacts>): Connect {
  return connectNow(host, (real) => ({
    describe: async (uuid, options) => ({ ...(await real.describe(uuid, options)), ...(host.guest(name).uuid === uuid ? facts : {}) }),
  }));
}

/** Collects what a command prints. */
export function collected(): { readonly lines: string[]; readonly print: (text: string) => void; text(): string } {
  const lines: string[] = [];
  return { lines, print: (text) => void lines.push(text), text: () => lines.join('') };
}
