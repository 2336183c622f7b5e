/** `--record FILE`: every sample and its moves, as JSON lines after a header line. */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Config } from '../config/config.js';
import { UsageError } from './failure.js';
import { version } from './version.js';

export interface Recording {
  /** A line with version and configuration: the first of the file, and again whenever the configuration changes. */
  header(config: Config): void;
  write(sample: Readonly<Record<string, unknown>>): void;
  close(): Promise<void>;
}

/**
 * Opens a recording; an existing file is overwritten.
 *
 * @param failed is called once when the file cannot be written any more: coordinating goes on without.
 * @throws UsageError if the file cannot be opened, or is a pipe: coordinating would wait for its reader, perhaps for ever
 */
export async function openRecording(path: string, failed: (error: Error) => void): Promise<Recording> {
  if ((await stat(path).catch(() => null))?.isFIFO()) throw new UsageError(`option --record: ${path} is a pipe, and a file is needed`);
  const stream = createWriteStream(path);
  await once(stream, 'open').catch((error: Error) => {
    throw new UsageError(`option --record: ${path} cannot be written: ${error.message}`);
  });
  let broken = false;
  stream.on('error', (error) => {
    broken = true;
    failed(error);
  });
  const line = (value: unknown): void => {
    if (!broken) stream.write(`${JSON.stringify(value)}\n`);
  };
  return {
    header: (config) => line({ kind: 'header', memcoord: version(), at: Date.now(), config }),
    write: (sample) => line({ kind: 'sample', ...sample }),
    close: () => new Promise((resolve) => (broken ? resolve() : stream.end(() => resolve()))),
  };
}
