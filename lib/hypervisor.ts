/** What the coordinator needs of a hypervisor. `libvirt/` implements it with the addon, `sim/` with a simulated host. */
import type { GuestIdentity, Sweep } from './sweep.js';

/** Facts of a domain from its XML; they change only by hot-plug, a restart or an edit. */
export interface DomainFacts {
  /** Largest size of the balloon, KiB: `<memory>` less what does not belong to it ({@link deviceMemory}). */
  readonly maximum: number;
  /** Part of `<memory>` that the balloon neither counts nor moves, KiB: NVDIMM, virtio-pmem, virtio-mem (docs/ballooning.md). */
  readonly deviceMemory: number;
  /** `<memory>` is the sum of parts, NUMA cells or memory devices: libvirt refuses to set it by one command. */
  readonly composed: boolean;
  /** What virtio-mem devices have plugged or were asked to plug, whichever is more, KiB; 0 = there are none. */
  readonly virtioMem: number;
  /** What backs the guest's memory. Pages of a huge page pool are in neither RSS nor MemAvailable; those of a file are in both. */
  readonly backing: 'anonymous' | 'file' | 'hugepages';
  /** Resident memory at which the guest's process is killed (`<hard_limit>`, or its own cgroup's limit), KiB; null = none. */
  readonly hardLimit: number | null;
  /** Size of the balloon when the XML was read (`currentMemory` of the live XML), KiB. */
  readonly current: number;
  /** memballoon model, e.g. `virtio`; `none` where there is no balloon. */
  readonly balloonModel: string;
  readonly autodeflate: boolean;
  /** Seconds of the live stats period, 0 = off. */
  readonly statsPeriod: number;
  /**
   * Why the balloon cannot free memory for the host; empty = it can. Short phrases: `hugepages`, `vfio device hostdev0`, `locked memory`,
   * `SEV`, `virtio-mem`.
   */
  readonly obstacles: readonly string[];
  /** Text of our metadata element, as found; null if there is none. Written by the guest's owner: untrusted. */
  readonly metadata: string | null;
}

/** Whether there is a balloon at all. libvirt accepts definitions with Xen's, which QEMU does not have. */
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
  /** What the guests may still take within the tightest cgroup limit over all of them, reclaimable file pages included; null = no limit. */
  readonly cgroupRoom: number | null;
  /** True while the host itself is short of memory: tasks stall on memory (PSI), or it swaps out. */
  readonly pressure: boolean;
}

/**
 * Events that a hypervisor reports. `started`, `stopped` and the like name the guest; `job`: a job has begun that lets nobody change it
 * (JOB in sweep.ts). After `closed` the connection is unusable.
 */
export type HypervisorEvent =
  | {
      /**
       * `saved`: stopped, and its memory kept on disk (virsh save, managedsave). `restored`: started with the memory, the balloon and the
       * stats period of such a save, of a snapshot or of another host, so it does not boot.
       */
      readonly kind: 'started' | 'restored' | 'stopped' | 'saved' | 'paused' | 'resumed' | 'rebooted' | 'deviceAdded' | 'job';
      readonly uuid: string;
      readonly name: string;
    }
  | { readonly kind: 'balloon'; readonly uuid: string; readonly name: string; readonly actual: number }
  | { readonly kind: 'closed'; readonly reason: string };

/** A connection to one host. Its promises reject with a LibvirtError, or the equivalent of another hypervisor. */
export interface Hypervisor {
  readonly uri: string;
  /** @see NativeConnection.sample in libvirt/native.ts */
  sample(options: { deadlineMs: number; only?: readonly string[]; refresh?: readonly string[]; reads?: readonly string[] }): Promise<Sweep>;
  /**
   * CPU time of each guest's virtual CPUs since it was started, ms, in the order of `guests`; NaN where the host does not report it. Cheap
   * enough to be called ten times a second: no guest or daemon is involved.
   */
  cpuTimes(guests: readonly GuestIdentity[]): Float64Array;
  /** Number of virtual CPUs that {@link cpuTimes} would read for these guests: its cost grows with them, not with the guests. */
  vcpuCount(guests: readonly GuestIdentity[]): number;
  /** One entry per move: null if the target is stored (not: reached), else the error. `code` ERR_MEMCOORD_DEADLINE = outcome unknown. */
  setMemory(
    moves: readonly { uuid: string; kib: number }[],
    options: { deadlineMs: number },
  ): Promise<((Error & { code?: string }) | null)[]>;
  /** Sets the stats period of a running guest, seconds, 0 = off. Its stored definition is left alone. */
  setStatsPeriod(uuid: string, seconds: number, options: { deadlineMs: number }): Promise<void>;
  /** Reads the XML of a guest. */
  describe(uuid: string, options: { deadlineMs: number }): Promise<DomainFacts>;
  /** @returns a function that removes the listener. */
  onEvent(listener: (event: HypervisorEvent) => void): () => void;
  /** The memory of the host. */
  hostMemory(): Promise<HostMemory>;
  /**
   * UUID of the host, or its URI if it has none; null if no other process can share the host (test:///). The UUID may change when libvirtd
   * restarts.
   */
  hostId(): Promise<string | null>;
  /** False once the connection is closed or lost. Does not wait. */
  isAlive(): boolean;
  /** Ends the connection, waiting for calls in flight no longer than `deadlineMs`. Safe to call again. */
  close(options: { deadlineMs: number }): Promise<void>;
}
