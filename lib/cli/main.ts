#!/usr/bin/env node
/**
 * The command `memcoord` and its options. The code of a command, and with it the addon, is loaded only when the command is given: help and
 * version need neither.
 */
import { Command, CommanderError, Option } from 'commander';
import { version } from './version.js';

const EXIT_CODES = `
Exit codes
  0 well, 1 failed while running, 2 wrong use or bad configuration,
  3 libvirt cannot be reached, 4 another coordinator holds this host`;

function repeatable(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

const connect = (): Option =>
  new Option(
    '-c, --connect <uri>',
    'libvirt connection or alias (default: $LIBVIRT_DEFAULT_URI, else uri_default of libvirt.conf, else qemu:///system)',
  );
const config = (): Option => new Option('--config <file>', 'configuration file, YAML; options given here win over it');
const include = (): Option => new Option('--include <glob>', 'only guests whose names match; may be given again').argParser(repeatable);
const exclude = (): Option => new Option('--exclude <glob>', 'not the guests whose names match; may be given again').argParser(repeatable);
const onExit = (): Option =>
  new Option('--on-exit <what>', 'what stopping leaves guests with: keep (default) the sizes that they have, or restore those of before');
/** The options that decide what guests get: `run` acts on them, `status` shows their effect. */
const policy = (): Option[] => [
  new Option('--interval <seconds>', 'time between samples of all guests, 0.1 to 3600 (default: 1); guests at risk are sampled more often'),
  new Option('--pool <size>', 'most that all guests together may hold, e.g. 8GiB or 80% of the host (default: what the host can spare)'),
  new Option(
    '--reserve <size>',
    'memory that is never given out, e.g. 2GiB or 10%, 200MiB at least (default: 5% of the host, 512MiB at least)',
  ),
  new Option(
    '--signal <figure>',
    "what of a guest's memory is spare: usable (free memory and cold page cache, the default) or unused (free memory alone)",
  ),
  new Option('--surplus <whose>', 'what no guest needs: stays with the host (default), or is spread over the guests'),
  new Option('--burst <rate>', 'rise of a guest that its spare memory should outlast, e.g. 200MiB/s (the default)'),
  new Option('--boot-rest <seconds>', 'time after its start in which a guest gives only what another one needs; 0 = none (default: 120)'),
  new Option('--sampling-budget <percent>', 'CPU for extra samples of guests at risk, as a part of one core (default: 5%)'),
];

function commands(): Command {
  const program = new Command('memcoord')
    .description(
      'Coordinates guest memory on a libvirt host: watches how much each guest really needs, and moves memory between the guests, ' +
        'and back to the host, through their balloons. Without a command it does what `memcoord run` does.',
    )
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help; after a command, its own')
    .addHelpText(
      'after',
      `
Begin with
  memcoord doctor          which guests can be coordinated, and what to do about the others
  memcoord run --dry-run   what it would do, without doing it
${EXIT_CODES}`,
    );

  const run = program
    .command('run', { isDefault: true })
    .summary("coordinate the guests' memory until stopped (the default)")
    .description(
      "Coordinates the guests' memory until stopped by SIGINT or SIGTERM (a second one stops it at once). SIGHUP reads the\n" +
        'configuration file again. Guests may come and go meanwhile. Logs go to stderr.',
    )
    .addOption(connect())
    .addOption(config());
  for (const option of policy()) run.addOption(option);
  run
    .addOption(include())
    .addOption(exclude())
    .addOption(onExit())
    .option('--dry-run', 'say what would be done and change nothing at all')
    .option('--record <file>', 'write every sample and its moves to a file, as JSON lines')
    .addOption(new Option('--log-format <format>', 'pretty (default on a terminal) or json').choices(['pretty', 'json']))
    .addHelpText('after', `\nExample\n  memcoord run --interval 1 --pool 8GiB --exclude 'build-*'\n${EXIT_CODES}`)
    // An unknown command arrives here, as an argument of the default one.
    .allowExcessArguments()
    .action(async (options, { args: [stray] }: Command) => {
      if (stray !== undefined) {
        const { printable } = await import('../common/text.js');
        run.error(`error: unknown command '${printable(stray)}': there are run, release, status, monitor, doctor and simulate`, {
          code: 'commander.unknownCommand',
        });
      }
      const { run: go } = await import('./run.js');
      // By exit, since a libvirt call that hangs would keep the process alive.
      process.exit(await go(options));
    });

  program
    .command('release')
    .summary('give the guests back what they had before memcoord came')
    .description(
      'Gives every guest the memory and the stats period back that it had before memcoord came, as far as the host can spare it and\n' +
        'the guest does not need more, and leaves it alone. Prints a line a guest. Exits with 1 where one has something else.',
    )
    .addOption(connect())
    .addOption(config())
    .option('--reserve <size>', 'memory of the host that is not given out even so, 200MiB at least (default: 5% of it, 512MiB at least)')
    .addOption(include())
    .addOption(exclude())
    .option('--stop', 'end the coordinator that holds the host first: by SIGTERM, and after 10 s by SIGKILL')
    .option('--dry-run', 'print what would become of the guests and change nothing at all')
    .addHelpText('after', EXIT_CODES)
    .action(async (options) => {
      const { release: go } = await import('./release.js');
      process.exit(await go(options));
    });

  const status = program
    .command('status')
    .summary('one reading of host and guests')
    .description('Reads host and guests once and prints where they stand, sizes in MiB. Changes nothing.')
    .addOption(connect())
    .addOption(config());
  for (const option of policy()) status.addOption(option);
  status
    .addOption(include())
    .addOption(exclude())
    .option('--json', 'print JSON, sizes in KiB')
    .addHelpText('after', EXIT_CODES)
    .action(async (options) => {
      const { status: go } = await import('./status.js');
      process.exitCode = await go(options);
    });

  program
    .command('monitor')
    .summary("print the guests' memory every few seconds")
    .description("Prints each guest's balloon size and unused memory in MiB every few seconds, until stopped. Changes nothing.")
    .addOption(connect())
    .option('--interval <seconds>', 'time between two readings, 0.1 to 3600', '2')
    .option('--count <n>', 'stop after so many readings')
    .option('--machine', 'print memory,NAME,ACTUAL,UNUSED')
    .addHelpText('after', EXIT_CODES)
    .action(async (options) => {
      const { monitor: go } = await import('./monitor.js');
      process.exitCode = await go(options);
    });

  program
    .command('doctor')
    .summary('can the guests be coordinated, and what to do where not')
    .description(
      'Says for the host and for each guest whether memory can be coordinated, what is missing, and the command that mends it. ' +
        'Changes nothing. Exits with 1 where there is a problem.',
    )
    .addOption(connect())
    .addOption(config())
    .addOption(include())
    .addOption(exclude())
    .option('--json', 'print JSON')
    .addHelpText('after', EXIT_CODES)
    .action(async (options) => {
      const { doctor: go } = await import('./doctor.js');
      process.exitCode = await go(options);
    });

  program
    .command('simulate')
    .argument('<file>', 'scenario, YAML')
    .summary('run a scenario on a simulated host')
    .description(
      'Runs the same coordinator on a simulated host, with the guests, workloads and faults of a scenario file, as fast as the machine\n' +
        'allows, and checks at every step that no guest or host was hurt. Needs no libvirt. Exits with 1 where an invariant was violated.',
    )
    .option('--seed <n>', 'of what is left to chance (default: the one in the file, else 1)')
    .option('--log', 'print moves and notices, with the simulated time, to stderr')
    .option('--record <file>', 'write every sample and its moves to a file, as JSON lines')
    .option('--json', 'print JSON, sizes in KiB')
    .addHelpText('after', EXIT_CODES)
    .action(async (file, options) => {
      const { simulate: go } = await import('./simulate.js');
      process.exitCode = await go(file, options);
    });

  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .showHelpAfterError(`(${command === program ? 'memcoord' : `memcoord ${command.name()}`} --help says what there is)`);
  }
  return program;
}

/** Runs the command line. Commander reports its help and version as errors with exit code 0, and wrong use with 1, which becomes 2 here. */
export async function main(): Promise<void> {
  try {
    await commands().parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 2;
      return;
    }
    const { explain } = await import('./failure.js');
    const { code, message } = explain(error);
    process.stderr.write(`memcoord: ${message}\n`);
    process.exitCode = code;
  }
}

// The reader of our output may stop reading (`memcoord monitor | head`): that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
process.stderr.on('error', () => {});
await main();
