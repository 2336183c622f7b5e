import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { hostileText } from './hostile.js';

const UNREACHABLE = 'qemu+unix:///system?socket=/nonexistent/socket';

/** What a call of the command comes to. */
interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

t.intercept(process, 'env', { value: { ...process.env, LIBVIRT_DEFAULT_URI: UNREACHABLE } });
const { argv, exitCode, stdout, stderr } = process;
const [writeOut, writeErr] = [stdout.write, stderr.write];

/** Calls what `start` starts as the process would be, with its output collected. */
async function calling(args: readonly string[], start: () => Promise<unknown>): Promise<Ended> {
  let [out, err] = ['', ''];
  process.argv = ['node', 'memcoord', ...args];
  process.exitCode = 0;
  stdout.write = (text: string | Uint8Array) => {
    out += String(text);
    return true;
  };
  stderr.write = (text: string | Uint8Array) => {
    err += String(text);
    return true;
  };
  try {
    await start();
    return { code: Number(process.exitCode ?? 0), out, err };
  } finally {
    [stdout.write, stderr.write] = [writeOut, writeErr];
    Object.assign(process, { argv, exitCode });
  }
}

/** The command is a program: what it is imported for, it does. */
const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url));
let exported: { main(): Promise<void> } | undefined;
const version = await calling(['--version'], async () => {
  exported = (await import(main)) as { main(): Promise<void> };
});
const memcoord = (args: readonly string[]): Promise<Ended> => calling(args, async () => exported?.main());

const command = fc.constantFrom('run', 'status', 'monitor', 'doctor', 'help', 'stauts', '');
const option = fc.constantFrom(
  ...[
    '--interval',
    '--pool',
    '--reserve',
    '--signal',
    '--surplus',
    '--burst',
    '--sampling-budget',
    '--include',
    '--exclude',
    '--count',
    '--log-format',
  ],
  ...[
    '--json',
    '--machine',
    '--dry-run',
    '--help',
    '-h',
    '--version',
    '-V',
    '--',
    '-',
    '--no-json',
    '--inter',
    '--constructor',
    '--__proto__',
  ],
);
const value = fc.oneof(
  fc.constantFrom(
    '1',
    '0',
    '-1',
    '8GiB',
    '5%',
    '200MiB/s',
    '0.1',
    '1e9',
    'usable',
    'guests',
    'json',
    'web-*',
    '[z-a]',
    '999999999999TiB',
    '',
  ),
  hostileText,
);
const word = fc.oneof(
  command,
  option,
  value,
  fc.tuple(option, value).map(([name, text]) => `${name}=${text}`),
);
/** None of them reaches a libvirt, names a file to write, or waits for one to answer. */
const line = fc
  .tuple(command, fc.array(fc.oneof(word, fc.constant('--config'), fc.constant('--record=/nonexistent/x')), { maxLength: 7 }))
  .map(([first, rest]) => [first, ...rest]);

t.test('whatever it is told, it says what is wrong on stderr and ends with 0, 2 or 3', async (t) => {
  t.match(version, { code: 0, out: /^\d+\.\d+\.\d+\n$/, err: '' });
  const codes = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(line, async (args) => {
      const { code, out, err } = await memcoord(args.filter((arg) => !arg.includes('\0')));
      codes.set(code, (codes.get(code) ?? 0) + 1);
      if (code === 0) return out !== '' && err === '';
      return (code === 2 || code === 3) && out === '' && err !== '' && !/^\s+at .*:\d+:\d+\)?$/m.test(err);
    }),
    { numRuns: 800 },
  );
  t.ok(
    [0, 2, 3].every((code) => (codes.get(code) ?? 0) > 20),
    JSON.stringify([...codes]),
  );
});
