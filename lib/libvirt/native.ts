/**
 * The interface of the addon. The addon reads libvirt and returns flat numbers; it holds no policy.
 *
 * Every promise rejects with a {@link LibvirtError}; arguments of the wrong kind throw a TypeError at once. Libvirt calls run on the
 * addon's own threads, never on libuv's: at most four in flight that read and four that change something, and at most one per guest, except
 * describe, which does not involve the guest, and a reading beside a change that waits for a job of libvirt's. Each call in flight has a
 * libvirt connection to itself, opened when first needed: class Links in native/connection.h says why.
 *
 * A pending promise keeps the process running; an open connection does not, with or without a listener. A connection that is collected, or
 * whose environment ends, is closed without waiting for anything.
 */

/** Error thrown by the addon. */
export interface LibvirtError extends Error {
  /**
   * `ERR_LIBVIRT_` and the name of the virErrorNumber (`ERR_LIBVIRT_NO_DOMAIN`), or `ERR_MEMCOORD_` and one of:
   * DEADLINE, no answer in time, so the outcome is not known; BUSY, not tried, since earlier calls have not come back; CLOSED, the
   * connection was closed before; AUTH_UNSUPPORTED, the daemon wants a name or password; NO_THREAD, the system has no thread left.
   */
  readonly code: string;
  /** virErrorNumber. */
  readonly libvirtCode?: number;
  /** virErrorDomain. */
  readonly libvirtDomain?: number;
  /** Name of the guest that the failed call was about. */
  readonly domain?: string;
}

/** One reading. `guests` is given only where the set of running guests differs from the last sweep's of this connection. */
export interface NativeSweep {
  readonly guests?: readonly { uuid: string; name: string; id: number }[];
  /** Layout: lib/sweep.ts. */
  readonly figures: Float64Array;
}

export type NativeEvent =
  /** virDomainEventType and its detail, e.g. 2 = started, 3 = suspended, 4 = resumed, 5 = stopped. */
  | { readonly kind: 'lifecycle'; readonly uuid: string; readonly name: string; readonly event: number; readonly detail: number }
  | { readonly kind: 'reboot'; readonly uuid: string; readonly name: string }
  | { readonly kind: 'balloon'; readonly uuid: string; readonly name: string; readonly actual: number }
  | { readonly kind: 'deviceAdded'; readonly uuid: string; readonly name: string; readonly alias: string }
  /** QEMU has begun to send the guest's memory somewhere: migration, save, dump, snapshot. Once a job, as far as the guest is read. */
  | { readonly kind: 'job'; readonly uuid: string; readonly name: string }
  /** virConnectCloseReason: 0 error, 1 end of file, 2 keepalive, 3 client. The connection is no longer usable. */
  | { readonly kind: 'closed'; readonly reason: number };

export interface NativeConnection {
  /**
   * Reads all running guests (or those named by `only`; the rows of others are NOT_ASKED) and resolves at `deadlineMs` at the latest with
   * what has arrived; a guest whose call has not returned is MISSED. Calls in flight are given up earlier once none has returned for
   * 300 ms and for four times as long as usual. Guests that hang hold at most two of the four slots; if more hang, as many slots are added,
   * up to twelve.
   * With `refresh`, the guests named are first made to report new figures: their stats period is set to 0 and then to `seconds`, its value
   * before; field REFRESHED has the outcome. Ignored on a read-only connection.
   * A guest is asked for a job of libvirt's (field JOB) when it is new, after a `job` event, and after a call on it has timed out, until
   * there is none. It is not refreshed then.
   * With `reads`, field READS of the guests named is read as well, if they are read in this sample: one more call each.
   */
  sample(options: {
    deadlineMs: number;
    only?: readonly string[];
    refresh?: readonly { uuid: string; seconds: number }[];
    reads?: readonly string[];
  }): Promise<NativeSweep>;
  /**
   * virDomainSetMemoryFlags(LIVE) for each, in parallel; one entry per move: null or its error. DEADLINE = outcome unknown (late as for
   * sample), BUSY = not tried, since earlier calls have not come back or a job of libvirt's holds the guest.
   */
  setMemory(moves: readonly { uuid: string; kib: number }[], options: { deadlineMs: number }): Promise<(LibvirtError | null)[]>;
  /** virDomainSetMemoryStatsPeriod(LIVE), whole seconds, 0 = off. */
  setStatsPeriod(uuid: string, seconds: number, options: { deadlineMs: number }): Promise<void>;
  /** The live XML of the domain, and the metadata element of our namespace (null where there is none). */
  describe(uuid: string, options: { deadlineMs: number; metadataUri: string }): Promise<{ xml: string; metadata: string | null }>;
  /** Replaces the listener; null stops events. An error thrown by the listener is an uncaught exception. */
  onEvent(listener: ((event: NativeEvent) => void) | null): void;
  /** virNodeGetMemoryStats, KiB; a figure that is not reported is NaN. */
  nodeMemory(options: { deadlineMs: number }): Promise<{ total: number; free: number; buffers: number; cached: number }>;
  /** virConnectGetCapabilities, XML. */
  capabilities(options: { deadlineMs: number }): Promise<string>;
  /** virConnectIsAlive; false once closed or lost. Does not block. */
  isAlive(): boolean;
  /** Takes no new calls, waits for those in flight no longer than `deadlineMs`, closes. Safe to call again. */
  close(options: { deadlineMs: number }): Promise<void>;
}

export interface NativeBinding {
  /** virGetVersion: major * 1,000,000 + minor * 1,000 + release. */
  readonly libvirtVersion: number;
  /** Names of the fields of a row, in order; a test compares them with lib/sweep.ts. */
  readonly fields: readonly string[];
  /**
   * virConnectOpenAuth, once for reading and once for changes; only once with `readOnly`. The authentication callback refuses with
   * ERR_MEMCOORD_AUTH_UNSUPPORTED. Keepalive on. A daemon that hangs does not answer within `deadlineMs`: after four such attempts, BUSY
   * until one of them has come back.
   */
  open(uri: string, options: { readOnly: boolean; deadlineMs: number }): Promise<NativeConnection>;
}
