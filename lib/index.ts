/** The library: what host tooling imports from `memcoord`. */

export type { Time } from './common/time.js';
export { type Amount, formatSize, GiB, MiB, parseSize } from './common/units.js';
export { type Config, ConfigError, defaultConfig, loadConfig } from './config/config.js';
export {
  Coordinator,
  type CoordinatorEvents,
  type CoordinatorOptions,
  type CoordinatorState,
  CoordinatorStateError,
  type MoveOutcome,
} from './coordinator/coordinator.js';
export { type Lock, LockedError, takeLock } from './coordinator/lock.js';
export type { Notice, Restored } from './coordinator/messages.js';
export { type Difference, fromLine, type RecordedSample, RecordingError, replay } from './coordinator/recording.js';
export { type GuestView, readOnce, type Snapshot } from './coordinator/snapshot.js';
export {
  fileState,
  type SavedGuest,
  type SavedGuests,
  type State,
  type StateOptions,
  type StatePlace,
  stateOf,
  statePlace,
} from './coordinator/state.js';
export type { DomainFacts, HostMemory, Hypervisor, HypervisorEvent } from './hypervisor.js';
export { type OpenOptions, openLibvirt as open } from './libvirt/hypervisor.js';
export type { LibvirtError } from './libvirt/native.js';
export type { Account } from './policy/account.js';
export { type Allocation, allocate, type Claim, type Room } from './policy/allocate.js';
export { type Order, ordered } from './policy/decide.js';
export { type ActivityCheck, type NextSample, nextSample } from './policy/demand.js';
export { type Belief, EMPTY_MODEL, type HostState, type Model } from './policy/guest.js';
export { type Plan, type Purpose, plan } from './policy/plan.js';
export { type GuestReading, type HostReading, sampleOf } from './policy/sample.js';
export type {
  GuestContext,
  GuestOverrides,
  Move,
  Phase,
  PolicyConfig,
  PolicyNotice,
  Reason,
  Remembered,
  RememberedCache,
  Sample,
  Signal,
  Why,
} from './policy/types.js';
export type { GuestIdentity, Sweep } from './sweep.js';
