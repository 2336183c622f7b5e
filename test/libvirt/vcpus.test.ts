import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { VcpuTimes } from '../../lib/libvirt/vcpus.js';

const UUID = '634cbead-b271-4ba1-aedb-8327cb63b6ee';
const guest = { uuid: UUID, name: 'web', id: 3 };

/** A host with one guest of two virtual CPUs, in a folder. */
function host(root: string, uuid = UUID): VcpuTimes {
  const tasks = join(root, 'proc/77/task');
  const threads = { 77: ['qemu-system-x86', 5e9], 80: ['CPU 0/KVM', 2e6], 81: ['CPU 1/KVM', 3e6] } as const;
  for (const [task, [comm, ns]] of Object.entries(threads)) {
    mkdirSync(join(tasks, task), { recursive: true });
    writeFileSync(join(tasks, task, 'comm'), `${comm}\n`);
    writeFileSync(join(tasks, task, 'schedstat'), `${ns} 99 7\n`);
  }
  writeFileSync(join(root, 'proc/77/cmdline'), `qemu\0-name\0guest=web\0-uuid\0${uuid}\0`);
  mkdirSync(join(root, 'run'), { recursive: true });
  writeFileSync(join(root, 'run/web.pid'), '77\n');
  return new VcpuTimes(join(root, 'run'), join(root, 'proc'));
}

test('sums the threads of the virtual CPUs, and only those', async (t) => {
  const times = host(t.testdir());
  t.same([...times.read([guest], 0)], [5]);
});

test('a guest that the host says nothing of is not known, and does not disturb the others', async (t) => {
  const times = host(t.testdir());
  const stranger = { uuid: 'x', name: 'stranger', id: 4 };
  t.same([...times.read([stranger, guest], 0)], [Number.NaN, 5]);
});

test('a pid file whose process is not the guest is not believed', async (t) => {
  const times = host(t.testdir(), '00000000-0000-0000-0000-000000000000');
  t.same([...times.read([guest], 0)], [Number.NaN]);
});

test('a virtual CPU that was unplugged, or plugged in, is noticed', async (t) => {
  const root = t.testdir();
  const times = host(root);
  times.read([guest], 0);
  // Of a thread that has ended the kernel tells nothing, though its file is open.
  writeFileSync(join(root, 'proc/77/task/81/schedstat'), '');
  rmSync(join(root, 'proc/77/task/81'), { recursive: true });
  t.same([...times.read([guest], 100)], [Number.NaN], 'once, while the threads are out of date');
  t.same([...times.read([guest], 200)], [2]);
  mkdirSync(join(root, 'proc/77/task/82'));
  writeFileSync(join(root, 'proc/77/task/82/comm'), 'CPU 1/KVM\n');
  writeFileSync(join(root, 'proc/77/task/82/schedstat'), '4000000 0 0\n');
  t.same([...times.read([guest], 300)], [2]);
  t.same([...times.read([guest], 60_000)], [6]);
});

test('another start of the guest is another process', async (t) => {
  const root = t.testdir();
  const times = host(root);
  times.read([guest], 0);
  writeFileSync(join(root, 'proc/77/task/80/schedstat'), '9000000 0 0\n');
  rmSync(join(root, 'run/web.pid'));
  t.same([...times.read([{ ...guest, id: 4 }], 100)], [Number.NaN]);
});

test('virtual CPUs are counted, those that the host says nothing of as one a guest', async (t) => {
  const times = host(t.testdir());
  t.equal(times.count([guest], 0), 2);
  t.equal(times.count([guest, { uuid: 'x', name: 'stranger', id: 4 }], 0), 3);
});

test('guests that are gone are forgotten, and looked up anew when they come back', async (t) => {
  const root = t.testdir();
  const times = host(root);
  const others = [{ uuid: 'x', name: 'x', id: 5 }];
  times.read([guest], 0);
  times.read(others, 100);
  t.equal(times.known, 2, 'what has been looked up may be needed again in the next moment');
  times.read(others, 200);
  t.equal(times.known, 1);
  rmSync(join(root, 'run/web.pid'));
  t.same([...times.read([guest], 300)], [Number.NaN]);
});

test('files are closed when a guest is forgotten, and in the end', async (t) => {
  const open = () => readdirSync('/proc/self/fd').length;
  const times = host(t.testdir());
  const before = open();
  times.read([guest], 0);
  t.equal(open(), before + 2);
  times.read([guest], 60_000);
  t.equal(open(), before + 2, 'looked up again');
  times.read([{ uuid: 'x', name: 'x', id: 5 }], 60_000);
  times.read([{ uuid: 'x', name: 'x', id: 5 }], 60_000);
  t.equal(open(), before);
  times.read([guest], 60_000);
  times.close();
  t.equal(open(), before);
  t.same([...times.read([guest], 60_000)], [5], 'as good as new');
  times.close();
});

test('threads whose time cannot be opened, or read, make a guest unknown', async (t) => {
  const root = t.testdir();
  const times = host(root);
  const file = join(root, 'proc/77/task/81/schedstat');
  rmSync(file);
  t.same([...times.read([guest], 0)], [Number.NaN]);
  t.equal(times.count([guest], 0), 1);
  mkdirSync(file);
  t.same([...times.read([guest], 60_000)], [Number.NaN]);
  times.close();
});
