/**
 * What the observer writes down of one run of a classic test: the series, the coordinator's log, and what the guests said themselves.
 * Sizes are KiB, times are seconds since the run began.
 */

/** One reading of all guests; each array is in the order of {@link Recording.guests}. NaN (null in JSON) = not reported. */
export interface Sample {
  readonly t: number;
  readonly actual: readonly number[];
  readonly unused: readonly number[];
  readonly usable: readonly number[];
  /** Since the guest booted. */
  readonly swapIn: readonly number[];
  readonly swapOut: readonly number[];
}

/** A line of the coordinator's log that tells of a move. */
export interface LoggedMove {
  readonly t: number;
  readonly guest: string;
  readonly from: number;
  readonly to: number;
  readonly actual: number;
  readonly spare: number;
  readonly reason: string;
}

/** A guest's own word (`report` of guest/agent.c). */
export interface GuestReport {
  readonly oomKills: number;
  readonly bystander: boolean;
}

/** A part of a test between two orders to the guests. */
export interface Stage {
  readonly name: string;
  /** When the order that begins it had taken effect: the reset had been carried out, the memory was free. */
  readonly from: number;
  readonly to: number;
  /** Indexes of the guests that nothing is asked of in this stage. */
  readonly idle: readonly number[];
  /** The guests' own figures at its two ends. */
  readonly before: readonly GuestReport[];
  readonly after: readonly GuestReport[];
}

export interface Recording {
  readonly test: 1 | 2 | 3;
  readonly pool: number;
  readonly maximum: number;
  readonly guests: readonly string[];
  readonly samples: readonly Sample[];
  /** null where the coordinator under test keeps no log that we can read. */
  readonly moves: readonly LoggedMove[] | null;
  readonly stages: readonly Stage[];
  /** When each guest's eater ended, killed or told to; null = it never ate, or did not end. */
  readonly ended: readonly (number | null)[];
  /** From when to when the eaters of test 2 or 3 held what they had. */
  readonly plateau: { readonly from: number; readonly to: number } | null;
  /** Exit code of the coordinator when told to stop; null = it ended by itself before, or did not end. */
  readonly exitCode: number | null;
}
