/** The parts of README.md and of docs that are written by programs, from what they have measured. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError, ROOT } from './shell.js';

/**
 * Puts `text` between the markers `<!-- NAME:begin -->` and `<!-- NAME:end -->`, in place of what is there.
 *
 * @throws LabError where the markers are not there.
 */
export function withSection(readme: string, name: string, text: string): string {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const [from, to] = [readme.indexOf(begin), readme.indexOf(end)];
  if (from < 0 || to < from) throw new LabError(`there are no markers ${begin} and ${end}: nothing was written`);
  return `${readme.slice(0, from + begin.length)}\n${text.trim()}\n${readme.slice(to)}`;
}

/** {@link withSection} on a file of the repository. */
export async function writeSection(name: string, text: string, file = 'README.md'): Promise<void> {
  const path = join(ROOT, file);
  await writeFile(path, withSection(await readFile(path, 'utf8'), name, text));
}
