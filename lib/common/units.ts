/**
 * Sizes. Inside, every size is a number of KiB, as libvirt has it; people see and write `512MiB`, `4GiB`.
 */

/** One MiB, in KiB. */
export const MiB = 1024;
/** One GiB, in KiB. */
export const GiB = 1024 * 1024;

const FACTORS: Readonly<Record<string, number>> = { k: 1, kib: 1, m: MiB, mib: MiB, g: GiB, gib: GiB, t: 1024 * GiB, tib: 1024 * GiB };

/**
 * Reads a size that a person wrote: a number and one of KiB, MiB, GiB, TiB (or K, M, G, T, which mean the same), in any case.
 *
 * @returns KiB, rounded to a whole number.
 * @throws RangeError where the text is no such size; the message says what is allowed.
 */
export function parseSize(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i.exec(text);
  const factor = match?.[2] === undefined ? undefined : FACTORS[match[2].toLowerCase()];
  if (match?.[1] === undefined || factor === undefined) {
    throw new RangeError(`'${text}' is not a size: write a number with a unit, such as 512MiB or 4GiB (KiB, MiB, GiB, TiB)`);
  }
  const kib = Math.round(Number(match[1]) * factor);
  if (!Number.isSafeInteger(kib)) throw new RangeError(`'${text}' is too large to be a size of memory`);
  return kib;
}

/** A size, KiB, or a part of a whole that is known only later: of the host's memory, of a guest's maximum. */
export type Amount = number | { readonly percent: number };

/** What an amount comes to, KiB. */
export function amountOf(amount: Amount, whole: number): number {
  return typeof amount === 'number' ? amount : Math.round((whole * amount.percent) / 100);
}

/** Writes KiB for a person: `300MiB`, or `4GiB` where it is a whole number of GiB. Rounds to a MiB. */
export function formatSize(kib: number): string {
  if (!Number.isFinite(kib)) return '-';
  const mib = Math.round(kib / MiB);
  return mib !== 0 && mib % 1024 === 0 ? `${mib / 1024}GiB` : `${mib}MiB`;
}

/** Writes an amount for a person: `4GiB`, `80%`. */
export function formatAmount(amount: Amount): string {
  return typeof amount === 'number' ? formatSize(amount) : `${amount.percent}%`;
}

/** Whether one amount is known to be more than another: of a size and a part nobody knows. */
export function isMore(one: Amount, other: Amount): boolean {
  if (typeof one === 'number') return typeof other === 'number' && one > other;
  return typeof other === 'object' && one.percent > other.percent;
}
