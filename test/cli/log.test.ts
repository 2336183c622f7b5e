import t from 'tap';
import { createLog, type LogFormat, logMove, logNotice } from '../../lib/cli/log.js';
import type { MoveOutcome } from '../../lib/coordinator/coordinator.js';

const MiB = 1024;
const move: MoveOutcome = {
  uuid: 'u-1',
  name: 'aos_vm1',
  from: 512 * MiB,
  to: 612 * MiB,
  reason: 'need',
  actual: 512 * MiB,
  used: 431 * MiB,
  spare: 81 * MiB,
  need: 690 * MiB,
  allocation: 650 * MiB,
  taker: null,
  applied: true,
};

function written(format: LogFormat, color = false): { lines: string[]; log: ReturnType<typeof createLog> } {
  const lines: string[] = [];
  return { lines, log: createLog({ format, color, write: (line) => lines.push(line) }) };
}

t.test('a move is one readable line, sizes in MiB', async (t) => {
  const { lines, log } = written('pretty');
  logMove(log, move, false);
  logMove(log, { ...move, from: 612 * MiB, to: 512 * MiB, reason: 'give', used: Number.NaN, applied: false }, true);
  logMove(log, { ...move, applied: false, error: new Error('no such domain') }, false);
  t.equal(lines.length, 3);
  t.match(lines[0], /^\d\d:\d\d:\d\d aos_vm1 +512 → {2}612 MiB {2}need {7}used 431, spare 81, need 690, allocation 650\n$/);
  t.match(lines[1], /aos_vm1 +612 → {2}512 MiB {2}give {7}used -, spare 81, need 690, allocation 650 {2}\(dry run\)\n$/);
  t.match(lines[2], / {2}failed: no such domain\n$/);
});

t.test('a move in JSON has all its figures in KiB', async (t) => {
  const { lines, log } = written('json');
  logMove(log, move, false);
  const { time, ...entry } = JSON.parse(lines[0] ?? '');
  t.ok(Math.abs(time - Date.now()) < 10_000);
  t.strictSame(entry, {
    level: 30,
    guest: 'aos_vm1',
    uuid: 'u-1',
    from: 524288,
    to: 626688,
    actual: 524288,
    used: 441344,
    spare: 82944,
    need: 706560,
    allocation: 665600,
    reason: 'need',
    applied: true,
    msg: 'move',
  });
  logMove(
    log,
    { ...move, spare: Number.NaN, applied: false, error: Object.assign(new Error('gone'), { code: 'ERR_LIBVIRT_NO_DOMAIN' }) },
    false,
  );
  const failed = JSON.parse(lines[1] ?? '');
  t.match(failed, { level: 40, spare: null, applied: false, error: 'gone', code: 'ERR_LIBVIRT_NO_DOMAIN' });
});

t.test('a notice has its kind in JSON and its level in words', async (t) => {
  const notice = { kind: 'contended', level: 'warn', message: 'not enough for all', figures: { free: 1 } } as const;
  const json = written('json');
  logNotice(json.log, notice);
  t.match(JSON.parse(json.lines[0] ?? ''), { level: 40, kind: 'contended', msg: 'not enough for all', figures: { free: 1 } });
  const pretty = written('pretty');
  logNotice(pretty.log, notice);
  logNotice(pretty.log, { ...notice, level: 'info' });
  t.match(pretty.lines[0], / WARN not enough for all\n$/);
  t.match(pretty.lines[1], /^\S+ not enough for all\n$/);
});

t.test('colours only where they are asked for', async (t) => {
  const plain = written('pretty');
  logMove(plain.log, move, false);
  plain.log.error('x');
  t.ok(plain.lines.every((line) => !line.includes('\u001b')));
  const coloured = written('pretty', true);
  logMove(coloured.log, move, false);
  t.match(coloured.lines[0], '\u001b[32m');
});
