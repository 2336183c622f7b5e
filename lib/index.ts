/** The library: what host tooling imports from `memcoord`. */

export { formatSize, GiB, MiB, parseSize } from './common/units.js';
export { type Config, ConfigError, defaultConfig, loadConfig } from './config/config.js';
export { Coordinator, type CoordinatorEvents, type CoordinatorOptions, type MoveOutcome } from './coordinator/coordinator.js';
export { type Difference, fromLine, type RecordedSample, RecordingError, replay } from './coordinator/recording.js';
export { type GuestView, readOnce, type Snapshot } from './coordinator/snapshot.js';
export { fileState, type SavedGuest, type SavedGuests, type State, statePath } from './coordinator/state.js';
export type { DomainFacts, HostMemory, Hypervisor, HypervisorEvent } from './hypervisor.js';
export { openLibvirt as open } from './libvirt/hypervisor.js';
export type { LibvirtError } from './libvirt/native.js';
export { type Allocation, allocate, type Claim } from './policy/allocate.js';
export type { Account } from './policy/decide.js';
export { type Order, ordered } from './policy/decide.js';
export { type NextSample, nextSample } from './policy/demand.js';
export { type Belief, EMPTY_MODEL, type HostState, type Model } from './policy/guest.js';
export { type Plan, plan } from './policy/plan.js';
export type { Restored } from './policy/restore.js';
export type {
  GuestContext,
  GuestOverrides,
  Move,
  Notice,
  Phase,
  PolicyConfig,
  Reason,
  Remembered,
  Sample,
  Signal,
} from './policy/types.js';
export type { GuestIdentity, Sweep } from './sweep.js';
