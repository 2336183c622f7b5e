/** A run's results as text: for the terminal, docs/benchmark.md and README. */
import { table } from '../lib/cli/table.js';
import { isMet, targetText } from './judge.js';
import type { Machine } from './machine.js';
import type { Answer, Ratio, Table } from './question.js';

/** All of results.json. */
export interface Results {
  readonly machine: Machine;
  readonly answers: readonly { readonly name: string; readonly title: string; readonly answer: Answer }[];
}

/** Three digits that count, and no exponent. */
export function numberText(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

function cellText(cell: number | string | null): string {
  return typeof cell === 'number' ? numberText(cell) : (cell ?? '-');
}

const rowsOf = ({ columns, rows }: Table): string[][] => [[...columns], ...rows.map(({ name, cells }) => [name, ...cells.map(cellText)])];

function ratioTable(ratios: readonly Ratio[]): Table {
  const rows = ratios.map((ratio) => ({
    name: ratio.name,
    cells: [numberText(ratio.value), targetText(ratio), isMet(ratio) ? 'yes' : 'no'],
  }));
  return { title: 'Against the targets', columns: ['ratio', 'measured', 'target', 'met'], rows };
}

export function allRatios({ answers }: Results): Ratio[] {
  return answers.flatMap(({ answer }) => answer.ratios);
}

/** The table for the terminal. */
export function plainText(results: Results): string {
  const tables = results.answers.flatMap(({ answer }) => answer.tables);
  const parts = [...tables, ratioTable(allRatios(results))].map((each) => [each.title, ...table(rowsOf(each), 1)].join('\n'));
  return [...parts, machineText(results.machine)].join('\n\n');
}

function markdownTable(each: Table): string {
  const [head = [], ...rows] = rowsOf(each).map((row) => row.map((cell) => cell.replaceAll('|', '\\|')));
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), `|${head.map((_, column) => (column === 0 ? '---' : '---:')).join('|')}|`, ...rows.map(line)].join('\n');
}

/** What README shows: the beginnings of the ratios' names. */
const HEADLINES = [
  'virsh loop / memcoord, wall, 4 real guests, read',
  'virsh loop / memcoord, CPU, 4 real guests, read',
  'sweep / floor with 4 threads, wall, 4 real guests',
  'reaction: first byte',
  'burst: memcoord / virsh loop',
];

/** README's section, between its markers. */
export function headlines(results: Results): string {
  const shown = allRatios(results).filter(({ name }) => HEADLINES.some((headline) => name.startsWith(headline)));
  return [machineText(results.machine), markdownTable(ratioTable(shown))].join('\n\n');
}

/** The section of docs/benchmark.md, between its markers. @param plots the picture of each answer that has one, by the question's name. */
export function markdown(results: Results, plots: ReadonlyMap<string, string>): string {
  const parts = [machineText(results.machine), markdownTable(ratioTable(allRatios(results)))];
  for (const { name, title, answer } of results.answers) {
    parts.push(`### ${title}`);
    for (const each of answer.tables) parts.push(`**${each.title}**`, markdownTable(each));
    if (answer.notes.length > 0) parts.push(answer.notes.join(' '));
    const plot = plots.get(name);
    if (plot !== undefined) parts.push(`![${title}](${plot})`);
  }
  return parts.join('\n\n');
}

export function machineText(machine: Machine): string {
  const { cpu, cores, memoryGiB, kernel, libvirt, qemu, acceleration, node, commit, date, mode } = machine;
  const guests = acceleration === null ? '' : `, guests by ${acceleration === 'kvm' ? 'KVM' : 'software emulation'}`;
  return (
    `Measured on ${date.slice(0, 10)}, commit ${commit}${mode === 'normal' ? '' : ` (--${mode})`}: ${cores} cores of ${cpu}, ` +
    `${numberText(memoryGiB)} GiB, Linux ${kernel}, libvirt ${libvirt}, QEMU ${qemu}${guests}, Node ${node}.`
  );
}
