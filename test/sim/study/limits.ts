/**
 * `scripts/limits [--runs N] [--hosts N] [--jobs N] [NAME ...]`: what each constant of lib/policy/limits.ts does, at half and at double.
 *
 * Runs the same random scenarios and the same honest hosts once as it is and then with one constant changed, each in a process of its own,
 * and writes a row for each. A constant whose row is the same at half and at double has no effect here.
 */
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import * as limits from '../../../lib/policy/limits.js';
import type { Outcome } from './outcome.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: 'string', default: '60' }, hosts: { type: 'string', default: '20' }, jobs: { type: 'string', default: '2' } },
});

const constants = Object.entries(limits).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
const unknown = positionals.filter((name) => !constants.some(([known]) => known === name));
if (unknown.length > 0) {
  console.error(`no number in lib/policy/limits.ts: ${unknown.join(', ')}`);
  process.exit(2);
}

/** Runs outcome.js with one constant times `factor`. */
function outcomeOf(name: string, factor: number): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const hook = new URL('change.js', import.meta.url).href;
    const program = new URL('outcome.js', import.meta.url).pathname;
    const child = spawn(process.execPath, ['--import', hook, program, values.runs, values.hosts], {
      env: { ...process.env, LIMIT: name, FACTOR: String(factor) },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(text) as Outcome);
      else reject(new Error(`${name} × ${factor}: exit code ${code}`));
    });
  });
}

function cells(now: Outcome, usual: Outcome): string {
  if (JSON.stringify(now) === JSON.stringify(usual)) return '= | = | = | =';
  const percent = (value: number, of: number) => `${((100 * value) / of - 100).toFixed(1)} %`.replace(/^(?=[0-9])/, '+');
  return `${now.harmed} | ${now.broken} | ${percent(now.reclaimed, usual.reclaimed)} | ${percent(now.moves, usual.moves)}`;
}

const usual = await outcomeOf('', 1);
console.log(`${values.runs} random scenarios of seed 1 and ${values.hosts} honest hosts: harm in ${usual.harmed}, a rule broken in ${usual.broken},
${usual.reclaimed.toFixed(2)} GiB·h reclaimed on the honest hosts, ${usual.moves} moves in all. = is the same to the last move.

| constant | half: harmed | broken | reclaimed | moves | double: harmed | broken | reclaimed | moves |
|---|---|---|---|---|---|---|---|---|`);
const wanted = constants.filter(([name]) => positionals.length === 0 || positionals.includes(name));
const worker = async () => {
  for (let next = wanted.shift(); next !== undefined; next = wanted.shift()) {
    const [name] = next;
    const half = await outcomeOf(name, 0.5);
    const double = await outcomeOf(name, 2);
    console.log(`| ${name} | ${cells(half, usual)} | ${cells(double, usual)} |`);
  }
};
await Promise.all(Array.from({ length: Number(values.jobs) }, worker));
