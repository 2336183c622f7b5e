import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { DomainFacts } from '../../lib/hypervisor.js';
import { localHost } from '../../lib/libvirt/local.js';
import { fileRss, processOf, runDirectory } from '../../lib/libvirt/processes.js';
import { MISSED, READ, RSS_FILE, STATUS, STRIDE, type Sweep } from '../../lib/sweep.js';

t.test('run directory: of the system, of the session, none for other drivers and hosts', async (t) => {
  t.equal(runDirectory('qemu:///system'), '/run/libvirt/qemu');
  t.equal(runDirectory('qemu+unix:///system?socket=/x'), '/run/libvirt/qemu');
  t.equal(runDirectory('qemu:///session', { XDG_RUNTIME_DIR: '/run/user/7' }), '/run/user/7/libvirt/qemu/run');
  t.equal(runDirectory('qemu+ssh://there/system'), null);
  t.equal(runDirectory('test:///default'), null);
});

const guest = (name: string, id: number) => ({ uuid: `uuid-of-${name}`, name, id });
const FACTS: DomainFacts = {
  maximum: 4_194_304,
  deviceMemory: 0,
  composed: false,
  virtioMem: 0,
  backing: 'anonymous',
  hardLimit: null,
  current: 4_194_304,
  balloonModel: 'virtio',
  autodeflate: false,
  statsPeriod: 1,
  obstacles: [],
  metadata: null,
};

/** A process of QEMU, in a folder. */
function start(root: string, name: string, pid: number, { rssFile = 0, cgroup = '/', uuid = `uuid-of-${name}` } = {}): void {
  mkdirSync(join(root, 'run'), { recursive: true });
  mkdirSync(join(root, 'proc', String(pid)), { recursive: true });
  writeFileSync(join(root, 'run', `${name}.pid`), `${pid}\n`);
  const write = (file: string, text: string) => writeFileSync(join(root, 'proc', String(pid), file), text);
  write('cmdline', `qemu-system-x86_64\0-name\0guest=${name}\0-uuid\0${uuid}\0`);
  write('status', `Name:\tqemu\nVmRSS:\t 900000 kB\nRssAnon:\t   1000 kB\nRssFile:\t ${rssFile} kB\nRssShmem:\t 0 kB\n`);
  write('cgroup', `0::${cgroup}\n`);
}

function sweepOf(guests: Sweep['guests'], status = READ): Sweep {
  const figures = new Float64Array(guests.length * STRIDE).fill(Number.NaN);
  for (const row of guests.keys()) figures[row * STRIDE + STATUS] = status;
  return { guests, figures };
}
const fileRssOf = ({ guests, figures }: Sweep) => guests.map((_, row) => figures[row * STRIDE + RSS_FILE]);

t.test("a guest's process is the one that its pid file names, if it was started for the guest", async (t) => {
  const root = t.testdir();
  const find = (name: string) => processOf(guest(name, 1), join(root, 'run'), join(root, 'proc'));
  start(root, 'web', 77);
  start(root, 'other', 78, { uuid: 'somebody-else' });
  writeFileSync(join(root, 'run/odd.pid'), 'no number');
  t.equal(find('web'), 77);
  t.equal(find('other'), null);
  t.equal(find('odd'), null);
  t.equal(find('gone'), null);
  t.equal(find('../run/web'), null, 'a name is no path');
  t.same(fileRss(79, join(root, 'proc')), Number.NaN);
});

t.test('pages of files are told of the guests that are backed by them, and of no others', async (t) => {
  const root = t.testdir();
  start(root, 'anon', 77, { rssFile: 100 });
  start(root, 'filed', 78, { rssFile: 800_000 });
  const host = localHost(join(root, 'run'), join(root, 'proc'));
  const guests = [guest('anon', 1), guest('filed', 2)];
  const noted = (sweep: Sweep) => {
    host.noteFileRss(sweep);
    return fileRssOf(sweep);
  };
  t.same(noted(sweepOf(guests)), [Number.NaN, Number.NaN], 'before it is known');
  for (const { uuid, name } of guests) host.withHostFacts(uuid, { ...FACTS, backing: name === 'filed' ? 'file' : 'anonymous' }, guests);
  t.same(noted(sweepOf(guests)), [Number.NaN, 800_000]);
  t.same(noted(sweepOf(guests, MISSED)), [Number.NaN, Number.NaN]);
  t.same(noted(sweepOf([guest('filed', 3)])), [Number.NaN], 'another start of it is another process');
  rmSync(join(root, 'proc/78'), { recursive: true });
  t.same(noted(sweepOf(guests)), [Number.NaN, Number.NaN], 'it has ended');
  host.withHostFacts('uuid-of-filed', { ...FACTS, backing: 'file' }, guests);
  t.same(noted(sweepOf(guests)), [Number.NaN, Number.NaN], 'and is not looked for in vain');
});

t.test("the limit of a guest's own cgroup is a hard limit, the one over all bounds the room", async (t) => {
  const GIB = 2 ** 30;
  const scope = (name: string) => `machine-qemu-${name}.scope`;
  const root = t.testdir({
    cgroup: {
      'machine.slice': {
        'memory.max': `${16 * GIB}\n`,
        'memory.high': 'max\n',
        'memory.current': `${10 * GIB}\n`,
        'memory.stat': `anon ${8 * GIB}\ninactive_file ${GIB}\nactive_file ${GIB}\n`,
        [scope('a')]: { 'memory.max': `${3 * GIB}\n`, 'memory.high': 'max\n' },
        [scope('b')]: { 'memory.max': 'max\n', 'memory.high': 'max\n' },
      },
    },
    proc: { self: { mountinfo: '' } },
  });
  writeFileSync(join(root, 'proc/self/mountinfo'), `30 23 0:26 / ${join(root, 'cgroup')} rw shared:4 - cgroup2 cgroup2 rw\n`);
  for (const [i, name] of ['a', 'b'].entries()) start(root, name, 70 + i, { cgroup: `/machine.slice/${scope(name)}` });
  let now = 0;
  const host = localHost(join(root, 'run'), join(root, 'proc'), () => now);
  const guests = [guest('a', 1), guest('b', 2)];
  t.equal(host.cgroupRoom([]), null, 'before there are guests');
  t.equal(host.cgroupRoom(guests), 8 * 2 ** 20);
  const limitOf = (name: string, facts = FACTS) => host.withHostFacts(`uuid-of-${name}`, facts, guests).hardLimit;
  t.equal(limitOf('a'), 3 * 2 ** 20);
  t.equal(limitOf('a', { ...FACTS, hardLimit: 2 ** 21 }), 2 ** 21, 'the lower of it and <hard_limit>');
  t.equal(limitOf('b'), null);
  t.equal(limitOf('gone'), null);
  writeFileSync(join(root, 'cgroup/machine.slice', scope('b'), 'memory.max'), `${GIB}\n`);
  t.equal(limitOf('b'), null);
  now += 31_000;
  t.equal(limitOf('b'), 2 ** 20, 'one that is set later is found soon');
});
