/**
 * What the coordinator needs of a hypervisor. `libvirt/` has it over the addon, `sim/` over a simulated host.
 */
import type { GuestIdentity, Sweep } from './sweep.js';

/** Facts of a domain that its XML tells; they change only by hot-plug, a restart or an edit. */
export interface DomainFacts {
  /** Most that the balloon may have, KiB: `<memory>` less what is none of the balloon's ({@link deviceMemory}). */
  readonly maximum: number;
  /** Part of `<memory>` that the balloon neither counts nor moves, KiB: NVDIMM, virtio-pmem, virtio-mem (docs/ballooning.md). */
  readonly deviceMemory: number;
  /** `<memory>` is the sum of parts, NUMA cells or memory devices: libvirt refuses to set it by one command. */
  readonly composed: boolean;
  /** What a virtio-mem device has plugged or was asked to plug, whichever is more, KiB; 0 where there is none. */
  readonly virtioMem: number;
  /** What the guest's memory is made of. Pages of a huge page pool are in neither RSS nor MemAvailable; those of a file are in both. */
  readonly backing: 'anonymous' | 'file' | 'hugepages';
  /** Resident memory at which the guest's process is killed (`<hard_limit>`, or its own cgroup's limit), KiB; null = none. */
  readonly hardLimit: number | null;
  /** What the domain was defined to run with (`currentMemory` of the live XML is the balloon's; this is its figure at the reading), KiB. */
  readonly current: number;
  /** memballoon model, e.g. `virtio`; `none` where there is no balloon. */
  readonly balloonModel: string;
  readonly autodeflate: boolean;
  /** Seconds of the live stats period, 0 = off. */
  readonly statsPeriod: number;
  /** Why the balloon cannot free memory for the host, each a short phrase (`hugepages`, `vfio device hostdev0`, `locked memory`, `SEV`, `virtio-mem`); empty = it can. */
  readonly obstacles: readonly string[];
  /** Text of our metadata element, as found; null where there is none. Written by the guest's owner: untrusted. */
  readonly metadata: string | null;
}

/** Whether there is a balloon at all. libvirt takes definitions with Xen's, which QEMU does not have. */
export function hasBalloon({ balloonModel }: DomainFacts): boolean {
  return !['', 'none', 'xen'].includes(balloonModel);
}

/** The host's memory, KiB. */
export interface HostMemory {
  readonly total: number;
  /** What could be given out without swapping (MemAvailable). */
  readonly available: number;
  /** ZFS' ARC above its minimum: given back on demand, though not at once, and not in MemAvailable. */
  readonly arc: number;
  /** The ARC's minimum, which ZFS keeps. */
  readonly arcMinimum: number;
  /** Size of the huge page pools: no guest's balloon draws on them. */
  readonly hugePages: number;
  /** What the guests may still take within the tightest cgroup limit over all of them, its reclaimable file pages counted; null = no limit. */
  readonly cgroupRoom: number | null;
  /** True while the host itself is short: PSI says that tasks stall on memory, or it swaps out. */
  readonly pressure: boolean;
}

/** What a hypervisor reports by itself. `started`, `stopped` and the like name the guest; `closed`: the connection is of no more use. */
export type HypervisorEvent =
  | {
      readonly kind: 'started' | 'stopped' | 'paused' | 'resumed' | 'rebooted' | 'deviceAdded';
      readonly uuid: string;
      readonly name: string;
    }
  | { readonly kind: 'balloon'; readonly uuid: string; readonly name: string; readonly actual: number }
  | { readonly kind: 'closed'; readonly reason: string };

/** A connection to one host. Its promises reject with a LibvirtError, or what another hypervisor has for it. */
export interface Hypervisor {
  readonly uri: string;
  /** @see NativeConnection.sample in libvirt/native.ts */
  sample(options: { deadlineMs: number; only?: readonly string[]; refresh?: readonly string[]; reads?: readonly string[] }): Promise<Sweep>;
  /**
   * Time that the virtual CPUs of these guests have run since they were started, ms, in their order; NaN where the host does not tell.
   * Cheap enough to be asked ten times a second: neither a guest nor a daemon is.
   */
  cpuTimes(guests: readonly GuestIdentity[]): Float64Array;
  /** Virtual CPUs that {@link cpuTimes} of these guests would read: what it costs grows with them, not with the guests. */
  vcpuCount(guests: readonly GuestIdentity[]): number;
  /** One entry per move: null where the target is stored (not: reached), else the error. `code` ERR_MEMCOORD_DEADLINE = outcome unknown. */
  setMemory(
    moves: readonly { uuid: string; kib: number }[],
    options: { deadlineMs: number },
  ): Promise<((Error & { code?: string }) | null)[]>;
  /** Seconds between two reports of the guest, 0 = none, while it runs: its stored definition is left alone. */
  setStatsPeriod(uuid: string, seconds: number, options: { deadlineMs: number }): Promise<void>;
  /** Reads the XML of a guest. */
  describe(uuid: string, options: { deadlineMs: number }): Promise<DomainFacts>;
  /** @returns a function that takes the listener off. */
  onEvent(listener: (event: HypervisorEvent) => void): () => void;
  /** The memory of the host. */
  hostMemory(): Promise<HostMemory>;
  /** UUID of the host, which may be another after a restart of libvirtd, or, where it has none, its URI; null where no other process can share it (test:///). */
  hostId(): Promise<string | null>;
  /** False once the connection is closed or lost. Does not wait. */
  isAlive(): boolean;
  /** Ends the connection, waiting for calls in flight no longer than `deadlineMs`. Safe to call again. */
  close(options: { deadlineMs: number }): Promise<void>;
}
