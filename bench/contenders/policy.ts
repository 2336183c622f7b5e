/**
 * `policy.js GUESTS CYCLES`: what JavaScript takes for a cycle, without any hypervisor; prints one line of JSON (PolicyTimes of ../policy.ts).
 */
import { defaultConfig, EMPTY_MODEL, type GuestContext, plan, type Sample } from 'memcoord';
import { CannedHost } from '../canned.js';
import type { PolicyTimes } from '../policy.js';
import { Clock, rush } from '../rush.js';
import { median } from '../statistics.js';

const [guests = 0, cycles = 0] = process.argv.slice(2).map(Number);
/** Cycles in which V8 compiles what is hot, and which do not count. */
const WARM_UP = Math.ceil(cycles / 3);

/** The policy alone, as on a dry run: what it plans is not carried out. @returns of a plan, µs. */
async function plans(): Promise<number> {
  const clock = new Clock();
  const host = new CannedHost(guests, clock);
  const hypervisor = host.hypervisor();
  const contexts = new Map<string, GuestContext>();
  for (const { uuid } of host.guests) {
    const facts = await hypervisor.describe(uuid, { deadlineMs: 0 });
    contexts.set(uuid, { facts, overrides: {}, included: true, statsPeriod: facts.statsPeriod });
  }
  const memory = await hypervisor.hostMemory();
  const config = defaultConfig();
  let model = EMPTY_MODEL;
  const times: number[] = [];
  for (let cycle = 0; cycle < WARM_UP + cycles; cycle++) {
    clock.now += config.intervalMs;
    const sample: Sample = {
      at: clock.now,
      sweep: host.sweep(),
      refreshed: new Set(),
      rebooted: new Set(),
      started: new Set(),
      host: memory,
      contexts,
    };
    const startedAt = performance.now();
    model = plan(model, sample, config).model;
    times.push(performance.now() - startedAt);
  }
  return median(times.slice(WARM_UP)) * 1000;
}

/** The whole coordinator. @returns CPU time of the process in a cycle, garbage collection on other threads included, µs. */
async function whole(): Promise<number> {
  let host: CannedHost | undefined;
  let before = { cpu: 0, spent: 0 };
  const cpu = (): number => {
    const { user, system } = process.cpuUsage();
    return user + system;
  };
  const connect = async (clock: Clock) => {
    host = new CannedHost(guests, clock);
    return host.hypervisor();
  };
  await rush(connect, WARM_UP + cycles, (cycle) => {
    if (cycle === WARM_UP) before = { cpu: cpu(), spent: host?.spent ?? 0 };
  });
  return (cpu() - before.cpu - ((host?.spent ?? 0) - before.spent) * 1000) / cycles;
}

const times: PolicyTimes = { guests, cycles, planUs: await plans(), cycleUs: await whole() };
console.log(JSON.stringify(times));
process.exit();
