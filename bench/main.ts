/** `npm run bench`: asks the questions, host by host, and prints and keeps what comes out. docs/benchmark.md has the whole of it. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { claim } from '../test/lab/guests.js';
import { LAB, LabError } from '../test/lab/shell.js';
import { burst } from './burst.js';
import { cycle } from './cycle.js';
import { withHost } from './hosts.js';
import { isFarOff, tap } from './judge.js';
import { describeMachine, type Machine } from './machine.js';
import { memory } from './memory.js';
import { oneshot } from './oneshot.js';
import { policy } from './policy.js';
import { keep, publish, publishAgain } from './publish.js';
import type { HostName, Mode, Question } from './question.js';
import { reaction } from './reaction.js';
import { allRatios, numberText, plainText, type Results } from './results.js';
import { step } from './step.js';
import { watched } from './watched.js';

/** A question that has forgotten what it measures: only it itself has to know. */
interface Asked {
  readonly question: Pick<Question, 'name' | 'title' | 'hosts' | 'measure'>;
  readonly found: Map<HostName, unknown>;
  answer(): ReturnType<Question['answer']>;
}

function asked<T>(question: Question<T>): Asked {
  const found = new Map<HostName, T>();
  return { question, found, answer: () => question.answer(found) };
}

/** In the order in which they are shown. */
const QUESTIONS: readonly (() => Asked)[] = [
  () => asked(cycle),
  () => asked(oneshot),
  () => asked(policy),
  () => asked(memory),
  () => asked(watched),
  () => asked(reaction),
  () => asked(step),
  () => asked(burst),
];

/** In the order in which they are brought up. */
const HOSTS: readonly HostName[] = ['none', 'test100', 'test1000', 'real4', 'real20'];

const USAGE = `usage: npm run bench -- [--quick | --full] [--only QUESTION,...] | --publish

Measures memcoord against virsh, python and C on the same guests, and prints one table. Without options it takes half an hour.
  --quick     under two minutes, as TAP; fails where a ratio is worse than half of its target (not at times)
  --full      with more repeated runs
  --only      some questions: ${QUESTIONS.map((make) => make().question.name).join(', ')}
  --publish   only writes docs/benchmark.md, README's section and the plots once more, from bench/results.json
A whole run is written to bench/results.json, bench/plots, docs/benchmark.md and README.md; a quick one, or one of some questions, to .lab/bench.`;

interface Options {
  readonly mode: Mode;
  readonly only: readonly string[] | null;
}

function optionsFrom({ quick, full, only }: { quick?: boolean; full?: boolean; only?: string }): Options {
  if (quick === true && full === true) throw new LabError(USAGE);
  const names = only?.split(',') ?? null;
  const known = QUESTIONS.map((make) => make().question.name);
  if (names?.some((name) => !known.includes(name)) === true) throw new LabError(`--only takes some of ${known.join(', ')}`);
  return { mode: quick === true ? 'quick' : full === true ? 'full' : 'normal', only: names };
}

async function ask({ mode, only }: Options, say: (line: string) => void, signal: AbortSignal): Promise<Results> {
  const all = QUESTIONS.map((make) => make()).filter(({ question }) => only === null || only.includes(question.name));
  let acceleration: Machine['acceleration'] = null;
  for (const name of HOSTS) {
    const here = all.filter(({ question }) => question.hosts(mode).includes(name));
    if (here.length === 0) continue;
    await withHost(name, say, signal, async (host) => {
      acceleration = host.lab?.acceleration ?? acceleration;
      for (const { question, found } of here) {
        say(`${question.name}: ${question.title}`);
        found.set(name, await question.measure({ mode, host, signal, say }));
      }
    });
  }
  const answers = all
    .filter(({ found }) => found.size > 0)
    .map(({ question: { name, title }, answer }) => ({ name, title, answer: answer() }));
  return { machine: await describeMachine(mode, acceleration), answers };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean' },
      full: { type: 'boolean' },
      only: { type: 'string' },
      publish: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) return console.log(USAGE);
  if (values.publish === true) return await publishAgain();
  const options = optionsFrom(values);
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => controller.abort());
  const startedAt = performance.now();
  const elapsed = (): string => `${Math.round((performance.now() - startedAt) / 1000)} s`.padStart(6);
  await claim();
  let results: Results;
  try {
    results = await ask(options, (line) => console.log(`# ${elapsed()}  ${line}`), controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    process.exitCode = 130;
    return console.log('# interrupted: nothing is kept');
  }
  const text = plainText(results);
  if (options.mode === 'quick') console.log(text.replace(/^/gm, '# '));
  else console.log(`\n${text}\n`);
  const ratios = allRatios(results);
  if (options.mode === 'quick') {
    console.log(['TAP version 14', ...tap(ratios, numberText)].join('\n'));
    if (ratios.some(isFarOff)) process.exitCode = 1;
  }
  if (options.mode === 'quick' || options.only !== null) await keep(results, join(LAB, 'bench'));
  else await publish(results);
}

main().catch((error: unknown) => {
  console.error(error instanceof LabError || (error instanceof TypeError && 'code' in error) ? error.message : error);
  process.exitCode = 1;
});
