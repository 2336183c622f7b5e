/** What is asked of guests that read a file: pure functions of a recording. Sizes are KiB, times are seconds since the recording began. */
import type { Verdict } from './judge.js';
import type { LoggedMove, Sample } from './recording.js';

const MiB = 1024;

/** One reading of the file from its start to its end. */
export interface Pass {
  /** When it ended. */
  readonly t: number;
  readonly took: number;
  /** How long a fixed reading of memory took at once after it: how fast the machine was at that time. */
  readonly yardstick: number;
}

/** What virsh said of all guests; each array is in the order of {@link CacheRecording.guests}. */
export interface CacheSample extends Sample {
  /** Read from the disk since the boot. */
  readonly read: readonly number[];
}

export interface CacheRecording {
  readonly name: string;
  readonly pool: number;
  readonly guests: readonly string[];
  /** Until then nobody managed the guests, and they had their maximum. */
  readonly unmanaged: number;
  /** When the coordinator was started, and when it was told to stop. */
  readonly begun: number;
  readonly ended: number;
  /** Each guest's passes, the first one of them from the disk. */
  readonly passes: readonly (readonly Pass[])[];
  readonly samples: readonly CacheSample[];
  readonly moves: readonly LoggedMove[];
}

/** How long the coordinator is watched with a guest that reads, and what of that, its end, is the steady state. */
export const WATCHED_S = 300;
const STEADY_S = 100;
/** Of reading from the disk: as fast as it may, and it may be a little faster for a short time. */
const FROM_DISK = 0.9;

/** @returns the passes in the agent's answer to `passes`, which came at `now`. */
export function parsePasses(answer: string, now: number): Pass[] {
  return [...answer.matchAll(/(\d+):(\d+):(\d+)/g)].map(([, ago, took, yardstick]) => ({
    t: now - Number(ago) / 1000,
    took: Number(took) / 1000,
    yardstick: Number(yardstick) / 1000,
  }));
}

/** NaN where there are none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return ((sorted[(sorted.length - 1) >> 1] ?? Number.NaN) + (sorted[sorted.length >> 1] ?? Number.NaN)) / 2;
}

const gib = (kib: number): string => `${(kib / MiB / 1024).toFixed(2)} GiB`;
const mib = (kib: number): string => `${Math.round(kib / MiB)} MiB`;
const medianOf = (passes: readonly Pass[], value: (pass: Pass) => number): number => median(passes.map(value));
const took = (passes: readonly Pass[]): number => medianOf(passes, (pass) => pass.took);
const seconds = (passes: readonly Pass[]): string => `${took(passes).toFixed(1)} s (of ${passes.length})`;

const passesOf = ({ passes }: CacheRecording, guest: number): readonly Pass[] => passes[guest] ?? [];

/** Those that nobody managed, without the first one. */
const unmanagedPasses = (recording: CacheRecording, guest: number): Pass[] =>
  passesOf(recording, guest)
    .slice(1)
    .filter(({ t }) => t <= recording.unmanaged);

const steady = ({ ended }: CacheRecording, { t }: { readonly t: number }): boolean => t > ended - STEADY_S && t <= ended;

/** The test is one at all: the first pass is as slow as the disk, and the next ones are not. */
export function isCached(recording: CacheRecording, guest: number, fromDiskS: number): Verdict {
  const first = passesOf(recording, guest)[0]?.took ?? Number.NaN;
  const unmanaged = unmanagedPasses(recording, guest);
  return {
    name: 'unmanaged, the first pass is read from the disk and the next ones out of the page cache',
    ok: first >= FROM_DISK * fromDiskS && took(unmanaged) <= first / 2,
    detail: `the first ${first.toFixed(1)} s, the next ones ${seconds(unmanaged)}`,
  };
}

/**
 * In the steady state a pass takes at most so many times as long as unmanaged. Both are counted in yardsticks, since a machine's speed
 * changes within seconds: one of 2 cores read the same cached file in 0.6 to 1.0 s. Medians: one pass or the other may be held up.
 */
export function keepsPace(recording: CacheRecording, guest: number, limit: number): Verdict {
  const unmanaged = unmanagedPasses(recording, guest);
  const managed = passesOf(recording, guest).filter((pass) => steady(recording, pass));
  const yardsticks = (passes: readonly Pass[]): number => medianOf(passes, (pass) => pass.took / pass.yardstick);
  const ratio = yardsticks(managed) / yardsticks(unmanaged);
  const detail = (passes: readonly Pass[]): string => `${seconds(passes)} and ${yardsticks(passes).toFixed(2)} yardsticks`;
  return {
    name: `in the last ${STEADY_S} s a pass takes at most ${limit} times as long as unmanaged`,
    ok: ratio <= limit,
    detail: `${detail(managed)}, unmanaged ${detail(unmanaged)}: ${ratio.toFixed(2)} times`,
  };
}

/** The last sample at `t` or before. */
const sampleAt = ({ samples }: CacheRecording, t: number): CacheSample | undefined => samples.findLast((sample) => sample.t <= t);

export function readsLittle(recording: CacheRecording, guest: number, limit: number): Verdict {
  const { begun, ended } = recording;
  const read = (sampleAt(recording, ended)?.read[guest] ?? Number.NaN) - (sampleAt(recording, begun)?.read[guest] ?? Number.NaN);
  const sizes = recording.samples.filter(({ t }) => t >= begun && t <= ended).map(({ actual }) => actual[guest] ?? Number.NaN);
  return {
    name: `it reads at most ${gib(limit)} from the disk while it is managed`,
    ok: read <= limit,
    detail: `${gib(read)} in ${Math.round(ended - begun)} s, in a balloon of ${mib(Math.min(...sizes))} at least, ${mib(sizes.at(-1) ?? Number.NaN)} at last`,
  };
}

/** How long after the coordinator began a guest was smaller than `limit`, and from then on; null where it is not. */
export function smallerAfter({ samples, begun, ended }: CacheRecording, guest: number, limit: number): number | null {
  const during = samples.filter(({ t }) => t >= begun && t <= ended);
  const last = during.findLastIndex(({ actual }) => !((actual[guest] ?? Number.NaN) < limit));
  const sample = during[last + 1];
  return sample === undefined ? null : sample.t - begun;
}

export function shrinks(recording: CacheRecording, guest: number, limit: number, withinS: number): Verdict {
  const after = smallerAfter(recording, guest, limit);
  const size = sampleAt(recording, recording.ended)?.actual[guest] ?? Number.NaN;
  return {
    name: `it is under ${mib(limit)} within ${withinS} s, and stays there`,
    ok: after !== null && after <= withinS,
    detail: `${mib(size)} after ${Math.round(recording.ended - recording.begun)} s, ${after === null ? 'not' : `under it after ${Math.round(after)} s`}`,
  };
}

/** One guest pays for the other. */
export function isSmaller(recording: CacheRecording, smaller: number, bigger: number): Verdict {
  const during = recording.samples.filter((sample) => steady(recording, sample));
  const size = (guest: number): number[] => during.map(({ actual }) => actual[guest] ?? Number.NaN);
  const [of, than] = [size(smaller), size(bigger)];
  const name = (guest: number): string => recording.guests[guest] ?? '';
  return {
    name: `in the last ${STEADY_S} s ${name(smaller)} is always smaller than ${name(bigger)}`,
    ok: during.length > 0 && of.every((value, index) => value < (than[index] ?? Number.NaN)),
    detail: `${name(smaller)} ${mib(Math.min(...of))} to ${mib(Math.max(...of))}, ${name(bigger)} ${mib(Math.min(...than))} to ${mib(Math.max(...than))}`,
  };
}
