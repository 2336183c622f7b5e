/** Applies the events of a scenario to a simulated host. */
import { MiB } from '../common/units.js';
import { SimHost } from './host.js';
import type { Event, Scenario } from './scenario.js';

/** The rival's interval, ms, step and floor, KiB: those of a coordinator that people write in shell (bench/contenders/coordinator.sh). */
const RIVAL_MS = 2000;
const RIVAL_STEP = 100 * MiB;
const RIVAL_FLOOR = 256 * MiB;
/** From the start of a migration until libvirt reports that QEMU sends the guest's memory [M: 270 ms]. */
const FIRST_PASS_MS = 270;

/**
 * Creates a scenario's host with the guests that run from the start, and schedules the scenario's events.
 *
 * @param disturb called whenever an event begins or ends, or a guest starts or stops
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

/** Does nothing if the guest is gone by the time of its event. */
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
  const flag = (key: 'frozen' | 'stuck' | 'hung'): Happening => ({
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
      // The migration succeeds: the guest then runs on another host.
      return {
        begin: guest((it) => {
          it.migrating = true;
          host.at(host.now + FIRST_PASS_MS, () => {
            if (!host.guests.includes(it)) return;
            it.migrationKnown = true;
            host.tell({ kind: 'job', uuid: it.uuid, name });
          });
        }),
        end: guest(() => host.stop(name)),
      };
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
      // A paused or hung guest cannot unload its driver.
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

/** A move of a second coordinator: it grows a guest with little unused memory, and shrinks a guest with much. */
function rival(host: SimHost, name: string): void {
  const guest = host.guest(name);
  const { figures, spec, actual, hung } = guest;
  if (hung || host.daemon !== 'up') return;
  // The rival sets a stats period if nobody else has.
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
