import { randomUUID } from 'node:crypto';
import { getEventListeners } from 'node:events';
import t, { type Test } from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { defaultConfig } from '../../lib/config/config.js';
import { Coordinator, type CoordinatorOptions, type MoveOutcome } from '../../lib/coordinator/coordinator.js';
import { takeLock } from '../../lib/coordinator/lock.js';
import type { Notice } from '../../lib/coordinator/messages.js';
import { readOnce } from '../../lib/coordinator/snapshot.js';
import type { SavedGuests, State } from '../../lib/coordinator/state.js';
import type { HostMemory, Hypervisor } from '../../lib/hypervisor.js';
import * as demand from '../../lib/policy/demand.js';
import type { Model } from '../../lib/policy/guest.js';
import { GRANT_SHOWS, WATCH_COST } from '../../lib/policy/limits.js';
import type { GuestSpec } from '../../lib/sim/guest.js';
import { SimHost } from '../../lib/sim/host.js';
import { MISSED, READ, REFRESHED, SET_ASIDE, STATUS, STRIDE } from '../../lib/sweep.js';

const idle = (name: string, settings: Partial<GuestSpec> = {}): GuestSpec => ({
  name,
  maximum: 2 * GiB,
  current: 512 * MiB,
  uses: () => 150 * MiB,
  ...settings,
});

/** A coordinator over a simulated host, with all that it says. */
function coordinate(guests: readonly GuestSpec[], { pool = 8, ...options }: Partial<CoordinatorOptions> & { pool?: number } = {}) {
  const host = new SimHost({ total: 23 * GiB, guests });
  const coordinator = new Coordinator({
    connect: host.connect,
    config: { ...defaultConfig(), pool: pool * GiB },
    time: host.time,
    ...options,
  });
  const moves: MoveOutcome[] = [];
  const notices: Notice[] = [];
  coordinator.on('move', (move) => moves.push(move));
  coordinator.on('notice', (notice) => notices.push(notice));
  const stop = async () => {
    const stopped = coordinator.stop();
    await host.pass(60_000);
    await stopped;
  };
  return { host, coordinator, moves, notices, stop };
}

/** The guests' stats periods in force, in their order. */
const livePeriods = ({ guests }: SimHost) => guests.map(({ period }) => period);

/** The hypervisor of a host with some of its calls replaced. */
const withCalls = (host: SimHost, calls: (real: Hypervisor) => Partial<Hypervisor>) => async (): Promise<Hypervisor> => {
  const real = await host.connect();
  return { ...real, ...calls(real) };
};

t.test('rule 9: nothing is done to a guest that is being migrated, from the first pass on until it is over', async (t) => {
  const { host, coordinator, moves, notices, stop } = coordinate([idle('a'), idle('b')]);
  await coordinator.start();
  await host.pass(3000);
  const a = host.guest('a');
  a.migrating = a.migrationKnown = true;
  host.tell({ kind: 'job', uuid: a.uuid, name: 'a' });
  moves.length = 0;
  await host.pass(150);
  t.match(coordinator.snapshot?.guests[0], { phase: 'paused', why: 'it is being migrated' }, 'its event is enough');
  await host.pass(10_000);
  t.same([...new Set(moves.map(({ name }) => name))], ['b']);
  t.same(
    notices
      .filter(({ kind, guest }) => kind === 'phase' && guest === 'a')
      .map(({ message }) => message)
      .slice(-1),
    ['a is left alone for now: it is being migrated'],
  );
  a.migrating = a.migrationKnown = false;
  await host.pass(4000);
  t.ok(moves.some(({ name }) => name === 'a'));
  await stop();
});

t.test('a migration that is not known yet costs one order, and holds up nobody', async (t) => {
  const { host, coordinator, moves, stop } = coordinate([idle('a'), idle('b')]);
  await coordinator.start();
  await host.pass(2000);
  moves.length = 0;
  host.guest('a').migrating = true;
  await host.pass(10_000);
  t.match(
    moves.filter(({ name }) => name === 'a').map(({ error }) => error),
    [{ code: 'ERR_MEMCOORD_DEADLINE' }],
  );
  t.ok(moves.filter(({ name }) => name === 'b').length > 1);
  await stop();
});

t.test('figures of a guest that arrives by migration are switched on once it is there', async (t) => {
  const asked: string[] = [];
  const { host, coordinator, stop } = coordinate([idle('a'), idle('b')], {
    connect: async () => {
      const real = await host.connect();
      return {
        ...real,
        setStatsPeriod: async (uuid, ...rest) => {
          asked.push(host.guests.find((guest) => guest.uuid === uuid)?.spec.name ?? '');
          return real.setStatsPeriod(uuid, ...rest);
        },
      };
    },
  });
  const a = host.guest('a');
  a.migrating = a.migrationKnown = true;
  await coordinator.start();
  await host.pass(5000);
  t.same(asked, ['b']);
  a.migrating = a.migrationKnown = false;
  await host.pass(1100);
  t.same(asked, ['b', 'a']);
  t.same(livePeriods(host), [1, 1]);
  await stop();
});

t.test('start rejects with the error of the connection', async (t) => {
  const { coordinator } = coordinate([], { connect: async () => Promise.reject(new Error('no libvirtd here')) });
  await t.rejects(coordinator.start(), { message: 'no libvirtd here' });
});

t.test('a coordinator is started once: what else is asked of it is refused, and opens nothing', async (t) => {
  let connections = 0;
  let reachable = false;
  const { host, coordinator } = coordinate([], {
    connect: async () => {
      connections++;
      if (!reachable) throw new Error('no libvirtd here');
      return host.connect();
    },
  });
  t.equal(coordinator.state, 'idle');
  await t.rejects(coordinator.start(), { message: 'no libvirtd here' });
  t.equal(coordinator.state, 'idle', 'it may be tried again');
  reachable = true;
  const started = coordinator.start();
  await t.rejects(coordinator.start(), { code: 'ERR_MEMCOORD_STATE', message: /is running: make another/ });
  await started;
  const stopped = coordinator[Symbol.asyncDispose]();
  t.equal(coordinator.state, 'stopping');
  await t.rejects(coordinator.start(), { code: 'ERR_MEMCOORD_STATE', message: /is stopping/ });
  await host.pass(60_000);
  await stopped;
  t.equal(coordinator.state, 'stopped');
  await t.rejects(coordinator.start(), { code: 'ERR_MEMCOORD_STATE', message: /is stopped/ });
  t.equal(connections, 2);
  const idle = coordinate([]).coordinator;
  await idle.stop();
  await t.rejects(idle.start(), { message: /is stopped/ });
});

t.test('two coordinators of one host: the second is refused with the pid of the first, until that has stopped', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a')] });
  const id = randomUUID();
  let closed = 0;
  const connect = withCalls(host, () => ({ hostId: async () => id, close: async () => void closed++ }));
  const options = { connect, config: { ...defaultConfig(), onExit: 'keep' as const }, time: host.time, state: null };
  const first = new Coordinator(options);
  const second = new Coordinator(options);
  await first.start();
  await t.rejects(second.start(), { code: 'ERR_MEMCOORD_LOCKED', pid: process.pid });
  t.equal(closed, 1, 'its connection is closed');
  await new Coordinator({ ...options, dryRun: true }).start();
  const stopped = first.stop();
  await host.pass(10_000);
  await stopped;
  await second.start();
  await t.rejects(takeLock(id), { code: 'ERR_MEMCOORD_LOCKED' });
  const ended = second.stop();
  await host.pass(10_000);
  await ended;
  await (await takeLock(id)).release();
});

t.test('a signal ends it: a start that is under way rejects with its reason, a coordinator that runs is stopped', async (t) => {
  const aborted = coordinate([]).coordinator;
  await t.rejects(aborted.start({ signal: AbortSignal.abort() }), { name: 'AbortError' });
  t.equal(aborted.state, 'idle');

  const controller = new AbortController();
  const { signal } = controller;
  const { host, coordinator } = coordinate([idle('a')]);
  let answer = () => {};
  const slow = coordinate([], { connect: () => new Promise((resolve) => (answer = () => resolve(host.connect()))) }).coordinator;
  const starting = slow.start({ signal });
  await coordinator.start({ signal });
  await host.pass(5000);
  t.equal(livePeriods(host)[0], 1);
  controller.abort(new Error('enough'));
  await t.rejects(starting, { message: 'enough' });
  answer();
  await host.pass(10_000);
  await Promise.all([coordinator.stop(), slow.stop()]);
  t.strictSame([coordinator.state, slow.state], ['stopped', 'stopped']);
  t.equal(livePeriods(host)[0], 0, 'stats periods are put back');
  t.equal(getEventListeners(signal, 'abort').length, 0);
});

t.test('with no guest it says so once and takes in the one that starts later, after its rest', async (t) => {
  const { host, coordinator, notices, moves, stop } = coordinate([]);
  await coordinator.start();
  await host.pass(10_000);
  t.equal(notices.filter(({ kind }) => kind === 'no-guests').length, 1);
  host.start(idle('late'));
  await host.pass(110_000);
  t.same(moves, []);
  await host.pass(30_000);
  t.ok(moves.some(({ name, applied }) => name === 'late' && applied));
  host.stop('late');
  await host.pass(3000);
  t.ok(notices.some(({ kind, guest }) => kind === 'guest-gone' && guest === 'late'));
  t.same(coordinator.snapshot?.guests, []);
  await stop();
});

t.test('a guest that starts is seen at once, and is not charged but counted by what it holds', async (t) => {
  const { host, coordinator, stop } = coordinate([idle('a', { current: 1500 * MiB }), idle('b', { current: 1500 * MiB })], { pool: 3 });
  await coordinator.start();
  await host.pass(5000);
  host.start(idle('new', { driver: false, current: 2 * GiB }));
  await host.pass(200);
  const { host: account, guests } = coordinator.snapshot ?? {};
  const seen = guests?.find(({ name }) => name === 'new');
  t.match(seen, { phase: 'booting', controlled: false }, 'seen by its event, before the next sweep is due');
  t.equal(account?.charged, host.guest('a').actual + host.guest('b').actual);
  t.equal(account?.uncontrolled, host.guest('new').rss);
  t.ok((seen?.untouched ?? 0) >= 2 * GiB - host.guest('new').rss, 'it may still take its maximum');
  await stop();
});

t.test('guests in need grow beside one that starts and could take more than the host has', async (t) => {
  const { host, coordinator, stop } = coordinate([idle('a', { ...uses(700), current: 720 * MiB })], { pool: 64 });
  await coordinator.start();
  await host.pass(2000);
  host.start(idle('new', { driver: false, maximum: 64 * GiB, current: 64 * GiB }));
  await host.pass(5000);
  t.ok((coordinator.snapshot?.host.optionalRoom ?? 0) < 0, 'no room for cushions');
  t.ok(host.guest('a').actual >= 800 * MiB, 'need is paid');
  await stop();
});

t.test('a listener that throws is an uncaught error of the process, and coordination goes on', async (t) => {
  const thrown: unknown[] = [];
  const real = globalThis.setImmediate;
  const caught = (run: () => void) =>
    real(() => {
      try {
        run();
      } catch (error) {
        thrown.push(error);
      }
    });
  globalThis.setImmediate = caught as unknown as typeof setImmediate;
  t.teardown(() => {
    globalThis.setImmediate = real;
  });
  const { host, coordinator, stop } = coordinate([idle('a', { current: 1500 * MiB })]);
  const told: string[] = [];
  for (const kind of ['sample', 'move', 'notice', 'connected', 'record', 'lost'] as const) {
    coordinator.prependListener(kind, () => {
      throw new Error(kind);
    });
    coordinator.on(kind, () => told.push(kind));
  }
  await coordinator.start();
  await host.pass(20_000);
  t.ok(host.guest('a').actual < 1000 * MiB, 'memory is moved');
  const kinds = new Set(thrown.map((error) => (error as Error).message));
  t.same([...kinds].sort(), ['connected', 'move', 'notice', 'record', 'sample'], 'nothing is taken for a lost connection');
  t.same([...new Set(told)].sort(), [...kinds].sort(), 'the other listeners are called all the same');
  await stop();
});

t.test('the stats period is set to the interval and put back on stop', async (t) => {
  const { host, coordinator, stop } = coordinate([idle('a'), idle('b')]);
  host.guest('b').setPeriod(5);
  await coordinator.start();
  await host.pass(3000);
  t.same(livePeriods(host), [1, 1]);
  await stop();
  t.same(livePeriods(host), [0, 5]);
});

t.test('the stats period follows the interval, between a second and five', async (t) => {
  for (const [intervalMs, period] of [
    [100, 1],
    [1000, 1],
    [2600, 3],
    [10_000, 5],
    [3_600_000, 5],
  ] as const) {
    const { host, coordinator, stop } = coordinate([idle('a')], { config: { ...defaultConfig(), intervalMs } });
    await coordinator.start();
    await host.pass(500);
    t.equal(host.guest('a').period, period, `every ${intervalMs} ms`);
    await stop();
  }
});

t.test('how much of virtio-mem is plugged is read anew', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('plain'), idle('vmem')] });
  const described = { plain: 0, vmem: 0 };
  const connect = withCalls(host, (real) => ({
    describe: async (uuid, options) => {
      const vmem = host.guest('vmem').uuid === uuid;
      described[vmem ? 'vmem' : 'plain']++;
      const facts = await real.describe(uuid, options);
      return vmem ? { ...facts, obstacles: ['virtio-mem'], deviceMemory: 8 * GiB, virtioMem: described.vmem * GiB } : facts;
    },
  }));
  const { coordinator } = coordinate([], { connect, time: host.time });
  await coordinator.start();
  await host.pass(95_000);
  t.same(described, { plain: 1, vmem: 4 });
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

/** A guest that works a little, as all do: of one whose figures never change nobody can say that it answers. */
const humming = (name: string, settings: Partial<GuestSpec> = {}) => idle(name, { uses: (at) => 150 * MiB + (at % 997), ...settings });

t.test('guests are known within 2 s, whatever the interval, at the start and after a lost connection', async (t) => {
  const { host, coordinator, stop } = coordinate([humming('a'), humming('b'), idle('mute', { driver: false })], {
    config: { ...defaultConfig(), intervalMs: 3_600_000 },
  });
  host.guest('b').setPeriod(5);
  const phases = () => coordinator.snapshot?.guests.map(({ phase }) => phase);
  await coordinator.start();
  t.same(phases(), ['booting', 'booting', 'booting']);
  await host.pass(2000);
  t.same(phases(), ['steady', 'steady', 'booting']);
  host.setDaemon('down');
  await host.pass(100);
  host.setDaemon('up');
  await host.pass(1000);
  t.same(phases(), ['booting', 'booting', 'booting'], 'after a loss nothing is believed');
  await host.pass(2500);
  t.same(phases(), ['steady', 'steady', 'booting']);
  await stop();
});

t.test('becoming known takes two refreshes of fifty guests at most, and none of the sampling budget; in a dry run none', async (t) => {
  for (const dryRun of [false, true]) {
    const host = new SimHost({ total: 99 * GiB, guests: Array.from({ length: 60 }, (_, i) => humming(`g${i}`)) });
    for (const guest of host.guests) guest.setPeriod(1);
    const refreshed: number[] = [];
    const connect = withCalls(host, (real) => ({
      sample: async (options) => {
        if ((options.refresh ?? []).length > 0) refreshed.push(options.refresh?.length ?? 0);
        return real.sample(options);
      },
    }));
    const config = { ...defaultConfig(), samplingBudget: 0, intervalMs: 60_000 };
    const { coordinator } = coordinate([], { connect, time: host.time, dryRun, config });
    await coordinator.start();
    await host.pass(10_000);
    t.same(refreshed, dryRun ? [] : [50, 50]);
    const stopped = coordinator.stop();
    await host.pass(5000);
    await stopped;
  }
});

t.test('a guest that is started meanwhile is reported to the policy once, those that were there before are not', async (t) => {
  const { host, coordinator, stop } = coordinate([idle('before')]);
  const started: string[][] = [];
  coordinator.on('record', (record) => started.push(record.started as string[]));
  await coordinator.start();
  await host.pass(3000);
  t.same(started.flat(), []);
  host.start(idle('new'));
  await host.pass(3000);
  t.same(started.flat(), [host.guest('new').uuid]);
  await stop();
});

t.test('the start of a guest that no sweep has yet is reported with the one that has it', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [] });
  let hidden = true;
  const connect = withCalls(host, (real) => ({
    sample: async (options) => (hidden ? { guests: [], figures: new Float64Array(0) } : real.sample(options)),
  }));
  const { coordinator } = coordinate([], { connect, time: host.time });
  const started: string[][] = [];
  coordinator.on('record', (record) => started.push(record.started as string[]));
  await coordinator.start();
  host.start(idle('slow'));
  await host.pass(3000);
  t.same(started.flat(), []);
  hidden = false;
  await host.pass(3000);
  t.same(started.flat(), [host.guest('slow').uuid]);
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

t.test('the host is read before and after its guests, and the less is believed', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a')] });
  const plain = { total: 23 * GiB, arcMinimum: GiB, hugePages: 0, pressure: false };
  const readings = [
    { ...plain, available: 9 * GiB, arc: 2 * GiB, cgroupRoom: null },
    { ...plain, available: 10 * GiB, arc: GiB, cgroupRoom: 4 * GiB },
    { ...plain, available: 10 * GiB, arc: GiB, cgroupRoom: 3 * GiB },
    { ...plain, available: 8 * GiB, arc: 2 * GiB, cgroupRoom: 5 * GiB },
  ];
  const order: string[] = [];
  const connect = withCalls(host, (real) => ({
    hostMemory: async () => {
      order.push('host');
      return readings[(order.filter((what) => what === 'host').length - 1) % 4] as HostMemory;
    },
    sample: async (options) => {
      const sweep = await real.sample(options);
      order.push('guests');
      return sweep;
    },
  }));
  const { coordinator } = coordinate([], { connect, time: host.time });
  const believed: unknown[] = [];
  coordinator.on('record', (record) => believed.push(record.host));
  await coordinator.start();
  await host.pass(300);
  t.same(order.slice(0, 6), ['host', 'guests', 'host', 'host', 'guests', 'host']);
  t.match(believed.slice(0, 2), [
    { available: 9 * GiB, arc: GiB, cgroupRoom: 4 * GiB },
    { available: 8 * GiB, arc: GiB, cgroupRoom: 3 * GiB },
  ]);
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

t.test('activity checks are paid by virtual CPU: with too many none are made', async (t) => {
  for (const [vcpus, made] of [
    [64, true],
    [50_000, false],
  ] as const) {
    const host = new SimHost({ total: 23 * GiB, guests: [idle('a'), idle('b')] });
    let checks = 0;
    const connect = withCalls(host, (real) => ({
      vcpuCount: () => vcpus,
      cpuTimes: (guests) => {
        checks++;
        return real.cpuTimes(guests);
      },
    }));
    const { coordinator } = coordinate([], { connect, time: host.time });
    await coordinator.start();
    await host.pass(5000);
    t.equal(checks > 0, made, `${vcpus} virtual CPUs`);
    const stopped = coordinator.stop();
    await host.pass(5000);
    await stopped;
  }
});

/** What a coordinator asks for whenever it samples, under a policy that wants the disk reads of all guests that it knows. */
async function watching(t: Test, { uses = 150 * MiB, ...options }: Partial<CoordinatorOptions> & { uses?: number }) {
  const toWatch = ({ guests }: Model) => guests.map(({ uuid }) => uuid);
  const made = await t.mockImport<{ Coordinator: typeof Coordinator }>('../../lib/coordinator/coordinator.js', {
    '../../lib/policy/demand.js': { ...demand, toWatch },
  });
  const names = ['a', 'b', 'c', 'd'];
  const host = new SimHost({ total: 23 * GiB, guests: names.map((name) => idle(name, { uses: () => uses })) });
  const samples: { at: number; only?: readonly string[]; reads?: readonly string[] }[] = [];
  const connect = withCalls(host, (real) => ({
    sample: async (asked) => {
      samples.push({ at: host.time.now(), ...asked });
      return real.sample(asked);
    },
  }));
  const coordinator = new made.Coordinator({ connect, config: { ...defaultConfig(), pool: 8 * GiB }, time: host.time, ...options });
  await coordinator.start();
  await host.pass(10_000);
  const stopped = coordinator.stop();
  await host.pass(60_000);
  await stopped;
  return { uuids: host.guests.map(({ uuid }) => uuid), samples };
}

t.test('disk reads are asked for of the guests that the policy names, as far as they are sampled', async (t) => {
  const { uuids, samples } = await watching(t, { uses: 450 * MiB });
  const [first, ...sweeps] = samples.filter(({ only }) => only === undefined);
  t.same(first?.reads, [], 'nobody is known');
  t.ok(sweeps.length >= 10 && sweeps.every(({ reads }) => reads?.join() === uuids.join()), 'all at a sweep');
  const extra = samples.filter(({ only }) => only !== undefined);
  t.ok(extra.length > 0 && extra.every(({ only, reads }) => reads?.toSorted().join() === only?.toSorted().join()), 'and of those at risk');
});

t.test('disk reads take a quarter of the sampling budget at most, in a dry run as well', async (t) => {
  for (const dryRun of [true, false]) {
    const config = { ...defaultConfig(), samplingBudget: 0.008 };
    const { samples } = await watching(t, { config, dryRun });
    const asked = samples.reduce((sum, { reads }) => sum + (reads?.length ?? 0), 0);
    const seconds = ((samples.at(-1)?.at ?? 0) - (samples[0]?.at ?? 0)) / 1000;
    const most = (1000 + seconds * 1000) * config.samplingBudget;
    t.ok(asked * WATCH_COST <= most && asked > most / 8, `${asked} in ${seconds} s`);
  }
  const { samples } = await watching(t, { config: { ...defaultConfig(), samplingBudget: 0 } });
  t.ok(samples.every(({ reads }) => reads?.length === 0));
});

/** A state that is kept in memory: what one coordinator leaves behind is there for the next. */
function kept(left: SavedGuests = new Map()): State & { guests: SavedGuests; asleep: SavedGuests; saves: number } {
  const state = {
    guests: left,
    asleep: new Map() as SavedGuests,
    saves: 0,
    keep: async (guests: SavedGuests) => {
      state.asleep = guests;
    },
    load: async () => state.guests,
    save: async (guests: SavedGuests) => {
      state.guests = guests;
      state.saves++;
    },
  };
  return state;
}

/** The stats periods that are kept. */
const periods = ({ guests }: { guests: SavedGuests }) => [...guests.values()].flatMap(({ period }) => (period === null ? [] : [period]));

/** A coordinator with these can be killed: it does nothing more. */
function killable(host: SimHost, kept: State) {
  const killed = { yes: false };
  const state: State = {
    load: () => kept.load(),
    save: async (guests) => (killed.yes ? undefined : kept.save(guests)),
  };
  const connect = withCalls(host, (real) => ({
    sample: async (asked) => (killed.yes ? new Promise(() => {}) : real.sample(asked)),
    setMemory: async (...args) => (killed.yes ? new Promise(() => {}) : real.setMemory(...args)),
  }));
  return { killed, connect, state };
}

t.test('the stats period of before a crash is put back by the next coordinator, and then forgotten', async (t) => {
  const state = kept();
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a'), idle('b')] });
  host.guest('b').setPeriod(5);
  const options = { connect: host.connect, config: defaultConfig(), time: host.time, state };
  let crashed = false;
  const connect = withCalls(host, (real) => ({
    sample: async (asked) => (crashed ? new Promise(() => {}) : real.sample(asked)),
  }));
  await new Coordinator({ ...options, connect }).start();
  await host.pass(100);
  crashed = true;
  t.same(
    periods(state).map(({ original, set }) => [original, set]),
    [
      [0, 1],
      [5, 1],
    ],
  );
  host.guest('a').setPeriod(0);
  const next = new Coordinator(options);
  await next.start();
  await host.pass(3000);
  const stopped = next.stop();
  await host.pass(10_000);
  await stopped;
  t.same(livePeriods(host), [0, 5]);
  t.same(periods(state), []);
});

t.test('what was left behind says nothing of another start of the guest, or once somebody else has set the period', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('other'), idle('set')] });
  const [other, set] = host.guests;
  const state = kept(
    new Map([
      [other?.uuid ?? '', { id: 77, period: { original: 9, set: 1 }, balloon: null }],
      [set?.uuid ?? '', { id: set?.id ?? 0, period: { original: 9, set: 2 }, balloon: null }],
    ]),
  );
  other?.setPeriod(1);
  set?.setPeriod(5);
  const { coordinator } = coordinate([], { connect: host.connect, time: host.time, state });
  await coordinator.start();
  await host.pass(3000);
  const stopped = coordinator.stop();
  await host.pass(10_000);
  await stopped;
  t.same(livePeriods(host), [1, 5]);
});

/** A guest that libvirt saves; the result starts it again as it was: `restored`, or with the balloon and the period of its definition. */
function save(host: SimHost, name: string): (how: 'restored' | 'started') => void {
  const guest = host.guest(name);
  const { uuid } = guest;
  host.guests.splice(host.guests.indexOf(guest), 1);
  host.tell({ kind: 'saved', uuid, name });
  return (kind) => {
    guest.id += 100;
    if (kind === 'started') {
      guest.setPeriod(0);
      guest.actual = guest.target = guest.spec.current ?? guest.spec.maximum;
    }
    host.guests.push(guest);
    host.tell({ kind, uuid, name });
  };
}

t.test('what a guest had before is known again once libvirt has saved and restored it, and no longer once it has booted', async (t) => {
  for (const how of ['restored', 'started'] as const) {
    const state = kept();
    const { host, coordinator, stop } = coordinate([idle('a', { current: 1 * GiB }), idle('b')], { state });
    host.guest('a').setPeriod(7);
    await coordinator.start();
    await host.pass(30_000);
    const { uuid, actual } = host.guest('a');
    t.ok(actual < 0.5 * GiB, 'it has given');
    const wake = save(host, 'a');
    await host.pass(20_000);
    t.match(
      state.asleep.get(uuid),
      { asleep: true, balloon: { original: 1 * GiB, target: actual } },
      'a boot of the host does not lose it',
    );
    t.equal(state.asleep.size, 1);
    wake(how);
    await host.pass(30_000);
    await stop();
    t.equal(host.guest('a').period, how === 'restored' ? 7 : 0, 'its own stats period');
    const saved = state.guests.get(uuid)?.balloon;
    t.equal(saved?.original, 1 * GiB);
    t.notOk(state.guests.get(uuid)?.asleep);
  }
});

t.test('the same after a boot of the host, if the balloon is where it was', async (t) => {
  const asleep = kept();
  const first = coordinate([idle('a', { current: 1 * GiB }), idle('b')], { state: asleep });
  await first.coordinator.start();
  await first.host.pass(30_000);
  const { uuid, actual } = first.host.guest('a');
  await first.stop();
  t.same([...asleep.asleep.keys()].sort(), first.host.guests.map((guest) => guest.uuid).sort(), 'the host may go down and save them now');
  for (const current of [actual, 700 * MiB]) {
    const { host, coordinator, stop } = coordinate([idle('a', { current }), idle('b')], { state: kept(asleep.asleep) });
    t.equal(host.guest('a').uuid, uuid);
    host.guest('a').id = 50;
    await coordinator.start();
    await host.pass(10_000);
    const released = coordinator.release();
    await host.pass(60_000);
    const a = (await released).find(({ name }) => name === 'a');
    if (current === actual) t.equal(a?.original, 1 * GiB);
    else t.ok(Number.isNaN(a?.original) || a?.original === current, 'another balloon: nothing is believed');
    await stop();
  }
});

t.test('a guest that is saved before its event is heard, or listed once more after it, is remembered all the same', async (t) => {
  const state = kept();
  const { host, coordinator, stop } = coordinate([idle('a', { current: 1 * GiB }), idle('b', { current: 1 * GiB })], { state });
  await coordinator.start();
  await host.pass(30_000);
  const [a, b] = host.guests.map(({ uuid }) => uuid);
  // The event of `a` comes after the sweep that misses it, that of `b` before one that still lists it.
  host.guests.splice(0, 1);
  await host.pass(3000);
  host.tell({ kind: 'saved', uuid: a ?? '', name: 'a' });
  host.tell({ kind: 'saved', uuid: b ?? '', name: 'b' });
  await host.pass(3000);
  host.guests.splice(0, 1);
  await host.pass(3000);
  t.same(
    [...state.asleep].map(([uuid, saved]) => [uuid, saved.balloon?.original]),
    [
      [a, 1 * GiB],
      [b, 1 * GiB],
    ],
  );
  t.ok(state.guests.get(a ?? '')?.asleep && state.guests.get(b ?? '')?.asleep);
  await stop();
  t.equal(state.asleep.size, 2);
});

t.test('a period that could not be put back stays on record', async (t) => {
  const state = kept();
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a')] });
  let refuse = false;
  const connect = withCalls(host, (real) => ({
    setStatsPeriod: async (...args) => {
      if (refuse) throw new Error('the guest hangs');
      return real.setStatsPeriod(...args);
    },
  }));
  const { coordinator } = coordinate([], { connect, time: host.time, state });
  await coordinator.start();
  await host.pass(3000);
  refuse = true;
  const stopped = coordinator.stop();
  await host.pass(10_000);
  await stopped;
  t.equal(periods(state).length, 1);
});

t.test(
  "a guest's own stats period is noted once, not from a reading in the middle of a refresh; what somebody else sets is theirs",
  async (t) => {
    const state = kept();
    const { host, coordinator, stop } = coordinate([idle('own'), idle('theirs')], { state });
    host.guest('own').setPeriod(1);
    await coordinator.start();
    await host.pass(5000);
    t.match(state.guests.get(host.guest('own').uuid)?.period, { original: 1, set: 1 }, 'on disk, should we not live to put it back');
    host.guest('own').setPeriod(0);
    host.guest('theirs').setPeriod(7);
    for (const { uuid, spec } of host.guests) host.tell({ kind: 'deviceAdded', uuid, name: spec.name });
    await host.pass(3000);
    t.same(livePeriods(host), [1, 1]);
    await stop();
    t.same(livePeriods(host), [1, 7]);
    t.same(periods(state), []);
  },
);

t.test('where a refresh was refused the stats period is read, and set, anew', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a', { uses: (at) => (150 + Math.max(0, at / 1000 - 10) * 20) * MiB })] });
  let refusals = 0;
  const connect = withCalls(host, (real) => ({
    sample: async (options) => {
      const sweep = await real.sample({ ...options, refresh: [] });
      if ((options.refresh ?? []).length === 0 || refusals > 0) return sweep;
      refusals++;
      host.guest('a').setPeriod(0);
      sweep.figures[REFRESHED] = 38;
      return sweep;
    },
  }));
  const { coordinator } = coordinate([], { connect, time: host.time });
  await coordinator.start();
  await host.pass(20_000);
  t.equal(refusals, 1);
  t.equal(host.guest('a').period, 1);
  const stopped = coordinator.stop();
  await host.pass(10_000);
  await stopped;
  t.equal(host.guest('a').period, 0, 'and put back to what it was at first');
});

t.test('a dry run says what it would do, once, and changes nothing', async (t) => {
  const { host, coordinator, moves, notices, stop } = coordinate([idle('a'), idle('off')], { dryRun: true });
  host.guest('a').setPeriod(1);
  await coordinator.start();
  await host.pass(20_000);
  t.equal(moves.length, 1);
  t.match(moves[0], { name: 'a', applied: false, reason: 'give' });
  t.same(
    host.guests.map(({ actual, target, period }) => [actual, target, period]),
    [
      [512 * MiB, 512 * MiB, 1],
      [512 * MiB, 512 * MiB, 0],
    ],
  );
  t.ok(notices.some(({ guest, message }) => guest === 'off' && message.includes('virsh dommemstat off --period 1 --live')));
  await stop();
});

t.test('guests that are left out, or whose facts forbid it, are read and not moved', async (t) => {
  const { host, coordinator, moves, stop } = coordinate([idle('web1'), idle('db1'), idle('pinned')], {
    config: { ...defaultConfig(), pool: 8 * GiB, exclude: ['db*'] },
  });
  await coordinator.start();
  await host.pass(20_000);
  t.same([...new Set(moves.map(({ name }) => name))].sort(), ['pinned', 'web1']);
  const left = coordinator.snapshot?.guests.find(({ name }) => name === 'db1');
  t.match(left, { phase: 'excluded', why: /exclude/ });
  t.equal(host.guest('db1').period, 0, 'its stats period is not touched');
  await stop();
});

t.test('a move that libvirt refuses is reported with its error and is not believed', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a')] });
  const { coordinator, moves } = coordinate([], {
    time: host.time,
    connect: withCalls(host, () => ({
      setMemory: async (all) => all.map(() => Object.assign(new Error('refused'), { code: 'ERR_LIBVIRT_OPERATION_INVALID' })),
    })),
  });
  await coordinator.start();
  await host.pass(8000);
  t.match(moves[0], { applied: false, error: { message: 'refused' } });
  t.equal(coordinator.snapshot?.guests[0]?.target, 512 * MiB);
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

t.test('a lost connection is reported once and made again, and coordination goes on', async (t) => {
  let up = true;
  let connects = 0;
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a')] });
  const lost: Error[] = [];
  const { coordinator, moves } = coordinate([], {
    time: host.time,
    connect: async () => {
      if (!up) throw new Error('refused');
      connects++;
      return withCalls(host, (real) => ({
        sample: async (options) => (up ? real.sample(options) : Promise.reject(new Error('gone'))),
        isAlive: () => up,
      }))();
    },
  });
  coordinator.on('lost', (error) => lost.push(error));
  await coordinator.start();
  await host.pass(2500);
  up = false;
  await host.pass(60_000);
  t.equal(lost.length, 1);
  const before = moves.length;
  up = true;
  await host.pass(60_000);
  t.equal(connects, 2);
  t.ok(moves.length > before);
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

t.test('another configuration is taken from the next sample on', async (t) => {
  const { host, coordinator, stop } = coordinate([idle('a')]);
  await coordinator.start();
  await host.pass(20_000);
  t.ok(host.guest('a').actual < 300 * MiB);
  coordinator.reconfigure({ ...defaultConfig(), guests: [{ match: 'a', settings: { min: 700 * MiB } }] });
  await host.pass(5000);
  t.equal(host.guest('a').actual, 700 * MiB);
  await stop();
});

t.test('readOnce shows what a coordinator would think, and changes nothing', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a'), idle('silent', { driver: false })] });
  host.guest('a').setPeriod(1);
  await host.pass(2500);
  const { guests, host: figures } = await readOnce(await host.connect(), defaultConfig(), host.time);
  t.match(guests[0], { name: 'a', phase: 'steady', actual: 512 * MiB, used: 150 * MiB, spare: 362 * MiB });
  t.ok((guests[0]?.survivableBurst ?? 0) > 0);
  t.match(guests[1], { name: 'silent', phase: 'booting', why: /stats period is 0/ });
  t.equal(figures.total, 23 * GiB);
  t.same(livePeriods(host), [1, 0]);
});

t.test('a recording holds everything that a plan was made from', async (t) => {
  const { host, coordinator, stop } = coordinate([idle('a')]);
  const records: Readonly<Record<string, unknown>>[] = [];
  coordinator.on('record', (record) => records.push(record));
  await coordinator.start();
  await host.pass(5000);
  t.match(records.at(-1), { at: Number, host: Object, guests: [{ name: 'a' }], figures: Array, contexts: Object, moves: Array });
  await stop();
});

const deadline = () => Object.assign(new Error('no answer in time'), { code: 'ERR_MEMCOORD_DEADLINE' });

t.test('a guest whose stats period cannot be set does not hold up the samples of the others', async (t) => {
  const host = new SimHost({
    total: 23 * GiB,
    guests: [idle('hangs'), idle('eats', { uses: (at) => (150 + Math.min(1500, Math.max(0, at / 1000 - 20) * 100)) * MiB })],
  });
  const hung = host.guest('hangs').uuid;
  const { coordinator } = coordinate([], {
    time: host.time,
    connect: withCalls(host, (real) => ({
      setStatsPeriod: async (uuid, seconds, options) => {
        if (uuid !== hung) return real.setStatsPeriod(uuid, seconds, options);
        await host.time.sleep(2000).done;
        throw deadline();
      },
    })),
  });
  let samples = 0;
  coordinator.on('sample', () => samples++);
  const started = coordinator.start();
  await host.pass(60_000);
  await started;
  t.ok(samples > 70, `${samples} samples in 60 s`);
  t.equal(host.guest('eats').kills, 0);
  const stopped = coordinator.stop();
  await host.pass(10_000);
  await stopped;
});

t.test('a period call that timed out but took effect is put back all the same', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a')] });
  host.guest('a').setPeriod(7);
  let calls = 0;
  const { coordinator } = coordinate([], {
    time: host.time,
    connect: withCalls(host, (real) => ({
      setStatsPeriod: async (uuid, seconds, options) => {
        await real.setStatsPeriod(uuid, seconds, options);
        if (calls++ === 0) throw deadline();
      },
    })),
  });
  await coordinator.start();
  await host.pass(10_000);
  t.equal(host.guest('a').period, 1);
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
  t.equal(host.guest('a').period, 7);
});

t.test('what a guest is forbidden stays forbidden while libvirt does not describe it', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('left', { current: GiB })] });
  let described = 0;
  const { coordinator, moves } = coordinate([], {
    time: host.time,
    connect: withCalls(host, (real) => ({
      describe: async (uuid, options) => {
        if (described++ > 0) throw deadline();
        return { ...(await real.describe(uuid, options)), metadata: '<memcoord xmlns="urn:memcoord:domain:1" manage="no"/>' };
      },
    })),
  });
  host.guest('left').setPeriod(1);
  await coordinator.start();
  await host.pass(5000);
  host.tell({ kind: 'deviceAdded', uuid: host.guest('left').uuid, name: 'left' });
  await host.pass(20_000);
  t.ok(described > 2, 'it is asked for again');
  t.same(moves, []);
  t.equal(coordinator.snapshot?.guests[0]?.phase, 'excluded');
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

t.test('a device that is plugged into one guest has that guest described anew, and no other', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: ['a', 'b', 'c'].map((name) => idle(name)) });
  const described: string[] = [];
  const { coordinator, stop } = coordinate([], {
    time: host.time,
    connect: withCalls(host, (real) => ({
      describe: async (uuid, options) => {
        described.push(uuid);
        return real.describe(uuid, options);
      },
    })),
  });
  await coordinator.start();
  await host.pass(5000);
  const before = described.length;
  const { uuid } = host.guest('b');
  host.tell({ kind: 'deviceAdded', uuid, name: 'b' });
  await host.pass(5000);
  t.same(described.slice(before), [uuid]);
  const stopped = stop();
  await host.pass(5000);
  await stopped;
});

t.test('a guest that libvirt has never described is not charged and not moved', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('dark')] });
  host.guest('dark').setPeriod(1);
  const { coordinator, moves } = coordinate([], {
    time: host.time,
    connect: withCalls(host, () => ({ describe: () => Promise.reject(deadline()) })),
  });
  await coordinator.start();
  await host.pass(20_000);
  t.same(moves, []);
  t.match(coordinator.snapshot, {
    host: { charged: 0, uncontrolled: host.guest('dark').rss },
    guests: [{ phase: 'booting', why: /not described/ }],
  });
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

t.test('a configuration that comes while a guest is being set up is not lost', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a')] });
  const { coordinator } = coordinate([], {
    time: host.time,
    connect: withCalls(host, (real) => ({
      describe: async (uuid, options) => {
        await host.time.sleep(50).done;
        return real.describe(uuid, options);
      },
    })),
  });
  const started = coordinator.start();
  await host.pass(20);
  coordinator.reconfigure({ ...defaultConfig(), guests: [{ match: 'a', settings: { min: 700 * MiB } }] });
  await host.pass(20_000);
  await started;
  t.equal(coordinator.snapshot?.guests[0]?.floor, 700 * MiB);
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

t.test('stop during the first sample waits for it and leaves everything as it was', async (t) => {
  const { host, coordinator } = coordinate([idle('a')]);
  host.guest('a').setPeriod(7);
  const started = coordinator.start();
  const stopped = coordinator.stop();
  await host.pass(5000);
  await Promise.all([started, stopped]);
  t.equal(host.guest('a').period, 7);
});

t.test('a storm of events is no storm of sweeps', async (t) => {
  const { host, coordinator, stop } = coordinate([idle('a')]);
  let samples = 0;
  coordinator.on('sample', () => samples++);
  await coordinator.start();
  for (let i = 0; i < 300; i++) {
    host.tell({ kind: 'resumed', uuid: host.guest('a').uuid, name: 'a' });
    await host.pass(10);
  }
  t.ok(samples <= 40, `${samples} samples in 3 s`);
  await stop();
});

t.test('a daemon that hung for a moment and kept the connection is reported when it goes, and when it is back', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a')] });
  let hangs = false;
  const { coordinator } = coordinate([], {
    time: host.time,
    connect: withCalls(host, (real) => ({ sample: async (options) => (hangs ? Promise.reject(deadline()) : real.sample(options)) })),
  });
  const reported: string[] = [];
  coordinator.on('lost', () => reported.push('lost'));
  coordinator.on('connected', () => reported.push('connected'));
  await coordinator.start();
  await host.pass(2000);
  hangs = true;
  await host.pass(3000);
  hangs = false;
  await host.pass(10_000);
  t.same(reported, ['connected', 'lost', 'connected']);
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

t.test('one answer that is late is no loss, but another error is, and so is a second late one', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a')] });
  const failures: Error[] = [];
  const { coordinator } = coordinate([], {
    time: host.time,
    connect: withCalls(host, (real) => ({
      sample: async (options) => {
        const failure = failures.shift();
        return failure === undefined ? real.sample(options) : Promise.reject(failure);
      },
    })),
  });
  const reported: string[] = [];
  coordinator.on('lost', () => reported.push('lost'));
  await coordinator.start();
  await host.pass(2000);
  for (const [expected, ...next] of [
    [0, deadline()],
    [1, new Error('denied')],
    [1, deadline(), deadline()],
  ] as const) {
    failures.push(...next);
    reported.length = 0;
    await host.pass(10_000);
    t.equal(failures.length, 0);
    t.equal(reported.length, expected, next.join());
  }
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

t.test('a snapshot is made once a sample, and only when somebody asks for it', async (t) => {
  const { host, coordinator, stop } = coordinate([idle('a')]);
  t.equal(coordinator.snapshot, null, 'none before the first sample');
  await coordinator.start();
  const first = coordinator.snapshot;
  t.equal(coordinator.snapshot, first);
  await host.pass(5000);
  t.not(coordinator.snapshot, first);
  await stop();
});

/** Uses so much, MiB. */
const uses = (mib: number) => ({ uses: () => mib * MiB });

/** Takes what it was given, and frees it again: since then all of that counts as free. */
const usesNow = (mib: number) => ({ uses: (at: number) => (mib + (at > 20_000 && at < 40_000 ? 80 : 0)) * MiB });

/** A floor that 'slow' has not, so that it is made to grow. */
const SLOW_GROWS = { guests: [{ match: 'slow', settings: { min: 900 * MiB } }] };

t.test('a growth that a killed coordinator has ordered is counted by the next, and what the guests had is still known', async (t) => {
  const state = kept();
  const host = new SimHost({ total: 23 * GiB, guests: [idle('fat', { current: 1500 * MiB }), idle('slow', { speed: 20 * MiB })] });
  const { killed, ...mortal } = killable(host, state);
  const options = { config: { ...defaultConfig(), ...SLOW_GROWS }, time: host.time, state };
  await new Coordinator({ ...options, ...mortal }).start();
  await host.pass(6000);
  killed.yes = true;
  const { actual, target } = host.guest('slow');
  t.ok(target === 900 * MiB && actual < 700 * MiB, 'the growth is under way');
  t.match(state.guests.get(host.guest('fat').uuid)?.balloon, { original: 1500 * MiB });
  const next = new Coordinator({ ...options, connect: host.connect });
  const notices: Notice[] = [];
  next.on('notice', (notice) => notices.push(notice));
  await next.start();
  t.equal(next.snapshot?.guests.find(({ name }) => name === 'slow')?.target, target);
  await host.pass(30_000);
  t.same(
    notices.filter(({ kind }) => kind === 'adopted' || kind === 'stuck'),
    [],
  );
  t.equal(host.guest('slow').actual, 900 * MiB);
  const stopped = next.stop();
  await host.pass(10_000);
  await stopped;
  t.match(state.guests.get(host.guest('fat').uuid)?.balloon, { original: 1500 * MiB }, 'two coordinators later');
  t.match(state.guests.get(host.guest('slow').uuid)?.balloon, { original: 512 * MiB });
});

t.test('a growth under way is also counted after a lost connection', async (t) => {
  let up = true;
  const host = new SimHost({ total: 23 * GiB, guests: [idle('slow', { speed: 20 * MiB })] });
  const { coordinator } = coordinate([], {
    time: host.time,
    config: { ...defaultConfig(), ...SLOW_GROWS },
    connect: withCalls(host, (real) => ({
      sample: async (options) => (up ? real.sample(options) : Promise.reject(new Error('gone'))),
      isAlive: () => up,
    })),
  });
  const seen: unknown[] = [];
  coordinator.on('sample', ({ guests }) => seen.push(guests[0]));
  coordinator.on('connected', () => seen.splice(0));
  await coordinator.start();
  await host.pass(6000);
  up = false;
  await host.pass(1500);
  up = true;
  const { actual } = host.guest('slow');
  t.ok(actual > 512 * MiB && actual < 800 * MiB, `${Math.round(actual / MiB)} MiB`);
  await host.pass(8000);
  t.match(seen[0], { phase: 'booting', target: 900 * MiB }, 'nothing else is believed');
  const stopped = coordinator.stop();
  await host.pass(10_000);
  await stopped;
});

t.test('what is believed is noted once a second at most, and on stop at once', async (t) => {
  const state = kept();
  const host = new SimHost({
    total: 23 * GiB,
    guests: [idle('eats', { uses: (at) => (150 + Math.max(0, at / 1000 - 5) * 40) * MiB })],
  });
  const { coordinator, moves } = coordinate([], { connect: host.connect, time: host.time, state });
  coordinator.on('move', (move) => moves.push(move));
  await coordinator.start();
  await host.pass(5000);
  const before = state.saves;
  await host.pass(20_000);
  t.ok(moves.length > 20, `${moves.length} moves`);
  t.ok(state.saves - before <= 21, `${state.saves - before} saves`);
  const stopped = coordinator.stop();
  await host.pass(2000);
  await stopped;
  const { saves } = state;
  t.equal(state.guests.get(host.guest('eats').uuid)?.balloon?.target, host.guest('eats').target);
  await host.pass(5000);
  t.equal(state.saves, saves, 'and nothing after it');
});

t.test('a dry run reads what was left behind and writes nothing', async (t) => {
  const state = kept();
  const { host, coordinator, stop } = coordinate([idle('a')], { dryRun: true, state });
  host.guest('a').setPeriod(1);
  await coordinator.start();
  await host.pass(10_000);
  await stop();
  t.equal(state.saves, 0);
});

t.test('stopping keeps the sizes that guests have, and those that they had are remembered', async (t) => {
  const state = kept();
  const { host, coordinator, stop } = coordinate([idle('fat', { current: 1500 * MiB })], { state });
  await coordinator.start();
  await host.pass(60_000);
  const { target } = host.guest('fat');
  t.ok(target < 600 * MiB);
  await stop();
  t.equal(host.guest('fat').target, target);
  t.match(state.guests.get(host.guest('fat').uuid), { period: null, balloon: { original: 1500 * MiB } });
});

t.test('stopping relieves the guest that is under pressure, out of what is free', async (t) => {
  let usesNow = 150 * MiB;
  const { host, coordinator, moves, stop } = coordinate([idle('a', { uses: () => usesNow })]);
  await coordinator.start();
  await host.pass(20_000);
  const { target } = host.guest('a');
  usesNow = target - 10 * MiB;
  host.guest('a').answer();
  await stop();
  t.equal(moves.at(-1)?.reason, 'relief');
  t.ok(host.guest('a').target > target + 50 * MiB);
});

t.test('on-exit restore gives every guest what it had, donors first, and says what it could not give', async (t) => {
  const state = kept();
  const notices: Notice[] = [];
  const guests = [idle('fat', { current: 1500 * MiB }), idle('grew', uses(900)), idle('lean', { ...usesNow(480), current: 500 * MiB })];
  const host = new SimHost({ total: 23 * GiB, guests });
  const config = { ...defaultConfig(), pool: 2300 * MiB, onExit: 'restore' as const };
  const coordinator = new Coordinator({ connect: host.connect, config, time: host.time, state });
  coordinator.on('notice', (notice) => notices.push(notice));
  host.guest('grew').actual = host.guest('grew').target = 1000 * MiB;
  await coordinator.start();
  await host.pass(60_000);
  t.ok(host.guest('lean').target > 520 * MiB);
  const stopped = coordinator.stop();
  await host.pass(70_000);
  await stopped;
  const now = Object.fromEntries(host.guests.map(({ spec, actual }) => [spec.name, Math.round(actual / MiB)]));
  t.equal(now.fat, 1500, 'the pool came with memcoord: it does not hold it back');
  t.equal(now.grew, 1000);
  t.equal(now.lean, 528, 'what it uses and 48 MiB, not the 500 MiB of before');
  t.match(
    notices.filter(({ kind }) => kind === 'not-restored').map(({ message }) => message),
    [/^lean is left with 528MiB, not the 500MiB of before: it uses 480MiB, and keeps some spare$/],
  );
  t.same([...state.guests.keys()], [host.guest('lean').uuid], 'only what is still owed is remembered');
  t.same(
    host.guests.map(({ kills, period }) => [kills, period]),
    [
      [0, 0],
      [0, 0],
      [0, 0],
    ],
  );
});

t.test('release grants no more at once than the host can spare above its reserve, and says what it could not give', async (t) => {
  const state = kept();
  const guests = [idle('one', { current: 1800 * MiB }), idle('two', { current: 1800 * MiB })];
  const host = new SimHost({ total: 4 * GiB, guests });
  const options = { connect: host.connect, config: defaultConfig(), time: host.time, state };
  const first = new Coordinator(options);
  await first.start();
  await host.pass(60_000);
  host.start(idle('new', { ...uses(1900), current: 2 * GiB }));
  await host.pass(10_000);
  const stopped = first.stop();
  await host.pass(10_000);
  await stopped;
  const next = new Coordinator({ ...options, config: { ...defaultConfig(), reserve: 600 * MiB } });
  const started = next.start();
  await host.pass(3000);
  await started;
  const charged = () => host.guests.reduce((sum, { actual, target }) => sum + Math.max(actual, target), 0);
  const before = charged();
  const { room = 0, liability = 0 } = next.snapshot?.host ?? {};
  const released = next.release();
  const asked = host.now;
  let most = 0;
  host.onStep = () => {
    if (host.now - asked < GRANT_SHOWS / 2) most = Math.max(most, charged());
  };
  await host.pass(70_000);
  const fates = new Map((await released).map((fate) => [fate.name, fate]));
  const given = most - before;
  t.ok(given > 0 && given <= room + liability, `${Math.round(given / MiB)} MiB of ${Math.round((room + liability) / MiB)}`);
  const short = [...fates.values()].filter(({ why }) => why !== null && why !== 'memcoord has not changed its size, as far as it knows');
  t.ok(short.length > 0);
  for (const { why } of short) t.match(why, /^the host can spare no more: \d+MiB above its reserve of 600MiB$/);
  t.match(fates.get('new'), { original: Number.NaN, why: 'memcoord has not changed its size, as far as it knows' });
});

t.test('release gives back what a silent guest had, and does not wait for one that hangs', async (t) => {
  const state = kept();
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a', { current: 1500 * MiB }), idle('hangs', { current: 1500 * MiB })] });
  let hangs = false;
  const connect = withCalls(host, (real) => ({
    sample: async (options) => {
      const sweep = await real.sample(options);
      if (hangs) sweep.figures.fill(Number.NaN, STRIDE).fill(MISSED, STRIDE + STATUS, STRIDE + STATUS + 1);
      return sweep;
    },
  }));
  const { coordinator } = coordinate([], { connect, time: host.time, state });
  await coordinator.start();
  await host.pass(30_000);
  hangs = true;
  await host.pass(3000);
  const released = coordinator.release();
  const asked = host.now;
  let over = Number.NaN;
  void released.then(() => {
    over = host.now;
  });
  await host.pass(70_000);
  const [a, hung] = await released;
  t.match(a, { size: 1500 * MiB, why: null });
  t.ok(hung?.why);
  t.ok(over - asked < 20_000, `${over - asked} ms`);
});

t.test('release ends within its time, and says of which guest the balloon did not follow', async (t) => {
  const host = new SimHost({
    total: 23 * GiB,
    guests: [idle('stuck', { limit: 800 * MiB, current: 400 * MiB }), idle('slow', { speed: MiB }), idle('well', { current: 1500 * MiB })],
  });
  const guests = [...SLOW_GROWS.guests, { match: 'stuck', settings: { min: 900 * MiB } }];
  const { coordinator } = coordinate([], { connect: host.connect, time: host.time, config: { ...defaultConfig(), guests } });
  await coordinator.start();
  await host.pass(20_000);
  host.guest('slow').actual = host.guest('slow').target;
  await host.pass(40_000);
  const released = coordinator.release();
  const asked = host.now;
  let over = Number.NaN;
  void released.then(() => {
    over = host.now;
  });
  await host.pass(90_000);
  t.ok(over - asked < 65_000, `${over - asked} ms`);
  t.match(await released, [
    { name: 'stuck', original: 400 * MiB, why: /^does not give memory/ },
    { name: 'slow', why: /^does not give memory|^its balloon has not come/ },
    { name: 'well', size: 1500 * MiB, why: null },
  ]);
  const { actual, target } = host.guest('stuck');
  t.equal(actual, target, 'and nothing is asked of it any more that it cannot do');
});

t.test('a guest that lets go of its cache while it is squeezed does not keep release busy', async (t) => {
  const cache = (at: number) => (520 - Math.max(0, at / 1000 - 60)) * MiB;
  const { host, coordinator, moves } = coordinate(
    [idle('drifts', { current: 400 * MiB, uses: (at) => (at < 5000 ? 150 * MiB : cache(at)) })],
    {
      config: { ...defaultConfig(), guests: [{ match: 'drifts', settings: { min: 650 * MiB } }] },
    },
  );
  await coordinator.start();
  await host.pass(60_000);
  const released = coordinator.release();
  await host.pass(90_000);
  t.match(await released, [{ name: 'drifts', why: /^it uses 5\d\dMiB, and keeps some spare$/ }]);
  const restores = moves.filter(({ reason }) => reason === 'restore');
  t.ok(restores.length <= 5, `${restores.length} moves`);
});

t.test('a dry run of release says what would become of the guests and touches none', async (t) => {
  const state = kept();
  const host = new SimHost({
    total: 23 * GiB,
    guests: [idle('fat', { current: 1500 * MiB }), idle('grew', { ...usesNow(900), current: 950 * MiB })],
  });
  const options = { connect: host.connect, config: defaultConfig(), time: host.time, state };
  const first = new Coordinator(options);
  await first.start();
  await host.pass(60_000);
  const stopped = first.stop();
  await host.pass(5000);
  await stopped;
  const targets = host.guests.map(({ target }) => target);
  for (const guest of host.guests) guest.setPeriod(1);
  const dry = new Coordinator({ ...options, dryRun: true });
  await dry.start();
  const released = dry.release();
  await host.pass(20_000);
  t.match(await released, [
    { name: 'fat', size: 1500 * MiB, original: 1500 * MiB, why: null },
    { name: 'grew', size: 950 * MiB, original: 950 * MiB, why: null },
  ]);
  t.same(
    host.guests.map(({ target }) => target),
    targets,
  );
});

t.test('a guest that hangs is reported once when it is set aside, with what to do, and once when it answers again', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('hangs'), idle('well')] });
  let status = READ;
  const connect = withCalls(host, (real) => ({
    sample: async (options) => {
      const sweep = await real.sample(options);
      if (status !== READ) {
        sweep.figures.fill(Number.NaN, 0, STRIDE);
        sweep.figures[STATUS] = status;
      }
      return sweep;
    },
  }));
  const { coordinator, notices, moves } = coordinate([], { connect, time: host.time });
  await coordinator.start();
  await host.pass(3000);
  status = MISSED;
  await host.pass(900);
  status = READ;
  await host.pass(3000);
  const early = notices.length;
  const reported = () => notices.slice(early).filter(({ guest }) => guest === 'hangs');
  t.notOk(
    notices.some(({ kind }) => kind === 'set-aside'),
    'one that is late once does not hang',
  );
  status = MISSED;
  await host.pass(1500);
  const before = moves.length;
  status = SET_ASIDE;
  await host.pass(30_000);
  t.match(reported(), [{ kind: 'set-aside', level: 'warn', guest: 'hangs', message: /virsh domstate hangs/ }]);
  t.equal(reported().length, 1, 'that it is silent too is not reported');
  t.match(coordinator.snapshot?.guests[0], { phase: 'silent', why: 'does not answer' });
  const made = moves.slice(before).filter(({ name }) => name === 'hangs');
  t.ok(made.length <= 1 && made.every(({ reason }) => reason === 'silent'), 'only a shrink under way is taken back');
  status = READ;
  await host.pass(5000);
  t.same(
    reported().map(({ kind }) => kind),
    ['set-aside', 'answers-again'],
  );
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

t.test('less available than the reserve is reported once, with what to do, and once when it is over', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a')] });
  let available = 20 * GiB;
  const connect = withCalls(host, (real) => ({ hostMemory: async () => ({ ...(await real.hostMemory()), available }) }));
  const { coordinator, notices } = coordinate([], { connect, time: host.time, config: { ...defaultConfig(), reserve: GiB } });
  await coordinator.start();
  await host.pass(3000);
  for (const mib of [1000, 1030, 1000, 1100, 2000, 2000]) {
    available = mib * MiB;
    await host.pass(2000);
  }
  t.match(
    notices.filter(({ kind }) => kind.startsWith('reserve')),
    [
      { kind: 'reserve-in-danger', level: 'warn', message: /1000MiB available, less than its reserve of 1GiB: .*ps aux/ },
      { kind: 'reserve-safe', level: 'info', message: /2000MiB available/ },
    ],
  );
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

t.test('connecting is tried for ever, ever more rarely, and reported once', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('a')] });
  let up = true;
  let tries = 0;
  const { coordinator } = coordinate([], {
    time: host.time,
    connect: async () => {
      tries++;
      if (!up) throw new Error('refused');
      return withCalls(host, (real) => ({
        sample: async (asked) => (up ? real.sample(asked) : Promise.reject(new Error('gone'))),
        isAlive: () => up,
      }))();
    },
  });
  const lost: Error[] = [];
  coordinator.on('lost', (error) => lost.push(error));
  await coordinator.start();
  await host.pass(2000);
  up = false;
  await host.pass(3_600_000);
  // A pause is some 15 s on average in the end.
  t.ok(tries > 150 && tries < 450, `${tries} tries in an hour`);
  t.equal(lost.length, 1);
  up = true;
  await host.pass(40_000);
  t.equal(coordinator.snapshot?.guests[0]?.phase, 'steady');
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
});

t.test('stopping while the daemon does not answer is bounded, takes nothing from the guests, and says what is left to do', async (t) => {
  const host = new SimHost({ total: 23 * GiB, guests: [idle('fat', { current: 1500 * MiB })] });
  let hangs = false;
  const connect = withCalls(host, (real) => ({ sample: async (options) => (hangs ? Promise.reject(deadline()) : real.sample(options)) }));
  const { coordinator, notices } = coordinate([], { connect, time: host.time, config: { ...defaultConfig(), onExit: 'restore' } });
  await coordinator.start();
  await host.pass(30_000);
  hangs = true;
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
  t.match(notices.at(-1), { kind: 'not-restored', message: /no answer in time; memcoord release/ });
});
