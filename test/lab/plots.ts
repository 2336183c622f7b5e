/**
 * `scripts/plots`: draws the runs that `npm run test:lab` has kept in .lab/results, one picture a test into docs/plots, and writes the
 * tables of figures into README.md and docs/classic-tests.md between their markers.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Verdict } from './judge.js';
import type { CacheRecording } from './passes.js';
import { writeSection } from './readme.js';
import type { Recording } from './recording.js';
import { LAB, LabError, ROOT } from './shell.js';
import { picture } from './svg.js';

const MiB = 1024;
const GiB = 1024 * MiB;
const TITLES = {
  1: 'Test 1: guest 1 eats until it is out of memory, then frees',
  2: 'Test 2: all eat until they are out of memory, then free',
  3: 'Test 3: all eat 400 MiB; then 1 and 2 free while 3 and 4 go on',
} as const;

interface Run {
  readonly recording: Recording;
  readonly verdicts: readonly Verdict[];
  /** `memcoord`, or the command of another coordinator. */
  readonly coordinator: string;
}

async function readRun(test: number, gib: number): Promise<Run | null> {
  const text = await readFile(join(LAB, 'results', `test${test}-${gib}GiB.json`), 'utf8').catch(() => null);
  const run = text === null ? null : (JSON.parse(text) as Run);
  // The figures of another coordinator are not ours to show.
  return run?.coordinator === 'memcoord' ? run : null;
}

/** One panel a guest: balloon and unused memory over time, with a dashed line where a stage begins. */
export function draw(recording: Recording): string {
  const [width, height, left, top, gap] = [400, 150, 46, 62, 40];
  const from = recording.stages[0]?.from ?? 0;
  const samples = recording.samples.filter((sample) => sample.t >= from - 3);
  const length = Math.max(1, (samples.at(-1)?.t ?? from) - from + 3);
  const x = (t: number): string => (((t - from + 3) / length) * width).toFixed(1);
  const y = (kib: number): string => (height - (Math.min(kib, recording.maximum) / recording.maximum) * height).toFixed(0);
  const parts: string[] = [];
  recording.guests.forEach((guest, index) => {
    const originX = left + (index % 2) * (width + left + 10);
    const originY = top + Math.floor(index / 2) * (height + gap);
    const line = (series: 'actual' | 'unused', style: string): string => {
      const points = samples.flatMap((sample) => {
        const value = sample[series][index];
        // What was not reported is NaN, which JSON writes as null.
        return value === undefined || value === null || Number.isNaN(value) ? [] : [`${x(sample.t)},${y(value)}`];
      });
      return `<polyline fill="none" ${style} points="${points.join(' ')}"/>`;
    };
    const grid = [0, 512, 1024, 1536, 2048]
      .filter((mib) => mib * MiB <= recording.maximum)
      .map(
        (mib) =>
          `<path class="g" d="M0 ${y(mib * MiB)}h${width}"/><text x="-5" y="${Number(y(mib * MiB)) + 4}" text-anchor="end">${mib}</text>`,
      );
    const seconds: string[] = [];
    for (let t = 0; t <= length - 3; t += 30)
      seconds.push(`<text x="${x(from + t)}" y="${height + 14}" text-anchor="middle">${t} s</text>`);
    const stages = recording.stages.slice(1).map((stage) => `<path class="s" d="M${x(stage.from)} 0v${height}"/>`);
    parts.push(
      `<g transform="translate(${originX} ${originY})">${grid.join('')}${seconds.join('')}${stages.join('')}` +
        `<text x="6" y="14" class="n">${guest}</text>${line('actual', 'class="a"')}${line('unused', 'class="u"')}</g>`,
    );
  });
  const total = { width: 2 * (width + left + 10), height: top + Math.ceil(recording.guests.length / 2) * (height + gap) - 12 };
  const style =
    '.g{stroke:#ddd}.s{stroke:#888;stroke-dasharray:4 3}.a{stroke:#1f5fbf;stroke-width:2}.u{stroke:#d9822b;stroke-width:1.5}.n{font-weight:bold;fill:#222}';
  return picture(total, style, [
    `<text x="${left}" y="22" font-size="14" fill="#222">${TITLES[recording.test]}; pool ${recording.pool / GiB} GiB (MiB over time)</text>`,
    `<path class="a" d="M${left} 38h24"/><text x="${left + 30}" y="42">balloon (actual)</text><path class="u" d="M${left + 130} 38h24"/><text x="${left + 160}" y="42">unused</text><path class="s" d="M${left + 220} 38h24"/><text x="${left + 250}" y="42">next stage</text>`,
    ...parts,
  ]);
}

/** A guest that reads a file again and again, found out: its balloon, and under it what it reads from the disk each second. */
export function drawReader({ samples, begun, ended }: CacheRecording): string {
  const [width, height, low, left, top] = [800, 170, 80, 52, 44];
  const seen = samples.filter(({ t }) => t >= begun - 10 && t <= ended);
  const from = begun - 10;
  const x = (t: number): string => (((t - from) / (ended - from)) * width).toFixed(1);
  const most = 2 * GiB;
  const y = (kib: number): string => (height - (Math.min(kib, most) / most) * height).toFixed(1);
  const balloon = seen.map(({ t, actual }) => `${x(t)},${y(actual[0] ?? 0)}`);
  const rates = seen.slice(1).map(({ t, read }, i) => {
    const before = seen[i];
    const rate = before === undefined ? 0 : ((read[0] ?? 0) - (before.read[0] ?? 0)) / Math.max(0.1, t - before.t) / MiB;
    return `${x(t)},${(low - (Math.min(rate, 100) / 100) * low).toFixed(1)}`;
  });
  const grid = [0, 512, 1024, 1536, 2048].map(
    (mib) =>
      `<path class="g" d="M0 ${y(mib * MiB)}h${width}"/><text x="-5" y="${Number(y(mib * MiB)) + 4}" text-anchor="end">${mib}</text>`,
  );
  const scale = [0, 50, 100].map(
    (rate) =>
      `<path class="g" d="M0 ${low - (rate / 100) * low}h${width}"/><text x="-5" y="${low - (rate / 100) * low + 4}" text-anchor="end">${rate}</text>`,
  );
  const times: string[] = [];
  for (let t = 0; t <= ended - begun; t += 30) times.push(`<text x="${x(begun + t)}" y="${low + 16}" text-anchor="middle">${t} s</text>`);
  const style = '.g{stroke:#ddd}.s{stroke:#888;stroke-dasharray:4 3}.a{stroke:#1f5fbf;stroke-width:2}.u{stroke:#d9822b;stroke-width:1.5}';
  const start = (tall: number) => `<path class="s" d="M${x(begun)} 0v${tall}"/>`;
  return picture({ width: left + width + 26, height: top + height + 34 + low + 26 }, style, [
    `<text x="${left}" y="20" font-size="14" fill="#222">A guest of 2 GiB reads a file of 1,000 MiB again and again; memcoord is started at 0 s</text>`,
    `<text x="${left}" y="37">balloon (MiB)</text><g transform="translate(${left} ${top})">${grid.join('')}${start(height)}<polyline fill="none" class="a" points="${balloon.join(' ')}"/></g>`,
    `<text x="${left}" y="${top + height + 22}">read from disk (MiB/s)</text><g transform="translate(${left} ${top + height + 30})">${scale.join('')}${start(low)}<polyline fill="none" class="u" points="${rates.join(' ')}"/>${times.join('')}</g>`,
  ]);
}

/** A row of the table: what came out, by the figures that the criteria found. */
function row({ recording, verdicts }: Run): string {
  const [eating] = recording.stages;
  const at = (t: number): readonly number[] => recording.samples.findLast((sample) => sample.t <= t)?.actual ?? [];
  const mib = (kib: number | undefined): string => (kib === undefined ? '-' : (kib / MiB).toFixed(0));
  const span = (values: readonly number[]): string => {
    const [low, high] = [mib(Math.min(...values)), mib(Math.max(...values))];
    return low === high ? low : `${low} to ${high}`;
  };
  const detail = (part: string): string => verdicts.find((verdict) => verdict.name.includes(part))?.detail ?? '-';
  const back = recording.ended.flatMap((ended, guest) => {
    const sample =
      ended === null ? undefined : recording.samples.find((sample) => sample.t >= ended && (sample.actual[guest] ?? Infinity) < 700 * MiB);
    return ended === null ? [] : [sample === undefined ? Infinity : sample.t - ended];
  });
  const seconds = `${Math.max(...back).toFixed(0)} s`;
  const sums = recording.samples
    .filter((sample) => sample.t >= (eating?.from ?? 0))
    .map((sample) => sample.actual.reduce((a, b) => a + b, 0));
  let outcome: string;
  if (recording.test === 1) {
    const most = Math.max(...recording.samples.filter((sample) => sample.t >= (eating?.from ?? 0)).map((sample) => sample.actual[0] ?? 0));
    const others = at(eating?.to ?? 0).slice(1);
    outcome = `guest 1 rises to ${mib(most)}, the others fall to ${span(others)}; guest 1 under 700 again after ${seconds}; sum ${mib(sums[0])} → ${mib(sums.at(-1))}`;
  } else if (recording.test === 2) {
    const first = Math.min(...recording.ended.filter((ended) => ended !== null));
    outcome = `all rise to ${span(at(first))} when the first eater ends; all under 700 again after ${seconds} at most; sum at most ${mib(Math.max(...sums))}`;
  } else {
    const plateau = recording.samples.findLast((sample) => sample.t <= (recording.plateau?.to ?? 0));
    outcome = `plateau: balloons ${span(plateau?.actual ?? [])}, usable ${span(plateau?.usable ?? [])}; then ${detail('same minute')}`;
  }
  const passed = verdicts.filter((verdict) => verdict.ok).length;
  return `| ${recording.test} | ${recording.pool / GiB} GiB | ${outcome} | ${passed} of ${verdicts.length} |`;
}

async function main(): Promise<void> {
  const head = ['| test | pool | what came out (MiB) | criteria met |', '|---|---|---|---|'];
  const lines: string[] = [];
  const short: string[] = [];
  const pictures: string[] = [];
  await mkdir(join(ROOT, 'docs/plots'), { recursive: true });
  for (const test of [1, 2, 3] as const) {
    for (const gib of [8, 6, 3]) {
      const run = await readRun(test, gib);
      if (run === null) continue;
      lines.push(row(run));
      // One picture a test: those of the short set.
      if (gib !== { 1: 8, 2: 6, 3: 3 }[test]) continue;
      short.push(row(run));
      const file = `plots/test${test}.svg`;
      await writeFile(join(ROOT, 'docs', file), draw(run.recording));
      pictures.push(`![${TITLES[test]}](${file})`);
      console.log(`drew docs/${file}`);
    }
  }
  const kept = await readFile(join(LAB, 'results', 'cache-reader.json'), 'utf8').catch(() => null);
  const reader = kept === null ? null : (JSON.parse(kept) as { recording: CacheRecording; coordinator: string });
  if (reader?.coordinator === 'memcoord') {
    await writeFile(join(ROOT, 'docs/plots/cache.svg'), drawReader(reader.recording));
    console.log('drew docs/plots/cache.svg');
  }
  if (pictures.length === 0) throw new LabError("there is nothing to draw in .lab/results: 'npm run test:lab -- --full' makes it");
  await writeSection('tests', [...head, ...short].join('\n'));
  await writeSection('tests', `${[...head, ...lines].join('\n')}\n\n${pictures.join('\n\n')}`, 'docs/classic-tests.md');
  console.log('wrote the tables into README.md and docs/classic-tests.md');
}

main().catch((error: unknown) => {
  console.error(error instanceof LabError ? error.message : error);
  process.exitCode = 1;
});
