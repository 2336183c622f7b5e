import { printable } from '../common/text.js';
import { MiB } from '../common/units.js';

/** A figure in MiB; `-` where it is not known. */
export function mib(kib: number): string {
  return Number.isFinite(kib) ? String(Math.round(kib / MiB)) : '-';
}

/** Formats rows of any text as aligned lines: the first `left` columns to the left, the others, figures, to the right. */
export function table(cells: readonly (readonly string[])[], left: number): string[] {
  const rows = cells.map((row) => row.map(printable));
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column < left ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}
