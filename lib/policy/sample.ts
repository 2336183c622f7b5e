/** Builds a sample by hand, for callers of `plan` without a coordinator: other sources of figures, other hypervisors, tests. */
import type { DomainFacts, HostMemory } from '../hypervisor.js';
import {
  ACTUAL,
  AVAILABLE,
  type GuestIdentity,
  LAST_UPDATE,
  MAJOR_FAULT,
  MAXIMUM,
  MINOR_FAULT,
  READ,
  READ_AT,
  READS,
  REFRESHED,
  RSS,
  STATE,
  STATUS,
  STRIDE,
  SWAP_IN,
  SWAP_OUT,
  UNUSED,
  USABLE,
} from '../sweep.js';
import type { GuestContext, GuestOverrides, Sample } from './types.js';

/** Position of each figure in a row of a sweep. */
const FIELDS = {
  maximum: MAXIMUM,
  actual: ACTUAL,
  unused: UNUSED,
  usable: USABLE,
  available: AVAILABLE,
  swapIn: SWAP_IN,
  swapOut: SWAP_OUT,
  majorFault: MAJOR_FAULT,
  minorFault: MINOR_FAULT,
  rss: RSS,
  lastUpdate: LAST_UPDATE,
  reads: READS,
} as const;

type Figures = { readonly [Name in keyof typeof FIELDS]?: number };

/**
 * One guest as it was read. Sizes KiB; a figure that is left out was not reported. The figures are those of virDomainMemoryStats: `actual`
 * is the balloon's size, `available` the guest's MemTotal, `usable` its MemAvailable, `unused` its MemFree, `lastUpdate` the time at which
 * the guest reported them, in whole seconds. `maximum` is the domain's maximum, `reads` what the guest has read from its disks.
 */
export interface GuestReading extends Figures, Omit<GuestIdentity, 'id'> {
  readonly maximum: number;
  readonly actual: number;
  /** libvirt's id of the running domain, which changes with each start; 1 by default. */
  readonly id?: number;
  /** virDomainState; 1, running, by default. */
  readonly state?: number;
  /** Seconds between two reports of the guest's figures; 1 by default. */
  readonly statsPeriod?: number;
  /** True if its figures were requested by a forced refresh. */
  readonly refreshed?: boolean;
  readonly facts?: Partial<DomainFacts>;
  readonly overrides?: GuestOverrides;
}

/** One reading of a host. */
export interface HostReading {
  /** Now, ms of a monotonic clock. */
  readonly at: number;
  /** The host's memory, KiB. What is left out does not exist on this host. */
  readonly host: Pick<HostMemory, 'total' | 'available'> & Partial<HostMemory>;
  readonly guests: readonly GuestReading[];
}

/**
 * A sample for `plan`.
 *
 * A guest is moved once its figures have changed twice since the first reading, so the first two plans move nothing.
 */
export function sampleOf({ at, host, guests }: HostReading): Sample {
  const figures = new Float64Array(guests.length * STRIDE).fill(Number.NaN);
  const contexts = new Map<string, GuestContext>();
  guests.forEach((guest, i) => {
    const row = figures.subarray(i * STRIDE, (i + 1) * STRIDE);
    row[STATUS] = READ;
    row[STATE] = guest.state ?? 1;
    row[READ_AT] = at;
    if (guest.refreshed === true) row[REFRESHED] = 0;
    for (const [name, field] of Object.entries(FIELDS)) row[field] = guest[name as keyof Figures] ?? Number.NaN;
    const { overrides = {}, statsPeriod = 1 } = guest;
    contexts.set(guest.uuid, { facts: factsOf(guest, statsPeriod), overrides, included: true, statsPeriod });
  });
  return {
    at,
    sweep: { guests: guests.map(({ uuid, name, id = 1 }) => ({ uuid, name, id })), figures },
    refreshed: new Set(guests.filter(({ refreshed }) => refreshed === true).map(({ uuid }) => uuid)),
    rebooted: new Set(),
    started: new Set(),
    host: { arc: 0, arcMinimum: 0, hugePages: 0, cgroupRoom: null, pressure: false, ...host },
    contexts,
  };
}

function factsOf({ maximum, actual, facts }: GuestReading, statsPeriod: number): DomainFacts {
  return {
    maximum,
    deviceMemory: 0,
    composed: false,
    virtioMem: 0,
    backing: 'anonymous',
    hardLimit: null,
    current: actual,
    balloonModel: 'virtio',
    autodeflate: false,
    statsPeriod,
    obstacles: [],
    metadata: null,
    ...facts,
  };
}
