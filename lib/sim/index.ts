/** The simulator as a library, imported as `memcoord/sim`: what `memcoord simulate` runs. */
export type { Harm } from './harm.js';
export { loadScenario, parseScenario, type Scenario } from './scenario.js';
export { type GuestResult, type SimulationOptions, type SimulationResult, simulate } from './simulate.js';
