/** How long does a cycle take, and what does it cost? virsh, python, C and memcoord in turn, on the same guests. */
import { read, Virsh } from '../test/lab/observer.js';
import { run, sleep, until } from '../test/lab/shell.js';
import { Contender } from './contender.js';
import { compileFloor } from './floor.js';
import { cpuExact } from './process.js';
import type { Answer, Bars, Bench, Host, HostName, Question, Ratio, Table } from './question.js';
import { quantile } from './statistics.js';

/** What one contender took. ms. */
interface Times {
  readonly name: string;
  /** Of each cycle. */
  readonly wall: readonly number[];
  /** Of a cycle, on average: of the contender with its children, and of libvirt's daemon. */
  readonly cpu: number;
  readonly daemonCpu: number;
}

interface Cycles {
  readonly read: readonly Times[];
  /** Read and set; empty where guests are not real and have nothing to move. */
  readonly set: readonly Times[];
}

/** What a cycle that sets memory takes every guest from, and sets it to, KiB: every contender makes the same moves, each time. */
const [FROM, TO] = [512 * 1024, 508 * 1024];
/** After each cycle, ms: what it has set off in libvirt's daemon, and in the guests where it set them, is to be over before the next. */
const PAUSE_MS = { read: 20, set: 60 };

const LOOP = 'virsh loop';
const FLOOR = 'floor, 4 threads';
const SWEEP = 'memcoord sweep';
const CYCLE = 'memcoord cycle';

async function commands({ uri, lab }: Host): Promise<{ readonly name: string; readonly command: readonly string[] }[]> {
  const memcoord = '.lab/js/bench/contenders/memcoord.js';
  const floor = await compileFloor();
  return [
    { name: LOOP, command: ['bench/contenders/virsh-loop.sh', uri] },
    // The test driver answers the bulk call without any figures of the balloon.
    ...(lab === null ? [] : [{ name: 'virsh bulk', command: ['bench/contenders/virsh-bulk.sh', uri] }]),
    { name: 'python', command: ['bench/contenders/python.py', uri] },
    { name: 'floor, 1 thread', command: [floor, uri, '1'] },
    { name: FLOOR, command: [floor, uri, '4'] },
    { name: SWEEP, command: [process.execPath, memcoord, uri, 'sweep'] },
    { name: CYCLE, command: [process.execPath, memcoord, uri, 'cycle'] },
  ];
}

/** Brings the guests to where every cycle begins, and sees that it took them to where it should. */
class Moves {
  readonly #virsh: Virsh;
  readonly #guests: readonly string[];

  constructor(virsh: Virsh, guests: readonly string[]) {
    this.#virsh = virsh;
    this.#guests = guests;
  }

  async begin(): Promise<void> {
    await this.#virsh.ask(this.#guests.map((guest) => `setmem ${guest} ${FROM} --live`));
    await this.#arrive('the balloons to be back where a cycle begins', FROM);
  }

  /** @throws LabError where the contender did not make its moves. */
  async check(contender: string): Promise<void> {
    await this.#arrive(`the balloons to be where ${contender} should have taken them`, TO);
  }

  async #arrive(what: string, size: number): Promise<void> {
    await until(what, 10_000, 10, async () => {
      const { actual } = await read(this.#virsh, this.#guests, () => 0);
      return actual.every((each) => each === size) ? true : undefined;
    });
  }
}

/** Time for all contenders together in a race, s. */
const SECONDS = { quick: 10, normal: 25, full: 120 };
/** Cycles of the shell loop over 1,000 guests, which take through as many processes as there are guests, quarter of a minute each. */
const LONG_CYCLES = { quick: 0, normal: 2, full: 5 };

/** All contenders in turn, a cycle each, round after round: whatever drifts, drifts for all. The first round warms up and does not count. */
async function race(contenders: readonly Contender[], { host, mode, signal }: Bench, moves: Moves | null): Promise<Times[]> {
  const all = contenders.map(({ name }) => ({ name, wall: [] as number[], cpuBefore: 0, cpuAfter: 0, daemon: 0 }));
  const isLong = (name: string): boolean => name === LOOP && host.name === 'test1000';
  let left = SECONDS[mode] * 1000;
  for (let round = 0; left > 0 || round < 4; round++) {
    for (const [i, contender] of contenders.entries()) {
      signal.throwIfAborted();
      const times = all[i];
      const long = isLong(contender.name);
      if (times === undefined || (long && (round === 0 || round > LONG_CYCLES[mode]))) continue;
      await moves?.begin();
      const before = await cpuExact(host.daemon);
      const startedAt = performance.now();
      const { wall, cpuSoFar } = await contender.cycle(moves === null ? null : TO);
      await sleep(moves === null ? PAUSE_MS.read : PAUSE_MS.set);
      const daemon = (await cpuExact(host.daemon)) - before;
      await moves?.check(contender.name);
      times.cpuAfter = cpuSoFar;
      if (round === 0) {
        times.cpuBefore = cpuSoFar;
        continue;
      }
      if (!long) left -= performance.now() - startedAt;
      times.wall.push(wall);
      times.daemon += daemon;
    }
  }
  return all.map(({ name, wall, cpuBefore, cpuAfter, daemon }) => ({
    name,
    wall,
    cpu: (cpuAfter - cpuBefore) / wall.length,
    daemonCpu: daemon / wall.length,
  }));
}

async function measure(bench: Bench): Promise<Cycles> {
  const { host, signal, say } = bench;
  const periods = async (seconds: number): Promise<void> => {
    if (host.lab === null) return;
    for (const guest of host.guests) await run('virsh', ['-q', '-c', host.uri, 'dommemstat', guest, '--period', String(seconds), '--live']);
  };
  const contenders: Contender[] = [];
  const virsh = new Virsh(host.uri);
  // As under a coordinator: the guests send figures once a second.
  await periods(1);
  try {
    for (const { name, command } of await commands(host)) contenders.push(await Contender.start(name, command, signal));
    say(`cycles that read ${host.guests.length} guests`);
    const read = await race(contenders, bench, null);
    if (host.lab === null) return { read, set: [] };
    say(`cycles that read and set ${host.guests.length} guests`);
    return { read, set: await race(contenders, bench, new Moves(virsh, host.guests)) };
  } finally {
    for (const contender of contenders) contender.end();
    virsh.end();
    await periods(0);
  }
}

/** In the order in which they are shown. */
const HOSTS = [
  ['real4', '4 real guests'],
  ['real20', '20 real guests'],
  ['test1000', '1,000 guests of the test driver'],
] as const;

function tableOf(title: string, times: readonly Times[]): Table {
  const rows = times.map(({ name, wall, cpu, daemonCpu }) => ({
    name,
    cells: [quantile(wall, 0.5), quantile(wall, 0.99), cpu, daemonCpu, String(wall.length)],
  }));
  return { title, columns: ['contender', 'wall p50, ms', 'wall p99, ms', 'CPU, ms', "libvirtd's CPU, ms", 'cycles'], rows };
}

/** How many times as much the one takes as the other. */
function times(of: readonly Times[], one: string, other: string, what: (times: Times) => number): number {
  const figure = (name: string): number => {
    const found = of.find((each) => each.name === name);
    return found === undefined ? Number.NaN : what(found);
  };
  return figure(one) / figure(other);
}

const wall = ({ wall }: Times): number => quantile(wall, 0.5);
const cpu = ({ cpu }: Times): number => cpu;

function ratios(found: ReadonlyMap<HostName, Cycles>): Ratio[] {
  const list: Ratio[] = [];
  for (const [host, guests] of HOSTS) {
    const cycles = found.get(host);
    if (cycles === undefined) continue;
    const { read, set } = cycles;
    const target = host === 'test1000' ? 1.25 : 1.15;
    list.push({ name: `sweep / floor with 4 threads, wall, ${guests}`, value: times(read, SWEEP, FLOOR, wall), target, bound: 'atMost' });
    if (host !== 'real4') continue;
    for (const [kind, cycles] of [
      ['read', read],
      ['read and set', set],
    ] as const) {
      list.push({
        name: `virsh loop / memcoord, wall, ${guests}, ${kind}`,
        value: times(cycles, LOOP, CYCLE, wall),
        target: 15,
        bound: 'atLeast',
      });
      list.push({
        name: `virsh loop / memcoord, CPU, ${guests}, ${kind}`,
        value: times(cycles, LOOP, CYCLE, cpu),
        target: 20,
        bound: 'atLeast',
      });
    }
  }
  const [few, many] = [found.get('real4'), found.get('real20')];
  if (few !== undefined && many !== undefined) {
    for (const [what, of] of [
      ['wall', wall],
      ['CPU', cpu],
    ] as const) {
      const growth = times(many.read, LOOP, CYCLE, of) / times(few.read, LOOP, CYCLE, of);
      list.push({
        name: `growth of virsh loop / memcoord from 4 to 20 real guests, ${what}, read`,
        value: growth,
        target: 1,
        bound: 'atLeast',
      });
    }
  }
  return list;
}

function answer(found: ReadonlyMap<HostName, Cycles>): Answer {
  const parts = HOSTS.flatMap(([host, guests]) => [
    { title: `${guests}, read`, times: found.get(host)?.read ?? [] },
    { title: `${guests}, read and set`, times: found.get(host)?.set ?? [] },
  ]).filter(({ times }) => times.length > 0);
  const names = [...new Set(parts.flatMap(({ times }) => times.map(({ name }) => name)))];
  const plot: Bars = {
    kind: 'bars',
    title: 'Wall time of a cycle, median',
    y: { title: 'ms', scale: 'log' },
    groups: parts.map(({ title }) => title),
    series: names.map((name) => ({
      name,
      values: parts.map(({ times }) => quantile(times.find((each) => each.name === name)?.wall ?? [], 0.5)),
    })),
  };
  return {
    tables: parts.map(({ title, times }) => tableOf(`A cycle over ${title}`, times)),
    ratios: ratios(found),
    plot,
    notes: [
      "CPU is the contender's and its children's. Contenders take turns, a cycle each; cycles that set take 4 MiB from every guest, which are given back before the next.",
      ...(found.has('test1000')
        ? ['Over the test driver they only read, and the bulk call is left out, as that driver answers it without figures.']
        : []),
    ],
  };
}

export const cycle: Question<Cycles> = {
  name: 'cycle',
  title: 'A cycle: reading all guests, and setting them',
  hosts: (mode) => (mode === 'quick' ? ['real4', 'test1000'] : ['real4', 'real20', 'test1000']),
  measure,
  answer,
};
