/**
 * What a question of the benchmark is: it names the hosts that it wants, measures on each, and makes one answer of all that it found.
 *
 * `main.ts` brings each host up once, asks all questions that want it, and takes it down before the next; so a question never starts or ends
 * guests or daemons itself. It may load the guests that it is given, and leaves them as they were: idle, nothing eaten, stats period off.
 */
import type { Lab } from '../test/lab/guests.js';

/** quick: for CI, some seconds a question. normal: what docs/benchmark.md shows. full: with more repeated runs. */
export type Mode = 'quick' | 'normal' | 'full';

/** Real guests of the lab, guests of libvirt's test driver behind a daemon of their own, or no guests at all. */
export type HostName = 'real4' | 'real20' | 'test100' | 'test1000' | 'none';

/** A host to measure on, up and idle. */
export interface Host {
  readonly name: HostName;
  /** libvirt connection URI; empty for `none`. */
  readonly uri: string;
  /** Names of the running guests. */
  readonly guests: readonly string[];
  /** Process of the libvirt daemon; NaN for `none`. */
  readonly daemon: number;
  /** The lab, with what its agents need; null where the guests are not real. */
  readonly lab: Lab | null;
}

/** What a question is given to work with. */
export interface Bench {
  readonly mode: Mode;
  readonly host: Host;
  /** Aborted by Ctrl-C: stop waiting, end what was started, throw. */
  readonly signal: AbortSignal;
  /** Tells a person how it goes, one line. */
  say(line: string): void;
}

/** @typeParam T what it measures on one host: plain data. */
export interface Question<T = unknown> {
  /** One word, for `--only` and for file names. */
  readonly name: string;
  /** What is asked, in a line. */
  readonly title: string;
  /** The hosts that it wants, in this mode; none = not asked then. */
  hosts(mode: Mode): readonly HostName[];
  /** Measures on one of its hosts (`bench.host`). */
  measure(bench: Bench): Promise<T>;
  /** Called once, after all hosts. Pure. */
  answer(found: ReadonlyMap<HostName, T>): Answer;
}

/** Plain data: results.json has it as it is, and the pages and the plots are made of nothing else. */
export interface Answer {
  readonly tables: readonly Table[];
  /** Judged against the targets; empty where there is none. */
  readonly ratios: readonly Ratio[];
  readonly plot: Plot | null;
  /** What a reader must know to read the figures right: how many samples, what is extrapolated. Sentences. */
  readonly notes: readonly string[];
}

export interface Table {
  readonly title: string;
  /** Titles of all columns, the names' column first. The unit is in the title: `wall p50, ms`. */
  readonly columns: readonly string[];
  /** Cells after the name; a number is printed with three digits that count, null and NaN as `-`. */
  readonly rows: readonly { readonly name: string; readonly cells: readonly (number | string | null)[] }[];
}

/** A ratio (or another figure that needs no unit to be judged, such as µs a guest) and what it should be. */
export interface Ratio {
  /** Says what is divided by what, on which guests, in which unit if any. */
  readonly name: string;
  readonly value: number;
  readonly target: number;
  /** Whether `value` should be at most or at least `target`. */
  readonly bound: 'atMost' | 'atLeast';
  /** A time, which depends on the machine: it is shown with its target, and fails no quick run. */
  readonly absolute?: true;
}

export interface Axis {
  /** With the unit: `memory, MiB`. */
  readonly title: string;
  readonly scale?: 'linear' | 'log';
}

/** A picture: one an answer. */
export type Plot = Lines | Bars;

/** Points joined by lines, e.g. a guest's memory over time. */
export interface Lines {
  readonly kind: 'lines';
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }[];
  /** Dashed verticals with a word, e.g. where the eater begins. */
  readonly marks?: readonly { readonly x: number; readonly name: string }[];
}

/** Groups of bars side by side: `values` has one for each group, NaN = none. */
export interface Bars {
  readonly kind: 'bars';
  readonly title: string;
  readonly y: Axis;
  readonly groups: readonly string[];
  readonly series: readonly { readonly name: string; readonly values: readonly number[] }[];
}
