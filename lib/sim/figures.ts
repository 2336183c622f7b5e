/** What a simulated guest reports about itself: the truth, part of it, figures of another kind, or nonsense. KiB. */
import { GiB } from '../common/units.js';

/** How a guest reports: see docs/simulator.md. */
export const FIGURES = [
  'honest',
  'none',
  'zero',
  'negative',
  'huge',
  'nan',
  'greedy',
  'windows',
  'win32',
  'nousable',
  'rates',
  'wrap',
] as const;
export type FiguresKind = (typeof FIGURES)[number];

/** The guest's true figures when it last answered. */
export interface Figures {
  readonly unused: number;
  readonly usable: number;
  readonly available: number;
  readonly caches: number;
  readonly swapIn: number;
  readonly swapOut: number;
  readonly majorFault: number;
  /** When it answered, ms of the simulation. */
  readonly at: number;
  /** How far the host's wall clock had been set then, ms. */
  readonly clockSet: number;
}

/** The figures as libvirt shows them; NaN = not reported. */
export interface Reported extends Omit<Figures, 'at' | 'clockSet'> {
  readonly minorFault: number;
}

/** Old drivers report bytes in 32 bits: no figure is above this. */
const CAP_32 = 4 * GiB - 4;
/** Counters of 32 bits wrap to 0 here. */
const WRAP_32 = 2 ** 32;
/** If a guest's counters wrap, they start at this value ... */
const BEFORE_WRAP = WRAP_32 - 2_000_000;
/** ... and the guest has this many minor faults a second: the first wrap comes after 40 s. */
const MINOR_FAULTS = 50_000;
/** Where counters are rates, an ordinary guest shows fewer major faults a second than this, and a hundred times as many minor faults. */
const USUAL_RATE = 40;

/** True: the guest's figures do not tell what it needs. */
export function isNonsense(kind: FiguresKind = 'honest'): boolean {
  return ['none', 'zero', 'negative', 'huge', 'nan', 'greedy'].includes(kind);
}

/** @param before the guest's previous answer: rates are computed from the difference */
export function reported(kind: FiguresKind | undefined, figures: Figures, before: Figures | null): Reported {
  const { unused, usable, available, caches, swapIn, swapOut, majorFault, at } = figures;
  const honest: Reported = { unused, usable, available, caches, swapIn, swapOut, majorFault, minorFault: Math.floor(at / 10) };
  const all = (value: number) => ({ ...honest, unused: value, available: value, usable: value, caches: value });
  switch (kind) {
    case 'zero':
      return all(0);
    case 'negative':
      return all(-1e9);
    case 'huge':
      return all(1e18);
    case 'nan':
      return all(Number.NaN);
    case 'greedy':
      // The guest claims to be nearly out of memory, whatever it has.
      return { ...honest, unused: 1024, usable: 1024 };
    case 'win32': {
      const capped = (value: number) => Math.min(value, CAP_32);
      return { ...honest, unused: capped(unused), usable: capped(usable), available: capped(available), caches: capped(caches) };
    }
    case 'nousable':
      return { ...honest, usable: Number.NaN, caches: Number.NaN };
    case 'rates': {
      const seconds = before === null ? 1 : Math.max(1, (at - before.at) / 1000);
      const rate = (now: number, then = 0) => Math.floor(Math.max(0, now - then) / seconds);
      return {
        ...honest,
        swapIn: rate(swapIn, before?.swapIn),
        swapOut: rate(swapOut, before?.swapOut),
        majorFault: rate(majorFault, before?.majorFault) + wobble(at),
        minorFault: 100 * wobble(at + 1),
      };
    }
    case 'wrap': {
      const wrapped = (count: number) => (BEFORE_WRAP + count) % WRAP_32;
      return { ...honest, majorFault: wrapped(majorFault), minorFault: wrapped(Math.floor((MINOR_FAULTS * at) / 1000)) };
    }
    default:
      return honest;
  }
}

/** A different value at each answer, and the same values in each run. */
function wobble(at: number): number {
  return (Math.imul(Math.floor(at / 10) + 1, 0x9e3779b1) >>> 8) % USUAL_RATE;
}
