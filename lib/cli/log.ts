/** The log of a coordinator: JSON lines for machines, one readable line per entry for people. */
import { type Logger, pino } from 'pino';
import { type PrettyOptions, prettyFactory } from 'pino-pretty';
import { printable } from '../common/text.js';
import { MiB } from '../common/units.js';
import type { MoveOutcome } from '../coordinator/coordinator.js';
import type { Notice } from '../coordinator/messages.js';

export type LogFormat = 'pretty' | 'json';
export type Log = Logger;

export interface LogOptions {
  readonly format: LogFormat;
  readonly color: boolean;
  /** Takes one line at a time, with its line break. */
  readonly write: (line: string) => void;
  /** Ms since the start of a simulation, in place of the time of day. */
  readonly simulated?: () => number;
}

/** A log. Lines go to `write` at once: nothing is buffered that could be lost when the process ends. */
export function createLog({ format, color, write, simulated }: LogOptions): Log {
  const options = { base: null, ...(simulated === undefined ? {} : { timestamp: () => `,"time":${simulated()}` }) };
  if (format === 'json') return pino(options, { write });
  const time = simulated === undefined ? timeOfDay : sinceStart;
  const pretty = prettyFactory({ colorize: color, hideObject: true, ignore: 'level,time', messageFormat: lineWith(time) });
  return pino(options, { write: (line) => write(pretty(line)) });
}

function timeOfDay(ms: number): string {
  return new Date(ms).toTimeString().slice(0, 8);
}

function sinceStart(ms: number): string {
  return `${(ms / 1000).toFixed(1).padStart(7)} s`;
}

type MessageFormat = Exclude<NonNullable<PrettyOptions['messageFormat']>, string | false>;

/** Makes one line of an entry, never more: names and errors are not ours. Moves have `msg: "move"`, as in the JSON. */
const lineWith =
  (timeText: (ms: number) => string): MessageFormat =>
  (log, messageKey, _levelLabel, { colors }) => {
    const time = colors.gray(timeText(Number(log.time)));
    const text = printable(String(log[messageKey]));
    if (text !== 'move') {
      const level = Number(log.level);
      return `${time} ${level >= 50 ? `${colors.red('ERROR')} ` : level >= 40 ? `${colors.yellow('WARN')} ` : ''}${text}`;
    }
    const { guest, from, to, reason, dryRun, error } = log;
    const paint = error !== undefined ? colors.red : Number(to) > Number(from) ? colors.green : colors.cyan;
    const figures = `used ${mib(log.used)}, spare ${mib(log.spare)}, need ${mib(log.need)}, allocation ${mib(log.allocation)}`;
    const fate = error !== undefined ? `  failed: ${printable(String(error))}` : dryRun === true ? '  (dry run)' : '';
    return `${time} ${printable(String(guest)).padEnd(12)} ${paint(`${mib(from).padStart(6)} → ${mib(to).padStart(4)} MiB`)}  ${String(reason).padEnd(10)} ${figures}${fate}`;
  };

/** A figure that is not known (NaN; null in JSON) is a dash. */
function mib(kib: unknown): string {
  return typeof kib === 'number' ? String(Math.round(kib / MiB)) : '-';
}

/** Logs a move with the figures behind it (KiB). */
export function logMove(log: Log, move: MoveOutcome, dryRun: boolean): void {
  const { uuid, name, from, to, actual, used, spare, need, allocation, reason, applied, error } = move;
  const fields = { guest: name, uuid, from, to, actual, used, spare, need, allocation, reason, applied, ...(dryRun ? { dryRun } : {}) };
  if (error === undefined) log.info(fields, 'move');
  else log.warn({ ...fields, error: error.message, ...('code' in error ? { code: error.code } : {}) }, 'move');
}

export function logNotice(log: Log, { kind, level, guest, uuid, message, figures }: Notice): void {
  log[level]({ kind, guest, uuid, figures }, message);
}
