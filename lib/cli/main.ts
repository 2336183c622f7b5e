#!/usr/bin/env node
/**
 * The command `memcoord` and its options. The code of a command, and with it the addon, is loaded only when the command is given: help and
 * version need neither.
 */
import { Command, CommanderError, Option } from 'commander';
import { version } from './version.js';

const EXIT_CODES = `
Exit codes
  0 success, 1 failure or a problem found, 2 wrong use or bad configuration,
  3 libvirt cannot be reached, 4 another coordinator holds this host`;

function repeatable(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

const connect = (): Option =>
  new Option(
    '-c, --connect <uri>',
    'libvirt connection or alias (default: $LIBVIRT_DEFAULT_URI, else uri_default of libvirt.conf, else qemu:///system)',
  );
const config = (): Option => new Option('--config <file>', 'configuration file, YAML; options on the command line override it');
const include = (): Option => new Option('--include <glob>', 'only guests whose names match; may be repeated').argParser(repeatable);
const exclude = (): Option => new Option('--exclude <glob>', 'leave out guests whose names match; may be repeated').argParser(repeatable);
const onExit = (): Option =>
  new Option(
    '--on-exit <what>',
    'sizes of the guests after a stop: keep (default) what they have, or restore what they had before memcoord',
  );
/** The options that decide what guests get: `run` acts on them, `status` shows their effect. */
const policy = (): Option[] => [
  new Option('--interval <seconds>', 'time between samples of all guests, 0.1 to 3600 (default: 1); guests at risk are sampled more often'),
  new Option('--pool <size>', 'most memory for all guests together, e.g. 8GiB or 80% of the host (default: no limit but the reserve)'),
  new Option(
    '--reserve <size>',
    'memory that is never given out, e.g. 2GiB or 10%, at least 200MiB (default: 5% of the host, at least 512MiB)',
  ),
  new Option(
    '--signal <figure>',
    'what counts as spare memory of a guest: usable (free memory and cold page cache, the default) or unused (free memory only)',
  ),
  new Option('--surplus <where>', 'who gets memory that no guest needs: host (the default), or guests (spread over them)'),
  new Option('--burst <rate>', 'rise that the spare memory of a guest should absorb, e.g. 200MiB/s (the default)'),
  new Option(
    '--boot-rest <seconds>',
    'time after the start of a guest in which it gives memory only to guests in need; 0 = none (default: 120)',
  ),
  new Option('--sampling-budget <percent>', 'CPU for extra samples of guests at risk, in percent of one core (default: 5%)'),
];

function commands(): Command {
  const program = new Command('memcoord')
    .description(
      'Coordinates guest memory on a libvirt host: watches how much each guest really needs, and moves memory between the guests, ' +
        'and back to the host, through their balloons. Without a command it does what `memcoord run` does.',
    )
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help; after a command, its own')
    .helpCommand('help [command]', 'print the help of a command')
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
      "Coordinates the guests' memory until stopped by SIGINT or SIGTERM (a second signal stops it at once). SIGHUP reads the " +
        'configuration file again. Guests may start and stop meanwhile. Logs go to stderr.',
    )
    .addOption(connect())
    .addOption(config());
  for (const option of policy()) run.addOption(option);
  run
    .addOption(include())
    .addOption(exclude())
    .addOption(onExit())
    .option('--dry-run', 'report what would be done, change nothing')
    .option('--record <file>', 'write every sample and its moves to a file, as JSON lines')
    .addOption(new Option('--log-format <format>', 'pretty (default on a terminal) or json').choices(['pretty', 'json']))
    .addHelpText('after', `\nExample\n  memcoord run --interval 1 --pool 8GiB --exclude 'build-*'\n${EXIT_CODES}`)
    // An unknown command arrives here, as an argument of the default one.
    .allowExcessArguments()
    .action(async (options, { args: [stray] }: Command) => {
      if (stray !== undefined) {
        const { printable } = await import('../common/text.js');
        run.error(`error: unknown command '${printable(stray)}': the commands are run, release, status, monitor, doctor and simulate`, {
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
      'Returns every guest to the memory and stats period that it had before memcoord, as far as the host can spare the memory and the ' +
        'guest does not need more. Prints one line per guest. Exits with 1 if a guest could not be restored.',
    )
    .addOption(connect())
    .addOption(config())
    .option('--reserve <size>', 'memory that the host keeps, at least 200MiB (default: 5% of the host, at least 512MiB)')
    .addOption(include())
    .addOption(exclude())
    .option('--stop', 'first end the coordinator that holds the host: SIGTERM, after 10 s SIGKILL')
    .option('--dry-run', 'report what would happen to the guests, change nothing')
    .addHelpText('after', EXIT_CODES)
    .action(async (options) => {
      const { release: go } = await import('./release.js');
      process.exit(await go(options));
    });

  const status = program
    .command('status')
    .summary('show host and guests once')
    .description('Reads host and guests once and prints their state, sizes in MiB. Changes nothing.')
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
    .option('--interval <seconds>', 'time between two readings, 0.1 to 3600 (default: 2)')
    .option('--count <n>', 'stop after n readings')
    .option('--machine', 'print CSV lines: memory,NAME,ACTUAL,UNUSED')
    .addHelpText('after', EXIT_CODES)
    .action(async (options) => {
      const { monitor: go } = await import('./monitor.js');
      process.exitCode = await go(options);
    });

  program
    .command('doctor')
    .summary('check whether the guests can be coordinated, and what to do if not')
    .description(
      'Reports for the host and for each guest whether memory can be coordinated, what is missing, and the command that fixes it. ' +
        'Changes nothing. Exits with 1 if there is a problem.',
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
      'Runs the same coordinator on a simulated host, with the guests, workloads and faults of a scenario file, as fast as the machine ' +
        'allows, and checks at every step that no guest or host came to harm. Needs no libvirt. Exits with 1 if an invariant was violated.',
    )
    .option('--seed <n>', 'random seed (default: the one in the file, else 1)')
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
      .showHelpAfterError(`(${command === program ? 'memcoord' : `memcoord ${command.name()}`} --help lists the options)`);
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
