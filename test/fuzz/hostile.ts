/** What the fuzz tests share: text that is meant to hurt, and how long reading it may take. */
import fc from 'fast-check';

/** Letters that forge lines, move the cursor, turn the writing round, quote, glob, or sample like an option. */
const HOSTILE = [...'\n\r\t\0\u0007\u001b\u007f\u0085\u009b\u200b\u2028\u2029\u202e\u2066\ufeff\ud800\'"`$\\*?[]{}()!<>&;|#%,:=-/ ~'];

/** A text of hostile letters and ordinary ones. */
export const hostileText = fc.string({
  unit: fc.oneof(
    fc.constantFrom(...HOSTILE),
    fc.constantFrom(...'abcXYZ019_.'),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
  ),
  maxLength: 60,
});

/** One line on any terminal: nothing that breaks it, moves the cursor or turns the writing round. */
export function isOneLine(text: string): boolean {
  return !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(text);
}

/** Ms that `act` takes. */
export function timed(act: () => unknown): number {
  const began = performance.now();
  act();
  return performance.now() - began;
}

/** No text that anybody may write keeps the event loop longer, ms. The worst take one second on a machine that is at rest. */
export const PATIENCE_MS = 5000;
