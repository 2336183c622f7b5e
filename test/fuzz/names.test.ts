import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import t from 'tap';
import { doctor } from '../../lib/cli/doctor.js';
import { createLog, logMove, logNotice } from '../../lib/cli/log.js';
import { monitor } from '../../lib/cli/monitor.js';
import { statusText } from '../../lib/cli/status.js';
import { guestWord, shellQuoted } from '../../lib/common/text.js';
import { defaultConfig } from '../../lib/config/config.js';
import { Coordinator } from '../../lib/coordinator/coordinator.js';
import { readOnce } from '../../lib/coordinator/snapshot.js';
import { VcpuTimes } from '../../lib/libvirt/vcpus.js';
import { MISSED, STATUS, STRIDE } from '../../lib/sweep.js';
import { collected, connectTo, connectWithFacts, hostWith, idle } from '../cli/simulated.js';
import { hostileText, isOneLine } from './hostile.js';

const UUID = '634cbead-b271-4ba1-aedb-8327cb63b6ee';
/** Names that mean something to virsh, a shell, a glob, a terminal or a reader of the log. */
const NAMES = [
  '--all',
  '-c',
  '7',
  UUID,
  '$(reboot)',
  "a'; reboot; '",
  '*',
  'x\r12:00:00 web gone',
  'a\u009b2J',
  'a\u202egol',
  '../../../etc/x',
  '#',
  '~',
  '',
];
const name = fc.oneof(fc.constantFrom(...NAMES), hostileText);

t.test("each line of the log is one, whatever a guest's name or libvirt's error says", async (t) => {
  fc.assert(
    fc.property(name, name, fc.boolean(), (guest, text, failed) => {
      for (const format of ['pretty', 'json'] as const) {
        const lines: string[] = [];
        const log = createLog({ format, color: false, write: (line) => void lines.push(line) });
        const move = {
          uuid: UUID,
          name: guest,
          from: 1,
          to: 2,
          reason: 'need',
          actual: 1,
          used: 1,
          spare: 0,
          need: 2,
          allocation: 2,
          taker: null,
        } as const;
        logMove(log, failed ? { ...move, applied: false, error: new Error(text) } : { ...move, applied: true }, false);
        logNotice(log, { kind: 'phase', level: 'warn', guest, uuid: UUID, message: `${guest} is silent: ${text}` });
        if (lines.length !== 2 || !lines.every((line) => line.endsWith('\n') && (format === 'json' || isOneLine(line.slice(0, -1)))))
          return false;
        if (!lines.every((line) => line.indexOf('\n') === line.length - 1)) return false;
      }
      return true;
    }),
    { numRuns: 500 },
  );
  t.pass('500 names and errors');
});

t.test('tables, and what doctor says, have the lines that they have for any other guest', async (t) => {
  await fc.assert(
    fc.asyncProperty(name, async (odd) => {
      const shown = async (called: string) => {
        const host = hostWith(idle(called, { driver: false }), idle('other'));
        const { print, text } = collected();
        await doctor({}, connectWithFacts(host, called, { obstacles: ['vfio device x'], metadata: '<m min="lots"/>' }), print);
        const status = statusText(await readOnce(await host.connect(), defaultConfig()));
        const lines = collected();
        const hints = collected();
        await monitor(
          { count: '1' },
          { connect: connectWithFacts(host, called, {}), print: lines.print, hint: hints.print, time: host.time },
        );
        return { doctor: text().split('\n'), status: status.split('\n'), monitor: lines.text().split('\n'), hints: hints.lines };
      };
      const [strange, plain] = [await shown(odd), await shown('plain')];
      const all = [strange.doctor, strange.status, strange.monitor, strange.hints];
      const those = [plain.doctor, plain.status, plain.monitor, plain.hints];
      return all.every((lines, i) => lines.length === those[i]?.length && lines.every(isOneLine));
    }),
    { numRuns: 150 },
  );
  t.pass('150 names');
});

t.test('a command that doctor gives is of that guest, and of nothing else that a shell or virsh might make of its name', async (t) => {
  fc.assert(
    fc.property(name, (odd) => {
      const word = guestWord(odd, UUID);
      return word === UUID || (word === odd && /^[a-z][\w.+ -]*$/i.test(word) && word.length !== UUID.length);
    }),
  );
  for (const plain of ['aos_vm1', 'a b', 'Web-1.example+x']) t.equal(guestWord(plain, UUID), plain);
  for (const odd of NAMES) t.equal(guestWord(odd, UUID), UUID, odd);
  const words = fc.sample(hostileText, 200).map((text) => text.replace(/[\0\p{Cs}]/gu, ''));
  const echoed = execFileSync('/bin/sh', ['-c', words.map((word) => `printf '%s\\0' ${shellQuoted(word)}`).join('; ')], {
    encoding: 'utf8',
  });
  t.strictSame(echoed.split('\0').slice(0, -1), words, 'a shell takes a quoted word for that word');
});

t.test('a command in a notice is of that guest too: whatever its name, no shell makes more of it', async (t) => {
  const noticed = async (called: string): Promise<{ readonly word: string; readonly messages: string[] }> => {
    const host = hostWith(idle(called), idle('other'));
    let hangs = false;
    const connect = connectTo(host, (real) => ({
      sample: async (options) => {
        const sweep = await real.sample(options);
        if (hangs) sweep.figures.fill(Number.NaN, 0, STRIDE).fill(MISSED, STATUS, STATUS + 1);
        return sweep;
      },
    }));
    const coordinator = new Coordinator({
      connect: () => connect('', { readOnly: true }),
      config: defaultConfig(),
      dryRun: true,
      time: host.time,
    });
    const { uuid } = host.guest(called);
    const messages: string[] = [];
    coordinator.on('notice', (notice) => notice.uuid === uuid && messages.push(notice.message));
    await coordinator.start();
    hangs = true;
    await host.pass(5000);
    const stopped = coordinator.stop();
    await host.pass(1000);
    await stopped;
    return { word: shellQuoted(guestWord(called, uuid)), messages };
  };
  const plain = await noticed('plain');
  t.equal(plain.messages.filter((message) => message.includes('virsh')).length, 2);
  await fc.assert(
    fc.asyncProperty(name, async (odd) => {
      const { word, messages } = await noticed(odd);
      t.strictSame(
        messages,
        plain.messages.map((message) => odd + message.slice('plain'.length).replaceAll('plain', () => word)),
      );
    }),
    { numRuns: 100 },
  );
});

t.test('no name leads out of the folder of pid files', async (t) => {
  const root = t.testdir({ run: {}, 'secret.pid': '1\n' });
  const times = new VcpuTimes(`${root}/run`, '/proc');
  fc.assert(fc.property(name, (odd) => Number.isNaN(times.read([{ uuid: odd, name: odd, id: 1 }], 0)[0])));
  t.same([...times.read([{ uuid: UUID, name: '../secret', id: 1 }], 0)], [Number.NaN]);
});
