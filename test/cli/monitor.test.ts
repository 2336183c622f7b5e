import t from 'tap';
import { type MonitorOptions, monitor } from '../../lib/cli/monitor.js';
import { MiB } from '../../lib/common/units.js';
import type { SimHost } from '../../lib/sim/host.js';
import { FAILED, STATUS } from '../../lib/sweep.js';
import { collected, connectTo, hostWith, idle } from './simulated.js';

async function monitored(
  host: SimHost,
  options: MonitorOptions,
  ms = 10_000,
  connect = connectTo(host),
): Promise<{ out: string[]; hints: string[] }> {
  const [out, hints] = [collected(), collected()];
  const ended = monitor(options, { connect, print: out.print, hint: hints.print, time: host.time });
  await host.pass(ms);
  t.equal(await ended, 0);
  return { out: out.lines, hints: hints.lines };
}

/** 512 MiB with 257.21484375 MiB unused: the example of the course. */
function example(): SimHost {
  const host = hostWith(idle('aos_vm1', { uses: () => (512 - 257.21484375) * MiB }));
  host.guest('aos_vm1').setPeriod(1);
  return host;
}

t.test("the lines are the course's, to the letter", async (t) => {
  const host = example();
  await host.pass(2000);
  const { out } = await monitored(host, { count: '1' });
  const unused = (host.guest('aos_vm1').figures?.unused ?? Number.NaN) / 1024;
  t.notOk(Number.isInteger(unused));
  t.strictSame(out, [`Memory (VM: aos_vm1) Actual [512.0], Unused: [${unused}]\n`]);
});

t.test('--machine prints the same figures with commas', async (t) => {
  const host = example();
  await host.pass(2000);
  const { out } = await monitored(host, { count: '1', machine: true });
  t.match(out.join(''), /^memory,aos_vm1,512\.0,[\d.]+\n$/);
});

t.test('a reading every interval by the clock, all guests in the order of their numbers, until --count', async (t) => {
  const host = hostWith(idle('vm10'), idle('vm9'));
  const times: number[] = [];
  const slow = connectTo(host, (real) => ({
    sample: async (options) => {
      times.push(host.now);
      await host.time.sleep(300).done;
      return real.sample(options);
    },
  }));
  const { out } = await monitored(host, { count: '3', interval: '1' }, 10_000, slow);
  t.strictSame(times, [0, 1000, 2000]);
  t.strictSame(
    out.map((lines) => lines.match(/vm\d+/g)),
    Array(3).fill(['vm9', 'vm10']),
  );
});

t.test('a guest that reports nothing prints nan, as Python does, and one hint with the command that turns its figures on', async (t) => {
  const host = hostWith(idle('it is'));
  const { out, hints } = await monitored(host, { count: '3', connect: 'qemu:///system' });
  t.strictSame(out, Array(3).fill('Memory (VM: it is) Actual [512.0], Unused: [nan]\n'));
  t.strictSame(hints, ["it is reports no figures; to turn them on: virsh -c qemu:///system dommemstat 'it is' --period 2 --live"]);
});

t.test('a guest that is asked but does not answer gets no such hint', async (t) => {
  const host = hostWith(idle('mute', { driver: false }));
  host.guest('mute').setPeriod(1);
  const { hints } = await monitored(host, { count: '2' });
  t.strictSame(hints, []);
});

t.test('a guest that cannot be read is left out', async (t) => {
  const host = hostWith(idle('one'));
  const connect = connectTo(host, (real) => ({
    sample: async (options) => {
      const sweep = await real.sample(options);
      sweep.figures[STATUS] = FAILED;
      return sweep;
    },
  }));
  const { out } = await monitored(host, { count: '1' }, 1000, connect);
  t.strictSame(out, ['']);
});

t.test('SIGINT ends it well, at once', async (t) => {
  const host = hostWith(idle('one'));
  const ended = monitor({ interval: '3600' }, { connect: connectTo(host), print: () => {}, hint: () => {}, time: host.time });
  await host.pass(1000);
  process.emit('SIGINT', 'SIGINT');
  t.equal(await ended, 0);
});

t.test('wrong options are refused', async (t) => {
  const connect = connectTo(hostWith());
  for (const count of ['0', '-1', '1.5', 'many']) {
    await t.rejects(monitor({ count }, { connect }), {
      code: 'ERR_MEMCOORD_USAGE',
      message: `option --count: '${count}' is not a whole number of 1 or more`,
    });
  }
  await t.rejects(monitor({ interval: '0' }, { connect }), {
    code: 'ERR_MEMCOORD_USAGE',
    message: /^option --interval: '0' is not a time/,
  });
  await t.rejects(monitor({ connect: '' }, { connect }), { code: 'ERR_MEMCOORD_USAGE', message: 'option --connect: must not be empty' });
});
