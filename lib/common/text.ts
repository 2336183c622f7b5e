/** Text that somebody else wrote, guests' names before all, on its way to a terminal, a log or a shell. */

/**
 * In one line, and all of it to be seen: a line break, a terminal's control character or a change of writing direction would forge what
 * is shown. Each is shown as `?`.
 */
export function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?');
}

/** Names that virsh takes for a name, whatever other guests there are. */
const PLAIN_NAME = /^(?!.{36}$)[a-z][\w.+ -]*$/i;

/** How virsh is told a guest: by its name, or by its UUID where virsh might take the name for an option, an id or another guest's UUID. */
export function guestWord(name: string, uuid: string): string {
  return PLAIN_NAME.test(name) ? name : uuid;
}

/** What an error says, whatever it was that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function shellQuoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
