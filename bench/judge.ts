/** Ratios against their targets. */
import type { Ratio } from './question.js';

/** What is not a number (null, once it has been through JSON) meets nothing. */
export function isMet({ value, target, bound }: Ratio): boolean {
  return Number.isFinite(value) && (bound === 'atMost' ? value <= target : value >= target);
}

/** Worse than half of its target: further off than a noisy machine explains. A time tells of the machine as well, and is not judged. */
export function isFarOff(ratio: Ratio): boolean {
  if (ratio.absolute === true) return !Number.isFinite(ratio.value);
  return !isMet({ ...ratio, target: ratio.bound === 'atMost' ? 2 * ratio.target : ratio.target / 2 });
}

export function targetText({ target, bound }: Ratio): string {
  return `${bound === 'atMost' ? '≤' : '≥'} ${target}`;
}

/** One TAP line for each ratio, and the plan. A number sign would begin a directive. */
export function tap(ratios: readonly Ratio[], number: (value: number) => string): string[] {
  const lines = ratios.map((ratio, i) => {
    const state = isMet(ratio) ? 'met' : 'not met';
    const name = ratio.name.replaceAll('#', '');
    return `${isFarOff(ratio) ? 'not ok' : 'ok'} ${i + 1} - ${name}: ${number(ratio.value)} (target ${targetText(ratio)}, ${state})`;
  });
  return [...lines, `1..${ratios.length}`];
}
