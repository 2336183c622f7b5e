/** `memcoord status`: one reading of host and guests. */

import { printable } from '../common/text.js';
import { formatSize } from '../common/units.js';
import { type GuestView, readOnce, type Snapshot } from '../coordinator/snapshot.js';
import { stateOf } from '../coordinator/state.js';
import { byName, type Connect, configFrom, connectLibvirt, type Options, printOut, READING_DEADLINE_MS } from './session.js';
import { mib, table } from './table.js';

export async function status(options: Options & { json?: boolean }, connect: Connect = connectLibvirt, print = printOut): Promise<number> {
  const config = await configFrom(options);
  const hypervisor = await connect(config.uri, { readOnly: true });
  try {
    const state = await stateOf(hypervisor, () => {}, { readOnly: true });
    const snapshot = await readOnce(hypervisor, config, undefined, await state?.load());
    print(options.json === true ? JSON.stringify({ uri: hypervisor.uri, unit: 'KiB', ...snapshot }, null, 2) : statusText(snapshot));
  } finally {
    await hypervisor.close({ deadlineMs: READING_DEADLINE_MS });
  }
  return 0;
}

/** An age in its largest unit that fits. */
function ageText(seconds: number): string {
  if (!Number.isFinite(seconds)) return '-';
  for (const [unit, length] of [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
  ] as const) {
    if (seconds >= 2 * length) return `${Math.round(seconds / length)} ${unit}`;
  }
  return `${Math.round(seconds)} s`;
}

const COLUMNS: readonly { readonly title: string; readonly cell: (guest: GuestView) => string }[] = [
  { title: 'guest', cell: ({ name }) => name },
  { title: 'phase', cell: ({ phase }) => phase },
  { title: 'actual', cell: ({ actual }) => mib(actual) },
  { title: 'used', cell: ({ used }) => mib(used) },
  { title: 'spare', cell: ({ spare }) => mib(spare) },
  { title: 'working', cell: ({ working }) => mib(working) },
  { title: 'need', cell: ({ need }) => mib(need) },
  { title: 'want', cell: ({ want }) => mib(want) },
  { title: 'alloc', cell: ({ allocation }) => mib(allocation) },
  { title: 'floor', cell: ({ floor }) => mib(floor) },
  { title: 'ceiling', cell: ({ ceiling }) => mib(ceiling) },
  { title: 'share', cell: ({ share }) => String(share) },
  { title: 'reacts', cell: ({ reaction }) => (Number.isFinite(reaction) ? `${(reaction / 1000).toFixed(1)} s` : '-') },
  { title: 'survives', cell: ({ survivableBurst }) => (Number.isFinite(survivableBurst) ? `${mib(survivableBurst)}/s` : '-') },
  { title: 'age', cell: ({ statsAge }) => ageText(statsAge / 1000) },
];

/** The host's memory and what it may be used for, in sums that add up. Sizes in MiB. */
function hostLines(host: Snapshot['host']): string[] {
  const arc = host.arc > 0 ? ` + ${mib(host.arc)} of ZFS' ARC (its minimum of ${mib(host.arcMinimum)} not counted)` : '';
  const cgroup = host.cgroupRoom === null ? '' : `, ${mib(host.cgroupRoom)} within the guests' cgroup`;
  const pool = host.pool === null ? '' : `; pool ${mib(host.pool)}`;
  return [
    `Host (MiB): total ${mib(host.total)}, MemAvailable ${mib(host.memAvailable)}${arc}${cgroup}: available ${mib(host.available)}, reserve ${mib(host.reserve)}${pool}`,
    `Guests: controlled ones hold ${mib(host.charged)}, others ${mib(host.uncontrolled)}: ${host.state}${host.pressure ? ', the host under memory pressure' : ''}`,
    `Need may grow by ${mib(host.room)}: available less reserve, ${mib(host.liability)} that guests can take at once, ${mib(host.granted)} granted and not taken yet${bound(host, host.room)}`,
    `Cushions may grow by ${mib(host.optionalRoom)}: available less reserve and all ${mib(host.untouched)} that guests may still take${bound(host, host.optionalRoom)}`,
  ];
}

function bound({ pool, charged, uncontrolled }: Snapshot['host'], room: number): string {
  return pool !== null && Math.abs(pool - charged - uncontrolled - room) < 1 ? '; bounded by the pool' : '';
}

function noteOn({ name, why, controlled, rss, untouched }: GuestView): string {
  if (controlled) return `${name} is not moved: ${why}`;
  const holds = Number.isNaN(rss) ? '' : `, holds ${formatSize(rss)}`;
  return `${name} is not controlled: ${why}${holds}, may take ${formatSize(untouched)} more`;
}

/** The reading for people. Sizes in MiB. */
export function statusText({ host, guests }: Snapshot): string {
  const lines = [...hostLines(host), ''];
  if (guests.length === 0) return [...lines, 'No guest is running.'].join('\n');
  const sorted = byName(guests);
  lines.push(
    ...table([COLUMNS.map(({ title }) => title.toUpperCase()), ...sorted.map((guest) => COLUMNS.map(({ cell }) => cell(guest)))], 2),
  );
  const notes = sorted.filter(({ why }) => why !== null).map((guest) => printable(noteOn(guest)));
  if (notes.length > 0) lines.push('', ...notes);
  return lines.join('\n');
}
