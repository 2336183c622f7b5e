/** Writes a run down: results.json, a plot for each question, and, where it is the whole benchmark, docs/benchmark.md and README's section. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { writeSection } from '../test/lab/readme.js';
import { ROOT } from '../test/lab/shell.js';
import { draw } from './plot.js';
import { headlines, markdown, type Results } from './results.js';

/** Figures that README shows lie here, and in the repository. */
const PUBLISHED = join(ROOT, 'bench');

/** @param folder gets results.json and plots/. @returns the plots' paths in the checkout, by question. */
export async function keep(results: Results, folder: string): Promise<ReadonlyMap<string, string>> {
  const plots = new Map<string, string>();
  await rm(join(folder, 'plots'), { recursive: true, force: true });
  await mkdir(join(folder, 'plots'), { recursive: true });
  await writeFile(join(folder, 'results.json'), `${JSON.stringify(results, null, 1)}\n`);
  for (const { name, answer } of results.answers) {
    if (answer.plot === null) continue;
    const file = join(folder, 'plots', `${name}.svg`);
    await writeFile(file, draw(answer.plot));
    plots.set(name, relative(ROOT, file));
  }
  return plots;
}

/** {@link keep} in the repository, docs/benchmark.md with all of it, and README with what matters most. */
export async function publish(results: Results): Promise<void> {
  const plots = await keep(results, PUBLISHED);
  await writeSection('bench', markdown(results, new Map([...plots].map(([name, path]) => [name, `../${path}`]))), 'docs/benchmark.md');
  await writeSection('bench', headlines(results));
}

/** What `scripts/plots` runs: once more from the figures that are kept. */
export async function publishAgain(): Promise<void> {
  await publish(JSON.parse(await readFile(join(PUBLISHED, 'results.json'), 'utf8')) as Results);
}
