/** The simulator as a library, imported as `memcoord/sim`: what `memcoord simulate` runs. */
export type { GuestSpec } from './guest.js';
export type { Harm } from './harm.js';
export type { Invariant, Violation } from './invariants.js';
export { loadScenario, parseScenario, type Scenario, type ScenarioGuest } from './scenario.js';
export { type GuestResult, type SimulationOptions, type SimulationResult, simulate } from './simulate.js';
export type { GuestFate, HostFate } from './unmanaged.js';
export type { Workload } from './workload.js';
