/** Sizes. In code every size is a number of KiB, as in libvirt; people see and write `512MiB`, `4GiB`. */

/** One MiB, in KiB. */
export const MiB = 1024;
/** One GiB, in KiB. */
export const GiB = 1024 * 1024;

/** Bytes of a unit, by the prefixes of virScaleInteger in libvirt. */
function bytesOf(unit: string): number | undefined {
  const match = /^([kmgtpe])(b|ib)?$/i.exec(unit);
  if (match?.[1] === undefined) return undefined;
  const power = 'kmgtpe'.indexOf(match[1].toLowerCase()) + 1;
  return (match[2]?.toLowerCase() === 'b' ? 1000 : 1024) ** power;
}

/**
 * Reads a size that a person wrote, as virsh does: a number and a unit in any case, `8G` and `8GiB` by 1024, `8GB` by 1000. Unlike virsh it
 * requires the unit and accepts decimals.
 *
 * @returns KiB, rounded up to a whole number as libvirt does.
 * @throws RangeError if the text is not such a size; the message says what is allowed.
 */
export function parseSize(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i.exec(text);
  const bytes = match?.[2] === undefined ? undefined : bytesOf(match[2]);
  if (match?.[1] === undefined || bytes === undefined) {
    throw new RangeError(`'${text}' is not a size: write a number with a unit, such as 512MiB or 4GiB (KiB, MiB, GiB, TiB)`);
  }
  const kib = Math.ceil((Number(match[1]) * bytes) / 1024);
  if (!Number.isSafeInteger(kib)) throw new RangeError(`'${text}' is too large to be a size of memory`);
  return kib;
}

/** A size, KiB, or a percentage of a whole that is known only later: the host's memory, or a guest's maximum. */
export type Amount = number | { readonly percent: number };

/**
 * Reads a size, or a percentage of a whole: `4GiB`, `80%`.
 *
 * @throws RangeError where the text is neither; the message says what is allowed.
 */
export function parseAmount(text: string): Amount {
  const percent = /^\s*(\d+(?:\.\d+)?)\s*%\s*$/.exec(text)?.[1];
  if (percent === undefined) return parseSize(text);
  if (Number(percent) > 100) throw new RangeError(`'${text}' is more than all there is: write a percentage up to 100%`);
  return { percent: Number(percent) };
}

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

/** Whether one amount is known to be more than another: a size and a percentage cannot be compared. */
export function isMore(one: Amount, other: Amount): boolean {
  if (typeof one === 'number') return typeof other === 'number' && one > other;
  return typeof other === 'object' && one.percent > other.percent;
}
