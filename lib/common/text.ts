/** Foreign text, above all guests' names, on its way to a terminal, a log or a shell. */

/**
 * One line, all of it visible: a line break, a terminal's control character or a change of writing direction would forge what is shown.
 * Each becomes `?`.
 */
export function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?');
}

/** Names that virsh cannot mistake for something else, whatever other guests there are. */
const PLAIN_NAME = /^(?!.{36}$)[a-z][\w.+ -]*$/i;

/** How to name a guest to virsh: by its name, or by its UUID if virsh might take the name for an option, an id or another guest's UUID. */
export function guestWord(name: string, uuid: string): string {
  return PLAIN_NAME.test(name) ? name : uuid;
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function shellQuoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
