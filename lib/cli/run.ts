/** `memcoord run`: coordinates until it is stopped. */

import { messageOf } from '../common/text.js';
import type { Time } from '../common/time.js';
import { formatAmount } from '../common/units.js';
import type { Config } from '../config/config.js';
import { Coordinator } from '../coordinator/coordinator.js';
import { FAILED, UnreachableError } from './failure.js';
import { createLog, type Log, type LogFormat, logMove, logNotice } from './log.js';
import { openRecording } from './record.js';
import { type Connect, configFrom, connectLibvirt, keepInput, type Options, virsh } from './session.js';
import { version } from './version.js';

export interface RunOptions extends Options {
  readonly dryRun?: boolean;
  readonly record?: string;
  readonly logFormat?: LogFormat;
}

export interface RunSurroundings {
  readonly connect?: Connect;
  /** Takes a line of the log. */
  readonly write?: (line: string) => void;
  readonly time?: Time;
}

export async function run(options: RunOptions, surroundings: RunSurroundings = {}): Promise<number> {
  const { connect = connectLibvirt, write = (line) => process.stderr.write(line), time } = surroundings;
  const dryRun = options.dryRun === true;
  let config = await configFrom(options);
  const log = createLog({ format: options.logFormat ?? (process.stderr.isTTY ? 'pretty' : 'json'), color: hasColor(), write });
  const { record } = options;
  await keepInput(record, options.config as string | undefined);
  const recording =
    record === undefined
      ? null
      : await openRecording(record, (error) =>
          log.error({ kind: 'record' }, `${record}: ${error.message}: recording ends, coordinating goes on`),
        );
  const coordinator = new Coordinator({
    // A dry run changes nothing, so it connects read-only.
    connect: () => connect(config.uri, { readOnly: dryRun }),
    config,
    dryRun,
    ...(dryRun ? { state: null } : {}),
    ...(time === undefined ? {} : { time }),
  });
  let connected = false;
  coordinator.on('connected', (uri) => {
    connected = true;
    log.info({ kind: 'connected', uri }, `connected to ${uri}`);
  });
  coordinator.on('lost', (error) => {
    const advice = adviceOn(error, config.uri);
    log.error({ kind: 'lost', ...codeOf(error) }, `${error.message}; retrying; the guests keep their sizes meanwhile. ${advice}`);
  });
  coordinator.on('notice', (notice) => logNotice(log, notice));
  coordinator.on('move', (move) => logMove(log, move, dryRun));
  if (recording !== null) {
    recording.header(config);
    coordinator.on('record', (sample) => recording.write(sample));
  }

  const signals = listenForSignals();
  const reread = (): void => {
    void readAgain(options, config, log).then((read) => {
      if (read === null) return;
      config = read;
      coordinator.reconfigure(config);
      recording?.header(config);
    });
  };
  process.on('SIGHUP', reread);
  try {
    log.info({ kind: 'start', version: version(), config, dryRun }, greeting(config, dryRun));
    const started = coordinator.start();
    const early = await Promise.race([started.then(() => null), signals.first]);
    log.info({ kind: 'stop' }, `${early ?? (await signals.first)}: stopping`);
    // Nothing has been changed before the first connection, and the wait for it may never end.
    if (early !== null && !connected) return 0;
    return await Promise.race([started.then(() => coordinator.stop()).then(() => 0), signals.second.then(() => FAILED)]);
  } finally {
    process.off('SIGHUP', reread);
    signals.end();
    await recording?.close();
  }
}

interface Signals {
  readonly first: Promise<NodeJS.Signals>;
  readonly second: Promise<NodeJS.Signals>;
  end(): void;
}

/** SIGINT and SIGTERM: the first asks to stop cleanly, the second at once. */
function listenForSignals(): Signals {
  const taken: ((signal: NodeJS.Signals) => void)[] = [];
  const next = (): Promise<NodeJS.Signals> => new Promise((resolve) => taken.push(resolve));
  const [first, second] = [next(), next()];
  const take = (signal: NodeJS.Signals): void => taken.shift()?.(signal);
  process.on('SIGINT', take).on('SIGTERM', take);
  return { first, second, end: () => void process.off('SIGINT', take).off('SIGTERM', take) };
}

function greeting(config: Config, dryRun: boolean): string {
  const { intervalMs, pool: bound, signal } = config;
  const pool = bound === null ? 'no pool limit' : `a pool of ${formatAmount(bound)}`;
  return `memcoord ${version()}: ${dryRun ? 'dry run, nothing is changed; ' : ''}every ${intervalMs / 1000} s, ${pool}, by ${signal} memory`;
}

function codeOf(error: Error): { readonly code?: unknown } {
  return 'code' in error ? { code: error.code } : {};
}

/** What to do about a connection that is lost. */
function adviceOn(error: Error, uri: string): string {
  const known = error instanceof UnreachableError ? error.advice : '';
  return known || `Does libvirt answer? ${virsh(uri, 'list')}`;
}

/** Colour only for a terminal that wants it (no-color.org). */
function hasColor(): boolean {
  return process.stderr.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

/** Reads the configuration file again; null if the configuration stays as it is. */
async function readAgain(options: RunOptions, old: Config, log: Log): Promise<Config | null> {
  if (options.config === undefined) {
    log.warn({ kind: 'config' }, 'SIGHUP: there is no --config file to read again');
    return null;
  }
  try {
    // An editor may have emptied the file before it saves: do not take that for a configuration.
    const config = await configFrom(options, false);
    const uriNote = config.uri === old.uri ? '' : `; connect: ${config.uri} takes a restart`;
    log.info({ kind: 'config', config }, `SIGHUP: configuration read again${uriNote}`);
    return { ...config, uri: old.uri };
  } catch (error) {
    // Whatever is wrong with it, a file must not end the coordinator.
    const message = messageOf(error);
    log.error({ kind: 'config' }, `SIGHUP: new configuration rejected, the old one stays in force: ${message.replaceAll('\n', '; ')}`);
    return null;
  }
}
