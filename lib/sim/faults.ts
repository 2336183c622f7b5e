/** Lets the events of a scenario happen on a simulated host. */
import { MiB } from '../common/units.js';
import { SimHost } from './host.js';
import type { Event, Scenario } from './scenario.js';

/** The rival samples so often, ms, and moves by so much, KiB: the coordinator that people write in the shell (bench/contenders/coordinator.sh). */
const RIVAL_MS = 2000;
const RIVAL_STEP = 100 * MiB;
const RIVAL_FLOOR = 256 * MiB;

/**
 * A scenario's host, with the guests that are there from the start, and with all that befalls it on its calendar.
 *
 * @param disturb is called with each event
 */
export function stage(scenario: Scenario, disturb: () => void): SimHost {
  const { seed, memory: total, used, arc, arcMinimum, hugePages, cgroup, guests } = scenario;
  const present = guests.filter(({ starts }) => starts === 0).map(({ spec }) => spec);
  const host = new SimHost({ total, used, arc, arcMinimum, hugePages, cgroup, seed, turns: 1, guests: present });
  schedule(host, scenario, disturb);
  return host;
}

function schedule(host: SimHost, { guests, events }: Scenario, disturb: () => void): void {
  const at = (time: number, what: () => void) =>
    host.at(time, () => {
      disturb();
      what();
    });
  for (const { spec, starts, stops } of guests) {
    if (starts > 0) at(starts, () => host.start(spec, true));
    if (Number.isFinite(stops)) at(stops, () => onGuest(host, spec.name, () => host.stop(spec.name)));
  }
  for (const event of events) {
    const { begin, end } = happening(host, event);
    at(1000 * event.at, begin);
    if (event.for !== undefined) at(1000 * (event.at + event.for), end);
  }
}

/** Guests may be gone by the time that something would befall them. */
function onGuest(host: SimHost, name: string, what: (guest: ReturnType<SimHost['guest']>) => unknown): void {
  const guest = host.guests.find(({ spec }) => spec.name === name);
  if (guest !== undefined) what(guest);
}

interface Happening {
  readonly begin: () => void;
  readonly end: () => void;
}

function happening(host: SimHost, event: Event): Happening {
  const { do: what, guest: name = '', size = 0, by = 0, for: lasts = 0 } = event;
  const nothing = () => {};
  const guest = (change: Parameters<typeof onGuest>[2]) => () => onGuest(host, name, change);
  const flag = (key: 'frozen' | 'stuck' | 'hung' | 'migrating'): Happening => ({
    begin: guest((it) => {
      it[key] = true;
    }),
    end: guest((it) => {
      it[key] = false;
    }),
  });
  const pause = (paused: boolean) =>
    guest((it) => {
      it.paused = paused;
      host.tell({ kind: paused ? 'paused' : 'resumed', uuid: it.uuid, name });
    });
  switch (what) {
    case 'pause':
      return { begin: pause(true), end: pause(false) };
    case 'hang':
      return flag('hung');
    case 'freeze':
      return flag('frozen');
    case 'stick':
      return flag('stuck');
    case 'migrate':
      // It goes through: the guest is elsewhere then.
      return { begin: flag('migrating').begin, end: guest(() => host.stop(name)) };
    case 'kill':
      return { begin: guest(() => host.stop(name)), end: nothing };
    case 'reboot':
      return {
        begin: guest((it) => {
          if (it.hung || it.paused) return;
          it.reboot();
          host.tell({ kind: 'rebooted', uuid: it.uuid, name });
        }),
        end: nothing,
      };
    case 'vfio':
      return {
        begin: guest((it) => {
          it.pinned = true;
          host.tell({ kind: 'deviceAdded', uuid: it.uuid, name });
        }),
        end: nothing,
      };
    case 'unload':
      // What is stopped unloads nothing.
      return { begin: guest((it) => !it.hung && !it.paused && it.unload()), end: nothing };
    case 'set':
      return { begin: guest((it) => host.set(name, Math.min(size, it.spec.maximum))), end: nothing };
    case 'daemon-hang':
    case 'daemon-down':
      return {
        begin: () => host.setDaemon(what === 'daemon-hang' ? 'hung' : 'down'),
        end: () => host.setDaemon('up'),
      };
    case 'eat':
      return {
        begin: () => {
          host.used += size;
        },
        end: () => {
          host.used -= size;
        },
      };
    case 'pressure':
      return {
        begin: () => {
          host.pressure = true;
        },
        end: () => {
          host.pressure = false;
        },
      };
    case 'slow-list':
      return {
        begin: () => {
          host.listsWait = true;
        },
        end: () => {
          host.listsWait = false;
        },
      };
    case 'clock':
      return { begin: () => host.setClock(1000 * by), end: nothing };
    case 'rival': {
      const until = 1000 * (event.at + lasts);
      const round = () => {
        for (const { spec } of [...host.guests]) rival(host, spec.name);
        if (host.now + RIVAL_MS < until) host.at(host.now + RIVAL_MS, round);
      };
      return { begin: round, end: nothing };
    }
  }
}

/** What a second coordinator does to a guest: more where little is unused, less where much is. */
function rival(host: SimHost, name: string): void {
  const guest = host.guest(name);
  const { figures, spec, actual, hung } = guest;
  if (hung || host.daemon !== 'up') return;
  // It sees to its figures, where nobody else does.
  if (guest.period === 0) guest.setPeriod(RIVAL_MS / 1000);
  if (figures === null) return;
  const target =
    figures.unused < 150 * MiB
      ? Math.min(spec.maximum, actual + RIVAL_STEP)
      : figures.unused > 300 * MiB
        ? Math.max(RIVAL_FLOOR, actual - RIVAL_STEP)
        : actual;
  if (target !== actual) host.set(name, target);
}
