/**
 * `npm run lab -- prepare|up|down|status|say NAME COMMAND`: real guests to try the coordinator on.
 */
import { parseArgs } from 'node:util';
import { say as tell } from './agent.js';
import { buildDebian, unableToBuild } from './debian.js';
import { down, guestSpecs, status, theLab, up } from './guests.js';
import { buildImage } from './image.js';
import { LabError } from './shell.js';

const USAGE = `usage: npm run lab -- COMMAND

  prepare            fetches and builds what the guests boot, and starts none; what is there is left alone
  up                 starts four guests, aos_vm1 to aos_vm4, 512 of 2048 MiB each
      --count N  --prefix NAME  --current MIB  --maximum MIB
      --swap 2,4  --autodeflate 1,3  --driverless 4      which guests have a swap disk, autodeflate, no balloon driver
  status             where the guests stand
  say NAME COMMAND   tells a guest what to do and prints its answer:
      eat MIB RATE   takes memory until it holds MIB (0 = without end) at RATE MiB/s; again with another MIB to go on
      hold, free     takes no more; gives all back
      report         the guest's own figures (sizes in KiB)
      tmpfs MIB      keeps MIB in a tmpfs (0 = none)
      rmmod, insmod  takes the balloon's driver out, loads it again
      reboot         reboots inside the same QEMU
  down               ends the guests, and libvirtd if 'up' started it

LAB_ACCEL=kvm|tcg overrides how guests run; LAB_URI the libvirt URI (qemu:///system with root, qemu:///session without).`;

const numbers = (text: string | undefined): number[] | undefined =>
  text === undefined
    ? undefined
    : text
        .split(',')
        .filter((part) => part !== '')
        .map(Number);

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      count: { type: 'string' },
      prefix: { type: 'string' },
      current: { type: 'string' },
      maximum: { type: 'string' },
      swap: { type: 'string' },
      autodeflate: { type: 'string' },
      driverless: { type: 'string' },
    },
  });
  const [command, name, ...words] = positionals;
  const print = (line: string): void => console.log(line);
  if (values.help === true) return print(USAGE);
  switch (command) {
    case 'prepare': {
      await buildImage(print);
      const unable = unableToBuild();
      if (unable === null) await buildDebian(print);
      else print(`not prepared: ${unable}`);
      return;
    }
    case 'up': {
      const size = (text: string | undefined): number | undefined => numbers(text)?.[0];
      const options = {
        count: size(values.count),
        prefix: values.prefix,
        current: size(values.current),
        maximum: size(values.maximum),
        swap: numbers(values.swap),
        autodeflate: numbers(values.autodeflate),
        driverless: numbers(values.driverless),
      };
      const controller = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => controller.abort());
      const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
      await up(guestSpecs(given), print, controller.signal);
      return;
    }
    case 'down':
      return await down(print);
    case 'status':
      for (const line of await status()) print(line);
      return;
    case 'say': {
      const guest = (await theLab()).guests.find((candidate) => candidate.name === name);
      if (guest === undefined || words.length === 0)
        throw new LabError(name === undefined ? USAGE : `no guest '${name}', or nothing to say to it`);
      // A tmpfs of hundreds of MiB takes seconds under emulation.
      print((await tell(guest.name, guest.socket, words.join(' '), 60_000)) || 'ok');
      return;
    }
    default:
      throw new LabError(USAGE);
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof LabError || (error instanceof TypeError && 'code' in error) ? error.message : error);
  process.exitCode = 1;
});
