/** Results of the lab's tests, as TAP 14 on stdout. */

export interface Tap {
  /** One result; a `detail` that begins with SKIP says why it was not tested. */
  result(ok: boolean, name: string, detail: string): void;
  /** A line for a person. */
  tell(line: string): void;
  /** Prints the plan and the totals. @returns true where nothing has failed. */
  end(): boolean;
}

export function startTap(print: (line: string) => void = console.log): Tap {
  let [count, failed] = [0, 0];
  print('TAP version 14');
  return {
    result(ok, name, detail) {
      count++;
      if (!ok) failed++;
      const skipped = detail.startsWith('SKIP');
      // In TAP a number sign begins a directive.
      print(
        `${ok ? 'ok' : 'not ok'} ${count} - ${name.replaceAll('#', '')}${skipped ? ` # ${detail}` : ` (${detail.replaceAll('#', '')})`}`,
      );
    },
    tell: (line) => print(`# ${line}`),
    end() {
      print(`1..${count}`);
      print(`# ${count - failed} passed, ${failed} failed`);
      return failed === 0;
    },
  };
}
