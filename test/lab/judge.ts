/**
 * What must hold of the three classic tests. Each criterion is a pure function of the recording of a run.
 */
import type { Recording, Sample, Stage } from './recording.js';

const MiB = 1024;

/** What a criterion found. */
export interface Verdict {
  readonly name: string;
  readonly ok: boolean;
  /** The figures behind it. */
  readonly detail: string;
}

/** libvirt's least change that counts as rising or falling here: the coordinator's own dead-band. */
const NOTABLE = 16 * MiB;
/** Samples are judged every 2 s, as the course's monitor prints them; the observer reads every second. */
const EVERY_S = 2;

const mib = (kib: number): string => `${(kib / MiB).toFixed(0)} MiB`;
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const at = (values: readonly number[], index: number): number => values[index] ?? Number.NaN;

export function within(recording: Recording, from: number, to: number): Sample[] {
  return recording.samples.filter((sample) => sample.t >= from && sample.t <= to);
}

/** The series thinned to one sample every {@link EVERY_S} seconds. */
export function judged(samples: readonly Sample[]): Sample[] {
  const kept: Sample[] = [];
  for (const sample of samples) {
    const last = kept.at(-1);
    // A reading may come some ms early or late of its second.
    if (last === undefined || sample.t - last.t >= EVERY_S - 0.3) kept.push(sample);
  }
  return kept;
}

/** The last sample no later than `t`. */
export function sampleAt(recording: Recording, t: number): Sample | undefined {
  return recording.samples.findLast((sample) => sample.t <= t) ?? recording.samples[0];
}

function stage(recording: Recording, index: number): Stage {
  const found = recording.stages[index];
  if (found === undefined) throw new Error(`the recording has no stage ${index + 1}`);
  return found;
}

/**
 * How often a series changes direction by more than `least`: a turn counts once the series has come that far back from its last
 * extreme. The first direction is none that was turned to.
 */
export function reversals(values: readonly number[], least: number): number {
  let low = values[0] ?? 0;
  let high = low;
  let direction = 0;
  let turns = 0;
  for (const value of values) {
    if (direction >= 0 && value > high) high = value;
    if (direction <= 0 && value < low) low = value;
    if (direction >= 0 && high - value > least) {
      if (direction > 0) turns++;
      direction = -1;
      low = value;
    } else if (direction <= 0 && value - low > least) {
      if (direction < 0) turns++;
      direction = 1;
      high = value;
    }
  }
  return turns;
}

/** While at least 64 MiB of the pool are unallocated, a guest with less than its max keeps 100 MiB unused in at least 98 % of samples. */
export function keepsUnused(recording: Recording): Verdict[] {
  return recording.stages.map((part) => {
    const samples = judged(within(recording, part.from, part.to)).filter((sample) => recording.pool - sum(sample.actual) >= 64 * MiB);
    const worst = recording.guests.map((name, guest) => {
      const counted = samples.filter((sample) => at(sample.actual, guest) < recording.maximum);
      const short = counted.filter((sample) => !(at(sample.unused, guest) >= 100 * MiB));
      const least = Math.min(...counted.map((sample) => at(sample.unused, guest)));
      return { name, share: counted.length === 0 ? 1 : 1 - short.length / counted.length, counted: counted.length, least };
    });
    const figures = worst.map((guest) =>
      guest.counted === 0
        ? `${guest.name} none`
        : `${guest.name} ${(guest.share * 100).toFixed(0)} % of ${guest.counted}, least ${mib(guest.least)}`,
    );
    return {
      name: `${part.name}: while 64 MiB of the pool are free, each guest below its max has 100 MiB unused in 98 % of samples`,
      ok: worst.every((guest) => guest.share >= 0.98),
      detail: figures.join('; '),
    };
  });
}

/** No idle guest is killed or swaps. One that has just freed may still swap in what was swapped out while it ate. */
export function sparesTheIdle(recording: Recording): Verdict[] {
  return recording.stages.map((part, index) => {
    const samples = within(recording, part.from, part.to);
    const first = samples[0];
    const last = samples.at(-1);
    const faults = part.idle.flatMap((guest) => {
      const name = recording.guests[guest] ?? '';
      const before = part.before[guest];
      const after = part.after[guest];
      const everAte = recording.stages.slice(0, index).some((earlier) => !earlier.idle.includes(guest));
      const swappedOut = at(last?.swapOut ?? [], guest) - at(first?.swapOut ?? [], guest);
      const swappedIn = at(last?.swapIn ?? [], guest) - at(first?.swapIn ?? [], guest);
      const found: string[] = [];
      if (!(swappedOut === 0)) found.push(`${name} swapped out ${swappedOut} KiB`);
      if (!everAte && !(swappedIn === 0)) found.push(`${name} swapped in ${swappedIn} KiB`);
      if (before === undefined || after === undefined) found.push(`${name} did not report`);
      else {
        if (after.oomKills !== before.oomKills) found.push(`${name} killed ${after.oomKills - before.oomKills}`);
        if (!after.bystander) found.push(`${name} lost its bystander`);
      }
      return found;
    });
    return {
      name: `${part.name}: no idle guest is killed or swaps`,
      ok: faults.length === 0,
      detail: faults.join('; ') || `${part.idle.length} idle`,
    };
  });
}

/** No single move takes more than half of a guest's spare, as the log has it. */
export function takesHalfAtMost(recording: Recording): Verdict {
  const name = 'no single move takes more than half of a guest’s spare';
  if (recording.moves === null) return { name, ok: true, detail: 'SKIP no log to judge' };
  // Of a target above the balloon's size the part above takes nothing from the guest.
  const shrinks = recording.moves
    .map((move) => ({ move, taken: Math.min(move.from, move.actual) - move.to }))
    .filter(({ taken }) => taken > 0);
  // A KiB of rounding is not a violation.
  const wrong = shrinks.filter(({ move, taken }) => !(taken <= move.spare / 2 + 1));
  const worst = wrong[0];
  const detail =
    worst === undefined
      ? `${shrinks.length} shrinks of ${recording.moves.length} moves`
      : `${wrong.length} of ${shrinks.length}; ${worst.move.guest} at ${worst.move.t.toFixed(1)} s: ${mib(worst.taken)} of ${mib(worst.move.spare)} spare (${worst.move.reason})`;
  return { name, ok: shrinks.length > 0 && wrong.length === 0, detail };
}

/** No guest loses more than 250 MiB in 2 s. */
export function losesGently(recording: Recording): Verdict {
  let worst = { loss: 0, guest: '', t: 0 };
  const samples = within(recording, recording.stages[0]?.from ?? 0, Infinity);
  samples.forEach((later, index) => {
    for (let back = index - 1; back >= 0; back--) {
      const earlier = samples[back];
      if (earlier === undefined || later.t - earlier.t > EVERY_S + 0.2) break;
      recording.guests.forEach((guest, i) => {
        const loss = at(earlier.actual, i) - at(later.actual, i);
        if (loss > worst.loss) worst = { loss, guest, t: later.t };
      });
    }
  });
  const detail = worst.loss === 0 ? 'none lost anything' : `most: ${worst.guest} ${mib(worst.loss)} at ${worst.t.toFixed(0)} s`;
  return { name: 'no guest loses more than 250 MiB in 2 s', ok: worst.loss > 0 && worst.loss <= 250 * MiB, detail };
}

/** A guest reverses direction by more than 32 MiB at most twice per stage. */
export function keepsDirection(recording: Recording): Verdict[] {
  return recording.stages.map((part) => {
    const samples = within(recording, part.from, part.to);
    const turns = recording.guests.map((_, guest) =>
      reversals(
        samples.map((sample) => at(sample.actual, guest)),
        32 * MiB,
      ),
    );
    return {
      name: `${part.name}: no guest reverses by more than 32 MiB more than twice`,
      ok: samples.length > 0 && turns.every((count) => count <= 2),
      detail: recording.guests.map((name, guest) => `${name} ${turns[guest]}`).join(', '),
    };
  });
}

/** The sum of all balloons never passes the pool. */
export function staysInPool(recording: Recording): Verdict {
  const from = recording.stages[0]?.from ?? 0;
  const most = Math.max(...within(recording, from, Infinity).map((sample) => sum(sample.actual)));
  return {
    name: 'the sum of actual never passes the pool',
    ok: most <= recording.pool,
    detail: `most ${mib(most)} of ${mib(recording.pool)}`,
  };
}

/** Each of `guests` is under 700 MiB within 60 s of the end of its eater. */
export function comesBack(recording: Recording, guests: readonly number[]): Verdict {
  const figures = guests.map((guest) => {
    const ended = recording.ended[guest] ?? null;
    const back = ended === null ? undefined : recording.samples.find((sample) => sample.t >= ended && at(sample.actual, guest) < 700 * MiB);
    // At the end of the run it must still be there.
    const last = at(recording.samples.at(-1)?.actual ?? [], guest);
    const seconds = back === undefined || ended === null ? Infinity : back.t - ended;
    return { name: recording.guests[guest] ?? '', seconds, last };
  });
  return {
    name: `after freeing, ${guests.length === 1 ? 'guest 1 comes' : 'all come'} back under 700 MiB within 60 s`,
    ok: figures.every(({ seconds, last }) => seconds <= 60 && last < 700 * MiB),
    detail: figures
      .map(({ name, seconds, last }) => `${name} ${seconds === Infinity ? 'never' : `${seconds.toFixed(0)} s`}, at last ${mib(last)}`)
      .join('; '),
  };
}

function change(recording: Recording, guest: number, from: number, to: number): number {
  return at(sampleAt(recording, to)?.actual ?? [], guest) - at(sampleAt(recording, from)?.actual ?? [], guest);
}

function testOne(recording: Recording): Verdict[] {
  const [eating, freed] = [stage(recording, 0), stage(recording, 1)];
  const most = Math.max(...within(recording, eating.from, freed.from).map((sample) => at(sample.actual, 0)));
  const others = [1, 2, 3].map((guest) => change(recording, guest, eating.from, eating.to));
  const before = sum(sampleAt(recording, eating.from)?.actual ?? []);
  const after = sum(recording.samples.at(-1)?.actual ?? []);
  return [
    { name: 'guest 1 rises to its max', ok: most >= recording.maximum, detail: `${mib(most)} of ${mib(recording.maximum)}` },
    {
      name: 'each other guest falls meanwhile',
      ok: others.every((delta) => delta < -NOTABLE),
      detail: others.map((delta, index) => `${recording.guests[index + 1]} ${mib(delta)}`).join(', '),
    },
    comesBack(recording, [0]),
    { name: 'the sum of actual is less than at the start', ok: after < before, detail: `${mib(before)} → ${mib(after)}` },
  ];
}

function testTwo(recording: Recording): Verdict[] {
  const eating = stage(recording, 0);
  const all = recording.guests.map((_, guest) => guest);
  const ends = recording.ended.filter((ended) => ended !== null);
  const first = Math.min(...ends, eating.to);
  const rises = all.map((guest) => change(recording, guest, eating.from, first));
  const last = within(recording, eating.from, first).at(-1)?.actual ?? [];
  const apart = (Math.max(...last) - Math.min(...last)) / Math.min(...last);
  return [
    {
      name: 'all rise',
      ok: rises.every((delta) => delta > NOTABLE),
      detail: rises.map((delta, guest) => `${recording.guests[guest]} +${mib(delta)}`).join(', '),
    },
    {
      name: 'the balloons differ by 5 % at most at the last sample before the first eater ends',
      ok: ends.length === all.length && apart <= 0.05,
      detail: `${last.map(mib).join(', ')}: ${(apart * 100).toFixed(1)} %, after ${(first - eating.from).toFixed(0)} s`,
    },
    comesBack(recording, all),
    ...(recording.pool < recording.maximum * recording.guests.length ? [sharesEvenly(recording, true), staysInPool(recording)] : []),
  ];
}

/** Bounds of the coordinator's defaults: floor max(256 MiB, max / 8), ceiling the max. */
function atBound(recording: Recording, actual: number): boolean {
  return actual <= Math.max(256 * MiB, recording.maximum / 8) || actual >= recording.maximum;
}

/**
 * At the end of the plateau the spare (`usable`, the coordinator's default signal) of all guests at no bound is equal to within
 * 32 MiB. `hungry`: and the pool is given out, so that the guests have less than they would be given.
 */
export function sharesEvenly(recording: Recording, hungry: boolean): Verdict {
  const name = `a plateau of 15 s${hungry ? ' with the pool given out' : ''} shows the spare equal to within 32 MiB among the guests at no bound`;
  const { plateau } = recording;
  if (plateau === null) return { name, ok: false, detail: 'there was no plateau' };
  const last = within(recording, plateau.from, plateau.to).at(-1);
  const spares = recording.guests.flatMap((_, guest) =>
    last === undefined || atBound(recording, at(last.actual, guest)) ? [] : [at(last.usable, guest)],
  );
  const apart = Math.max(...spares) - Math.min(...spares);
  const free = recording.pool - sum(last?.actual ?? []);
  const ok = plateau.to - plateau.from >= 15 && spares.length > 1 && apart <= 32 * MiB && (!hungry || free < 64 * MiB);
  return {
    name,
    ok,
    detail: `${spares.map(mib).join(', ')} after ${(plateau.to - plateau.from).toFixed(0)} s, ${mib(free)} of the pool free`,
  };
}

function testThree(recording: Recording): Verdict[] {
  const [first, second] = [stage(recording, 0), stage(recording, 1)];
  const rises = [0, 1, 2, 3].map((guest) => change(recording, guest, first.from, first.to));
  const minute = Math.min(second.to, second.from + 60);
  const series = within(recording, second.from, minute);
  const start = sampleAt(recording, second.from)?.actual ?? [];
  const lows = [0, 1].map((guest) => Math.min(...series.map((sample) => at(sample.actual, guest))) - at(start, guest));
  const highs = [2, 3].map((guest) => Math.max(...series.map((sample) => at(sample.actual, guest))) - at(start, guest));
  const verdicts: Verdict[] = [
    {
      name: 'all rise at first',
      ok: rises.every((delta) => delta > NOTABLE),
      detail: rises.map((delta, guest) => `${recording.guests[guest]} +${mib(delta)}`).join(', '),
    },
    sharesEvenly(recording, false),
    {
      name: 'guests 1 and 2 fall and guests 3 and 4 rise in the same minute',
      ok: lows.every((delta) => delta < -NOTABLE) && highs.every((delta) => delta > NOTABLE),
      detail: `fall ${lows.map(mib).join(', ')}; rise ${highs.map(mib).join(', ')}`,
    },
  ];
  if (recording.pool <= 3 * 1024 * MiB) {
    const free = recording.pool - sum(start);
    const growth = (sample: Sample): number => at(sample.actual, 2) + at(sample.actual, 3) - at(start, 2) - at(start, 3);
    const peak = series.reduce<Sample | undefined>(
      (best, sample) => (best === undefined || growth(sample) > growth(best) ? sample : best),
      undefined,
    );
    const rise = peak === undefined ? Number.NaN : growth(peak);
    const given = peak === undefined ? Number.NaN : at(start, 0) + at(start, 1) - at(peak.actual, 0) - at(peak.actual, 1);
    verdicts.push({
      name: 'the rise of guests 3 and 4 beyond the free pool is fed by guests 1 and 2',
      ok: rise > free + NOTABLE && given >= rise - free,
      detail: `rise ${mib(rise)}, free were ${mib(free)}, guests 1 and 2 gave ${mib(given)}`,
    });
  }
  return verdicts;
}

/** All that must hold of a run. */
export function judge(recording: Recording): Verdict[] {
  const own = { 1: testOne, 2: testTwo, 3: testThree }[recording.test](recording);
  return [
    ...own,
    ...keepsUnused(recording),
    ...sparesTheIdle(recording),
    takesHalfAtMost(recording),
    losesGently(recording),
    ...keepsDirection(recording),
    { name: 'the coordinator stops cleanly when told to', ok: recording.exitCode === 0, detail: `exit code ${recording.exitCode}` },
  ];
}
