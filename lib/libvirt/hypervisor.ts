/** The hypervisor interface over libvirt: translates the addon's flat answers. No policy, no retries. */

import { abortable } from '../common/abort.js';
import { METADATA_URI } from '../config/metadata.js';
import { resolveAlias } from '../config/uri.js';
import { hostMemoryReader, isLocal } from '../host/memory.js';
import type { DomainFacts, HostMemory, Hypervisor, HypervisorEvent } from '../hypervisor.js';
import type { GuestIdentity, Sweep } from '../sweep.js';
import { domainFacts, hostUuid } from './describe.js';
import { loadBinding } from './load.js';
import { localHost } from './local.js';
import type { NativeConnection, NativeEvent } from './native.js';
import { runDirectory } from './processes.js';

/** Longer than any healthy daemon needs, a login by ssh included. */
const OPEN_DEADLINE_MS = 15_000;
/** For calls about the host itself. */
const HOST_DEADLINE_MS = 5000;

/** virConnectCloseReason. */
const CLOSE_REASONS = ['the connection failed', 'the daemon ended', 'the daemon does not answer', 'closed by this side'];

/** Kinds by virDomainEventType. Not there: defined, undefined, shutdown (stopped follows it). */
const LIFECYCLE: Readonly<Record<number, 'started' | 'stopped' | 'paused' | 'resumed'>> = {
  2: 'started',
  3: 'paused',
  4: 'resumed',
  5: 'stopped',
  7: 'paused',
  8: 'stopped',
};

/** Kinds by virDomainEventType and its detail, where the detail matters. */
const DETAILED: Readonly<Record<string, 'restored' | 'resumed' | 'saved'>> = {
  // Started by a migration, from a save, from a snapshot; woken.
  '2/1': 'restored',
  '2/2': 'restored',
  '2/3': 'restored',
  '2/4': 'resumed',
  '5/4': 'saved',
};

/** True where libvirt's test driver runs inside this process, and nobody else can see its guests. */
function isInProcess(uri: string): boolean {
  return /^test:\/\/\//i.test(uri);
}

/** @returns undefined for events that the coordinator does not use. */
export function translate(event: NativeEvent): HypervisorEvent | undefined {
  if (event.kind === 'closed') return { kind: 'closed', reason: CLOSE_REASONS[event.reason] ?? `reason ${event.reason}` };
  const { uuid, name } = event;
  switch (event.kind) {
    case 'reboot':
      return { kind: 'rebooted', uuid, name };
    case 'balloon':
      return { kind: 'balloon', uuid, name, actual: event.actual };
    case 'deviceAdded':
    case 'job':
      return { kind: event.kind, uuid, name };
    case 'lifecycle': {
      const kind = DETAILED[`${event.event}/${event.detail}`] ?? LIFECYCLE[event.event];
      return kind === undefined ? undefined : { kind, uuid, name };
    }
  }
}

/** Free memory and page cache: libvirt reports no more. Cache includes shared memory, which only swapping can free. */
async function nodeMemory(native: NativeConnection): Promise<HostMemory> {
  const { total, free, buffers, cached } = await native.nodeMemory({ deadlineMs: HOST_DEADLINE_MS });
  const known = (kib: number) => (Number.isNaN(kib) ? 0 : kib);
  return {
    total,
    available: free + known(buffers) + known(cached),
    arc: 0,
    arcMinimum: 0,
    hugePages: 0,
    cgroupRoom: null,
    pressure: false,
  };
}

/** How to connect. */
export interface OpenOptions {
  /** Only for reading: calls that change something are refused. */
  readonly readOnly?: boolean;
  /** Longest wait for an answer, ms; 15 s by default. */
  readonly deadlineMs?: number;
  /** Ends the wait when aborted. */
  readonly signal?: AbortSignal;
}

/**
 * Connects to libvirt.
 *
 * @param name libvirt's connection URI, such as `qemu:///system`, or an alias of libvirt.conf.
 * @throws LoadError where the addon or libvirt's library is missing; LibvirtError where libvirt cannot be reached; the signal's reason.
 */
export async function openLibvirt(
  name: string,
  { readOnly = false, deadlineMs = OPEN_DEADLINE_MS, signal }: OpenOptions = {},
): Promise<Hypervisor> {
  signal?.throwIfAborted();
  const uri = resolveAlias(name);
  const opened = loadBinding().open(uri, { readOnly, deadlineMs });
  const native = await (signal === undefined ? opened : abortable(opened, signal)).catch((error: unknown) => {
    // A connection that comes too late has no owner: close it.
    if (signal?.aborted) void opened.then((late) => late.close({ deadlineMs: 0 })).catch(() => {});
    throw error;
  });
  const listeners = new Set<(event: HypervisorEvent) => void>();
  let guests: readonly GuestIdentity[] = [];
  /** Stats periods that are on, seconds, by UUID: a refresh restores them. */
  const periods = new Map<string, number>();
  const learn = (uuid: string, seconds: number) => (seconds > 0 ? periods.set(uuid, seconds) : periods.delete(uuid));

  const run = runDirectory(uri);
  const local = run === null ? null : localHost(run);
  const localMemory = hostMemoryReader({ cgroupRoom: () => local?.cgroupRoom(guests) ?? null });

  native.onEvent((native) => {
    const event = translate(native);
    if (event === undefined) return;
    // Another start of the guest may have another period.
    const { kind } = event;
    if (kind === 'started' || kind === 'restored' || kind === 'stopped' || kind === 'saved') periods.delete(event.uuid);
    for (const listener of [...listeners]) listener(event);
  });

  return {
    uri,
    async sample({ refresh = [], ...rest }): Promise<Sweep> {
      const known = refresh.map((uuid) => ({ uuid, seconds: periods.get(uuid) ?? 0 })).filter(({ seconds }) => seconds > 0);
      const sweep = await native.sample({ ...rest, refresh: known });
      guests = sweep.guests ?? guests;
      const read: Sweep = { guests, figures: sweep.figures };
      local?.noteFileRss(read);
      return read;
    },
    cpuTimes: (asked) => local?.vcpus.read(asked, performance.now()) ?? new Float64Array(asked.length).fill(Number.NaN),
    vcpuCount: (asked) => local?.vcpus.count(asked, performance.now()) ?? asked.length,
    async setMemory(moves, options) {
      return native.setMemory(moves, options);
    },
    async setStatsPeriod(uuid, seconds, options): Promise<void> {
      await native.setStatsPeriod(uuid, seconds, options);
      learn(uuid, seconds);
    },
    async describe(uuid, { deadlineMs }): Promise<DomainFacts> {
      const { xml, metadata } = await native.describe(uuid, { deadlineMs, metadataUri: METADATA_URI });
      const facts = domainFacts(xml, metadata);
      learn(uuid, facts.statsPeriod);
      return local?.withHostFacts(uuid, facts, guests) ?? facts;
    },
    onEvent(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async hostMemory() {
      return isLocal(uri) ? localMemory() : nodeMemory(native);
    },
    async hostId() {
      if (isInProcess(uri)) return null;
      return hostUuid(await native.capabilities({ deadlineMs: HOST_DEADLINE_MS })) ?? uri;
    },
    isAlive: () => native.isAlive(),
    close(options) {
      local?.vcpus.close();
      return native.close(options);
    },
  };
}
