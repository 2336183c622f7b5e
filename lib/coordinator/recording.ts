/** Recordings: input and outcome of each plan as JSON lines, and a replay that checks that the same input gives the same plan. */
import { z } from 'zod';
import { messageOf } from '../common/text.js';
import type { Config } from '../config/config.js';
import { type Order, ordered } from '../policy/decide.js';
import { EMPTY_MODEL, type Model } from '../policy/guest.js';
import { plan } from '../policy/plan.js';
import type { GuestContext, GuestOverrides, Move, Reason, Sample, Signal } from '../policy/types.js';
import { STRIDE } from '../sweep.js';

/** One sample of a coordinator, with all that its plan depends on besides earlier samples. */
export interface RecordedSample {
  readonly sample: Sample;
  /** Given in the first sample and whenever it has changed. */
  readonly config?: Config;
  /** True if all earlier beliefs were dropped: at the start, and after the connection was lost. */
  readonly anew: boolean;
  readonly moves: readonly Move[];
  /** Outcomes of the moves, in their order; empty if they were not carried out (a dry run). */
  readonly outcomes: readonly Order['outcome'][];
  /** When the outcomes were noted, ms. */
  readonly orderedAt: number;
}

/** A recorded sample in the form of its JSON line. */
export function toLine({ sample, ...rest }: RecordedSample): Readonly<Record<string, unknown>> {
  const { sweep, refreshed, rebooted, started, contexts, at, host } = sample;
  return {
    at,
    host,
    guests: sweep.guests,
    figures: [...sweep.figures],
    refreshed: [...refreshed],
    rebooted: [...rebooted],
    started: [...started],
    contexts: Object.fromEntries(contexts),
    ...rest,
  };
}

/** JSON writes NaN as null. */
const figure = z
  .number()
  .nullable()
  .transform((value) => value ?? Number.NaN);
const names = z.array(z.string());
const number = z.number();
const amount = z.union([number, z.object({ percent: number })]);
const signal = z.enum(['usable', 'unused'] satisfies Signal[]);

const overrides: z.ZodType<GuestOverrides> = z.object({
  min: amount.exactOptional(),
  max: amount.exactOptional(),
  share: number.exactOptional(),
  signal: signal.exactOptional(),
  manage: z.boolean().exactOptional(),
  bootRestMs: number.exactOptional(),
});

const context: z.ZodType<GuestContext> = z.object({
  facts: z
    .object({
      maximum: number,
      deviceMemory: number,
      composed: z.boolean(),
      virtioMem: number,
      backing: z.enum(['anonymous', 'file', 'hugepages']),
      hardLimit: number.nullable(),
      current: number,
      balloonModel: z.string(),
      autodeflate: z.boolean(),
      statsPeriod: number,
      obstacles: names,
      metadata: z.string().nullable(),
    })
    .nullable(),
  overrides,
  included: z.boolean(),
  statsPeriod: number,
  remembered: z
    .object({
      original: number,
      target: number,
      orderedAt: number,
      speed: number,
      reachable: number,
      shrinkAfter: number,
      pause: number,
      thrashed: z.boolean(),
      cache: z.object({ working: number, floor: number, probeAfter: number, pause: number, rereads: number, rereadMs: number }),
    })
    .exactOptional(),
});

const config: z.ZodType<Config> = z.object({
  uri: z.string(),
  intervalMs: number,
  pool: amount.nullable(),
  reserve: amount.nullable(),
  signal,
  surplus: z.enum(['host', 'guests']),
  burstKiBs: number,
  samplingBudget: number,
  bootRestMs: number,
  onExit: z.enum(['keep', 'restore']),
  include: names,
  exclude: names,
  guests: z.array(z.object({ match: z.string(), settings: overrides })),
});

const move = z.object({
  uuid: z.string(),
  name: z.string(),
  from: figure,
  to: number,
  // Another version may have other reasons.
  reason: z.custom<Reason>((word) => typeof word === 'string', 'must be text'),
  actual: figure,
  used: figure,
  spare: figure,
  need: figure,
  allocation: figure,
  taker: z.string().nullable(),
}) satisfies z.ZodType<Move>;

const line = z
  .object({
    kind: z.literal('sample'),
    at: number,
    host: z.object({
      total: number,
      available: number,
      arc: number,
      arcMinimum: number,
      hugePages: number,
      cgroupRoom: number.nullable(),
      pressure: z.boolean(),
    }),
    guests: z.array(z.object({ uuid: z.string(), name: z.string(), id: number })),
    // Many: a transform of each would take most of the time of reading a line.
    figures: z.array(number.nullable()),
    refreshed: names,
    rebooted: names,
    started: names,
    contexts: z.record(z.string(), context),
    config: config.exactOptional(),
    anew: z.boolean(),
    moves: z.array(move),
    outcomes: z.array(z.enum(['stored', 'failed', 'unknown'])),
    orderedAt: number,
  })
  .refine(({ guests, figures }) => figures.length === guests.length * STRIDE, `figures: must be ${STRIDE} for each guest`);

/** A line that does not belong to a recording. */
export class RecordingError extends Error {
  readonly code = 'ERR_MEMCOORD_RECORDING';
  override readonly name = 'RecordingError';
}

/**
 * Reads a line of a recording; null if it is a header.
 *
 * @throws RecordingError (`ERR_MEMCOORD_RECORDING`)
 */
export function fromLine(text: string): RecordedSample | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new RecordingError(`not JSON: ${messageOf(error)}`);
  }
  if (typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'header') return null;
  const read = line.safeParse(value);
  if (!read.success) {
    const issue = read.error.issues[0];
    throw new RecordingError(`${issue?.path.join('.') || 'the line'}: ${issue?.message ?? 'is not a sample'}`);
  }
  const { kind: _, at, host, guests, figures, refreshed, rebooted, started, contexts, ...rest } = read.data;
  return {
    sample: {
      at,
      host,
      sweep: { guests, figures: Float64Array.from(figures, (value) => value ?? Number.NaN) },
      refreshed: new Set(refreshed),
      rebooted: new Set(rebooted),
      started: new Set(started),
      contexts: new Map(Object.entries(contexts)),
    },
    ...rest,
  };
}

/** A sample whose replayed plan differs from the recorded one. */
export interface Difference {
  readonly at: number;
  readonly recorded: readonly Move[];
  readonly replayed: readonly Move[];
}

/**
 * Plans every sample of a recording again, from an empty model.
 *
 * @param config is in force until a sample brings its own
 */
export function replay(
  samples: Iterable<RecordedSample>,
  config: Config,
): { readonly samples: number; readonly moves: number; readonly differences: readonly Difference[] } {
  let model: Model = EMPTY_MODEL;
  let inForce = config;
  let count = 0;
  let moved = 0;
  const differences: Difference[] = [];
  for (const recorded of samples) {
    count++;
    moved += recorded.moves.length;
    inForce = recorded.config ?? inForce;
    const made = plan(recorded.anew ? EMPTY_MODEL : model, recorded.sample, inForce);
    if (!isSame(made.moves, recorded.moves)) differences.push({ at: recorded.sample.at, recorded: recorded.moves, replayed: made.moves });
    const orders = made.moves.flatMap((move, i): Order[] => {
      const outcome = recorded.outcomes[i];
      return outcome === undefined ? [] : [{ move, outcome }];
    });
    model = ordered(made.model, orders, recorded.orderedAt);
  }
  return { samples: count, moves: moved, differences };
}

/** The same guests get the same targets for the same reasons. */
function isSame(some: readonly Move[], others: readonly Move[]): boolean {
  const key = ({ uuid, from, to, reason }: Move) => `${uuid} ${from} ${to} ${reason}`;
  return some.length === others.length && some.every((move, i) => others[i] !== undefined && key(move) === key(others[i]));
}
