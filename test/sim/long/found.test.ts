/** What random scenarios found and what was mended for it: each made short, and run again. */
import t from 'tap';
import { parseScenario } from '../../../lib/sim/scenario.js';
import { simulate } from '../../../lib/sim/simulate.js';

const found: Readonly<Record<string, string>> = {
  'a guest that rises while too much is charged was promised what was yet to be taken from it': `
    host: { memory: 1500MiB }
    guests: [{ name: a, max: 700MiB, uses: 100MiB, eats: [{ at: 3, size: 400MiB, rate: 100MiB/s }] }]
    events: [{ at: 2, do: eat, size: 1046MiB, for: 20 }]`,
  'a guest was promised memory while the host was short, when it is given only what it cannot live without': `
    host: { memory: 3500MiB }
    config: { sampling-budget: 0% }
    guests: [{ name: a, max: 1300MiB, eats: [{ at: 29, size: 1300MiB, rate: 150MiB/s }] }]
    events: [{ at: 27, do: pressure, for: 20 }]`,
  'a guest that lacked something itself was counted among those that give': `
    host: { memory: 2500MiB }
    config: { interval: 2, surplus: guests, burst: 400MiB/s }
    guests:
      - { name: a, max: 1200MiB, size: 400MiB, uses: 100MiB }
      - name: b
        max: 1080MiB
        uses: 150MiB
        eats: [{ at: 10, size: 1400MiB, rate: 250MiB/s }]
        tmpfs: [{ at: 0, size: 100MiB, rate: 20MiB/s }]
      - { name: c, max: 1100MiB }`,
  'the last few MiB to its ceiling, which a guest was short of, were not asked of others': `
    host: { memory: 2325MiB }
    config: { surplus: guests }
    guests:
      - { name: a, max: 620MiB, uses: 110MiB, eats: [{ at: 3.5, size: 1400MiB, rate: 20MiB/s }] }
      - { name: b, max: 1500MiB, size: 500MiB }
      - { name: c, max: 700MiB, uses: 100MiB }`,
  'a guest that had just been moved gave nothing to one in need until the next sweep': `
    host: { memory: 2500MiB }
    config: { interval: 2, surplus: guests, burst: 400MiB/s }
    guests:
      - { name: a, max: 1200MiB, size: 400MiB, uses: 100MiB }
      - name: b
        max: 1080MiB
        uses: 150MiB
        eats: [{ at: 11.68, size: 1400MiB, rate: 230MiB/s }]
        tmpfs: [{ at: 0, size: 70MiB, rate: 20MiB/s }]
      - { name: c, max: 1100MiB, size: 985MiB, uses: 70MiB }`,
  'a target that a call stored after it had been given up was taken for one that the coordinator knows': `
    host: { memory: 3000MiB }
    guests: [{ name: a, max: 1600MiB, size: 400MiB, limit: 522MiB }]
    events: [{ at: 19, do: hang, for: 20, guest: a }]`,
  'what a guest gave for good, at last, was taken for unrest of the one that got it': `
    seed: 22161
    host: { memory: 3900MiB }
    config: { interval: 2, surplus: guests }
    guests:
      - { name: a, max: 1250MiB, uses: 100MiB, eats: [{ at: 20, size: 800MiB, rate: 400MiB/s }] }
      - { name: b, max: 450MiB, driver: no }
      - { name: c, max: 700MiB, starts: 56.27 }
      - name: d
        max: 1900MiB
        size: 800MiB
        uses: 150MiB
        eats:
          - { at: 10, size: 1400MiB, rate: 1000MiB/s }
          - { at: 20, size: 750MiB, rate: 1500MiB/s }
          - { at: 40, size: 1200MiB, rate: 200MiB/s }
        tmpfs: [{ at: 42, size: 150MiB, rate: 100MiB/s }]
      - name: e
        max: 1500MiB
        uses: 100MiB
        eats: [{ at: 0, size: 300MiB, rate: 1500MiB/s }, { at: 60, size: 500MiB, rate: 300MiB/s }]
        hot: 265MiB
    events: [{ at: 36.08, do: vfio, guest: a }]`,
  'a coordinator that had stopped was held to what it had promised': `
    duration: 8
    host: { memory: 5500MiB }
    guests: [{ name: a, max: 1400MiB, size: 500MiB, uses: 100MiB, eats: [{ at: 6, size: 1200MiB, rate: 150MiB/s }] }]`,
  'a guest whose programs took memory while it read its cache again was given back the last step alone': `
    duration: 100
    host: { memory: 44GiB }
    guests: [{ name: a, max: 7607MiB, size: 5097MiB, uses: 917MiB, hot: 2633MiB, mapped: yes, eats: [{ at: 84, size: 1170MiB, rate: 173MiB/s }] }]`,
  'cache passed for spare where it was decided whom to sample, while it was watched what a step into it cost': `
    duration: 100
    host: { memory: 44GiB }
    guests: [{ name: a, max: 7607MiB, size: 5097MiB, uses: 917MiB, hot: 2633MiB, mapped: yes, eats: [{ at: 83.6, size: 1170MiB, rate: 173MiB/s }] }]`,
  'cache that a guest works in passed for spare where it was decided whom to sample': `
    duration: 75
    host: { memory: 16GiB }
    config: { interval: 2 }
    guests: [{ name: a, max: 11794MiB, size: 3420MiB, uses: 1129MiB, hot: 687MiB, mapped: yes, eats: [{ at: 59, size: 1512MiB, rate: 190MiB/s }] }]`,
  'a guest whose driver was taken out as it reported for the last time held the pool for 7 s as if it were controlled': `
    duration: 30
    host: { memory: 12025MiB, used: 1GiB }
    config: { pool: 8025MiB }
    guests:
      - { name: a, max: 12240MiB, size: 3550MiB, uses: 1952MiB, noise: 3MiB }
      - { name: b, max: 7369MiB, size: 7295MiB, uses: 1751MiB, cache: [{ at: 0, size: 1053MiB, rate: 500MiB/s }] }
    events: [{ at: 15.62, do: unload, guest: b }]`,
  'what a cache had grown by was forgiven twice, so that a guest went on reading from disk': `
    seed: 777486
    duration: 110
    host: { memory: 54283MiB }
    config: { interval: 2 }
    guests:
      - { name: a, max: 1036MiB, size: 798MiB, eats: [{ at: 17, size: 48MiB, rate: 36MiB/s }], noise: 3MiB, hot: 26MiB }
      - { name: b, max: 10230MiB, size: 3069MiB, uses: 399MiB, hot: 1655MiB, hot-from: 60 }`,
  'what guests had taken since their figures was not counted when they were kept alive': `
    seed: 119627
    duration: 60
    host: { memory: 36963MiB, used: 1GiB }
    guests:
      - { name: g0, max: 3461MiB, size: 2734MiB, uses: 1394MiB, noise: 3MiB, eats: [{ at: 51, size: 1701MiB, rate: 183MiB/s }, { at: 34, size: 697MiB, rate: 39MiB/s }] }
      - { name: g1, max: 7574MiB, size: 4847MiB, uses: 921MiB, eats: [{ at: 24, size: 2434MiB, rate: 356MiB/s }] }
      - { name: g2, max: 2239MiB, size: 582MiB, uses: 233MiB, eats: [{ at: 26, size: 238MiB, rate: 19MiB/s }, { at: 47, size: 307MiB, rate: 169MiB/s }] }
      - { name: g3, max: 7902MiB, size: 2845MiB, uses: 1309MiB, noise: 3MiB, eats: [{ at: 41, size: 753MiB, rate: 154MiB/s }] }
      - { name: g4, max: 3125MiB, size: 3000MiB, uses: 360MiB, eats: [{ at: 26, size: 343MiB, rate: 58MiB/s }], cache: [{ at: 0, size: 1795MiB, rate: 200MiB/s }] }
      - { name: g5, max: 6855MiB, size: 5073MiB, uses: 1775MiB, eats: [{ at: 35, size: 1121MiB, rate: 144MiB/s }] }
      - { name: wave, count: 20, max: 4086MiB, size: 2452MiB, uses: 511MiB, eats: [{ at: 44, size: 1747MiB, rate: 55MiB/s }] }
      - { name: odd0, max: 2058MiB, size: 1708MiB, uses: 683MiB }
    events: [{ at: 0.05, do: unload, guest: g0 }]`,
  'guests at rest, squeezed to little spare, used up the sampling budget, and one that began to rise was seen a second late': `
    seed: 712155
    duration: 110
    host: { memory: 14796MiB, used: 1GiB }
    config: { interval: 2, surplus: guests, guests: [ { match: odd1, manage: no } ] }
    guests:
      - { name: g0, max: 6926MiB, size: 2286MiB, uses: 754MiB, eats: [ { at: 34, size: 475MiB, rate: 615MiB/s }, { at: 31, size: 505MiB, rate: 117MiB/s } ], noise: 3MiB }
      - { name: g1, max: 12245MiB, size: 5143MiB, uses: 2623MiB, eats: [ { at: 18, size: 2646MiB, rate: 339MiB/s }, { at: 75, size: 781MiB, rate: 27MiB/s } ], noise: 3MiB }
      - { name: wave, count: 20, max: 1031MiB, size: 619MiB, uses: 200MiB, eats: [ { at: 50, size: 117MiB, rate: 177MiB/s } ] }
      - { name: odd0, max: 4539MiB, size: 2133MiB, uses: 107MiB, eats: [ { at: 55, size: 405MiB, rate: 25MiB/s } ], figures: win32 }
      - { name: odd1, max: 4910MiB, size: 2111MiB, uses: 655MiB }
    events:
      - { at: 15.66, do: eat, size: 3901MiB, for: 8 }`,
  'one that held less than it needed was sampled after what it had been given was used up': `
    seed: 0
    duration: 110
    host: { memory: 40743MiB, used: 1GiB }
    guests:
      - { name: g0, max: 16148MiB, size: 7590MiB, uses: 2125MiB, eats: [ { at: 23, size: 2732MiB, rate: 35MiB/s }, { at: 78, size: 1148MiB, rate: 83MiB/s }, { at: 38, size: 2842MiB, rate: 15MiB/s } ], noise: 3MiB, streams: 58MiB/s }
      - { name: g1, max: 2182MiB, size: 1593MiB, uses: 223MiB, eats: [ { at: 51, size: 616MiB, rate: 166MiB/s }, { at: 72, size: 205MiB, rate: 97MiB/s } ], noise: 3MiB, cache: [ { at: 0, size: 1014MiB, rate: 200MiB/s } ], streams: 37MiB/s }
      - { name: g2, max: 14422MiB, size: 10817MiB, uses: 3029MiB, eats: [ { at: 44, size: 4128MiB, rate: 160MiB/s } ] }
      - { name: g3, max: 9263MiB, size: 2779MiB, uses: 1417MiB, eats: [ { at: 80, size: 272MiB, rate: 25MiB/s } ], cache: [ { at: 0, size: 858MiB, rate: 200MiB/s } ] }
      - { name: g4, max: 15938MiB, size: 11157MiB, uses: 6136MiB, eats: [ { at: 57, size: 1607MiB, rate: 456MiB/s } ], noise: 3MiB }
      - { name: wave, count: 16, max: 3733MiB, size: 2240MiB, uses: 467MiB, eats: [ { at: 39, size: 762MiB, rate: 200MiB/s } ] }
      - { name: odd0, max: 5153MiB, size: 4638MiB, uses: 278MiB, eats: [ { at: 58, size: 2136MiB, rate: 27MiB/s } ], figures: nousable }`,
  'the use of a guest whose MemTotal does not follow its balloon was taken to stand still while that moved': `
    seed: 907929
    duration: 110
    host: { memory: 16140MiB, used: 1GiB }
    guests:
      - { name: g0, max: 3290MiB, size: 888MiB, uses: 98MiB, eats: [ { at: 64, size: 340MiB, rate: 11MiB/s }, { at: 63, size: 134MiB, rate: 791MiB/s } ] }
      - { name: g1, max: 1753MiB, size: 841MiB, uses: 404MiB, eats: [ { at: 55, size: 171MiB, rate: 170MiB/s } ] }
      - { name: g2, max: 1270MiB, size: 559MiB, uses: 201MiB, eats: [ { at: 48, size: 82MiB, rate: 56MiB/s }, { at: 37, size: 225MiB, rate: 396MiB/s }, { at: 41, size: 18MiB, rate: 57MiB/s } ], noise: 3MiB, hot: 46MiB, mapped: no, hot-from: 0 }
      - { name: odd0, max: 4819MiB, size: 3952MiB, uses: 1581MiB, eats: [ { at: 25, size: 830MiB, rate: 37MiB/s } ], figures: filebacked }
      - { name: odd1, max: 11137MiB, size: 6571MiB, uses: 394MiB, eats: [ { at: 61, size: 5435MiB, rate: 195MiB/s } ], figures: windows }
    events:
      - { at: 50.13, do: hang, for: 30, guest: g1 }`,
  'a guest that read its cache again was asked for the memory that it read into': `
    seed: 242244
    duration: 110
    host: { memory: 30581MiB, used: 1GiB, arc: 1837MiB, arc-min: 92MiB }
    config: { interval: 2, surplus: guests }
    guests:
      - { name: g0, max: 8786MiB, size: 5623MiB, uses: 2474MiB, eats: [ { at: 17, size: 2078MiB, rate: 45MiB/s }, { at: 81, size: 6048MiB, rate: 121MiB/s }, { at: 82, size: 1228MiB, rate: 164MiB/s } ], noise: 3MiB, hot: 1763MiB, mapped: no, hot-from: 0 }
      - { name: g1, max: 12930MiB, size: 6724MiB, uses: 3026MiB, eats: [ { at: 18, size: 2921MiB, rate: 228MiB/s }, { at: 84, size: 2293MiB, rate: 66MiB/s } ], hot: 2958MiB, mapped: no, hot-from: 60, swap: 1570MiB }
      - { name: wave, count: 18, max: 1028MiB, size: 617MiB, uses: 200MiB, eats: [ { at: 77, size: 371MiB, rate: 197MiB/s } ] }
      - { name: odd0, max: 5361MiB, size: 2252MiB, uses: 878MiB, eats: [ { at: 87, size: 948MiB, rate: 60MiB/s } ], starts: 24 }`,
  'a growth that never comes was asked for in full again, and others gave for it': `
    seed: 235009
    host: { memory: 1700MiB }
    config: { interval: 2, boot-rest: 0s, surplus: guests, signal: usable, burst: 200MiB/s, include: [ "g[0-3]" ] }
    guests:
      - { name: g0, max: 737MiB, size: 665MiB, uses: 147MiB, noise: 3MiB, eats: [ { at: 51.58, size: 246MiB, rate: 687MiB/s }, { at: 43.77, size: 794MiB, rate: 68MiB/s }, { at: 13.56, size: 1260MiB, rate: 147MiB/s } ], figures: rates }
      - { name: g1, max: 380MiB, size: 220MiB, uses: 160MiB, noise: 0MiB, most: 256MiB }
    events:
      - { at: 3.14, do: clock, by: 3600 }`,
  'a floor that nobody had set held more than the guest had had, on a host under its reserve': `
    seed: 999998
    host: { memory: 1400MiB }
    config: { sampling-budget: 5%, boot-rest: 120s, surplus: host, signal: usable, burst: 200MiB/s, exclude: [ "g[24]" ] }
    guests:
      - { name: g0, max: 261MiB, size: 167MiB, uses: 107MiB, noise: 0MiB, eats: [ { at: 21.67, size: 423MiB, rate: 845MiB/s }, { at: 20.52, size: 252MiB, rate: 1008MiB/s }, { at: 2.32, size: 380MiB, rate: 1541MiB/s } ], figures: nousable }
      - { name: g1, max: 838MiB, size: 558MiB, uses: 67MiB, noise: 0MiB, eats: [ { at: 39.55, size: 1276MiB, rate: 76MiB/s }, { at: 26.02, size: 1276MiB, rate: 343MiB/s } ], hot: 593MiB, mapped: yes }
    events:
      - { at: 12.2, do: set, size: 1941MiB, guest: g0 }
      - { at: 45.41, do: clock, by: 3600 }
      - { at: 37.29, do: reboot, guest: g1 }`,
  'a cushion was half of the maximum at most where a burst takes more until it is seen': `
    seed: 496361
    host: { memory: 2736MiB }
    config: { interval: 2, sampling-budget: 0%, boot-rest: 20s, surplus: host, signal: usable, burst: 400MiB/s, reserve: 908MiB, guests: [ { match: "g[12]", min: 1017MiB, max: 1068MiB, share: 4000, manage: yes }, { match: "g[12]", min: 184MiB, max: 328MiB, share: 100, signal: unused, manage: yes } ] }
    guests:
      - { name: g0, max: 1890MiB, size: 493MiB, uses: 141MiB, noise: 0MiB, eats: [ { at: 46.29, size: 561MiB, rate: 165MiB/s }, { at: 52.11, size: 1206MiB, rate: 151MiB/s }, { at: 25.41, size: 1260MiB, rate: 284MiB/s }, { at: 30.65, size: 581MiB, rate: 138MiB/s } ], cache: [ { at: 12.88, size: 486MiB, rate: 278MiB/s }, { at: 35.94, size: 93MiB, rate: 51MiB/s } ] }
    events:
      - { at: 4.56, do: set, size: 1517MiB, guest: g0 }`,
  'floors that nobody had set lifted small guests, on a host that was drained': `
    seed: 4
    host: { memory: 1976MiB }
    config: { interval: 2, sampling-budget: 5%, boot-rest: 120s, signal: unused, burst: 50MiB/s, reserve: 232MiB }
    guests:
      - { name: g0, max: 907MiB, size: 412MiB, uses: 125MiB, noise: 3MiB, eats: [ { at: 9.02, size: 200MiB, rate: 292MiB/s }, { at: 31.17, size: 1111MiB, rate: 2MiB/s } ], autodeflate: yes }
      - { name: g1, max: 783MiB, size: 290MiB, uses: 113MiB, noise: 0MiB, eats: [ { at: 59.91, size: 948MiB, rate: 59MiB/s } ] }
      - { name: g2, max: 298MiB, size: 207MiB, uses: 147MiB, noise: 0MiB, eats: [ { at: 11.45, size: 118MiB, rate: 112MiB/s }, { at: 57.13, size: 792MiB, rate: 128MiB/s }, { at: 19.15, size: 1369MiB, rate: 309MiB/s }, { at: 15.84, size: 277MiB, rate: 1078MiB/s } ], hot: 193MiB, hot-from: 45.92 }
      - { name: g3, max: 263MiB, size: 158MiB, uses: 75MiB, noise: 0MiB, eats: [ { at: 39.45, size: 783MiB, rate: 342MiB/s } ] }`,
  'what a guest had been granted was counted, and beside it what it can take until it is seen': `
    seed: 999993
    duration: 110
    host: { memory: 11645MiB, used: 1GiB, arc: 29MiB, arc-min: 1MiB }
    guests:
      - { name: g0, max: 14639MiB, size: 7466MiB, uses: 1493MiB, eats: [ { at: 74, size: 6630MiB, rate: 5MiB/s }, { at: 41, size: 2449MiB, rate: 126MiB/s }, { at: 21, size: 2150MiB, rate: 5MiB/s } ] }
      - { name: g1, max: 9277MiB, size: 7051MiB, uses: 2961MiB, eats: [ { at: 58, size: 5561MiB, rate: 196MiB/s }, { at: 80, size: 3353MiB, rate: 107MiB/s }, { at: 35, size: 2576MiB, rate: 495MiB/s } ] }
      - { name: odd0, max: 5984MiB, size: 2932MiB, uses: 352MiB, hard-limit: 3481MiB }
    events:
      - { at: 3.67, do: pause, for: 16, guest: g1 }
      - { at: 24.23, do: migrate, for: 29, guest: g0 }`,
  'what a guest had read from disk while its programs had taken its cache passed for usual': `
    seed: 989223
    duration: 110
    host: { memory: 25352MiB, used: 1GiB }
    guests:
      - { name: g0, max: 11454MiB, size: 3780MiB, uses: 1134MiB, eats: [ { at: 40, size: 741MiB, rate: 211MiB/s }, { at: 78, size: 6006MiB, rate: 45MiB/s } ], noise: 3MiB, cache: [ { at: 0, size: 2064MiB, rate: 200MiB/s } ] }
      - { name: g1, max: 2942MiB, size: 2236MiB, uses: 760MiB, eats: [ { at: 37, size: 1077MiB, rate: 25MiB/s }, { at: 61, size: 310MiB, rate: 60MiB/s }, { at: 51, size: 1284MiB, rate: 51MiB/s } ], noise: 3MiB, hot: 1063MiB, mapped: no, hot-from: 60, cache: [ { at: 0, size: 516MiB, rate: 200MiB/s } ] }
      - { name: g2, max: 3399MiB, size: 1462MiB, uses: 687MiB, hot: 70MiB, mapped: yes, hot-from: 0, cache: [ { at: 0, size: 108MiB, rate: 200MiB/s } ], streams: 21MiB/s }
      - { name: odd0, max: 9299MiB, size: 7346MiB, uses: 735MiB, virtio-mem: 37196MiB }
      - { name: odd1, max: 11968MiB, size: 5266MiB, uses: 1632MiB, figures: windows }`,
  'a guest that may lose its cache was sampled before one that may die': `
    seed: 999997
    duration: 110
    host: { memory: 45751MiB, used: 1GiB }
    guests:
      - { name: g0, max: 14463MiB, size: 7521MiB, uses: 1128MiB, eats: [ { at: 39, size: 4283MiB, rate: 140MiB/s }, { at: 64, size: 2557MiB, rate: 365MiB/s }, { at: 33, size: 3260MiB, rate: 67MiB/s } ] }
      - { name: g1, max: 14398MiB, size: 4751MiB, uses: 998MiB, eats: [ { at: 32, size: 7620MiB, rate: 136MiB/s }, { at: 35, size: 5480MiB, rate: 7MiB/s }, { at: 49, size: 2402MiB, rate: 49MiB/s } ] }
      - { name: g2, max: 11382MiB, size: 6260MiB, uses: 1815MiB, eats: [ { at: 54, size: 1022MiB, rate: 190MiB/s } ], noise: 3MiB }
      - { name: g3, max: 15604MiB, size: 6242MiB, uses: 1997MiB, eats: [ { at: 33, size: 3311MiB, rate: 84MiB/s }, { at: 65, size: 10144MiB, rate: 137MiB/s }, { at: 80, size: 467MiB, rate: 27MiB/s } ] }
      - { name: g4, max: 10278MiB, size: 2981MiB, uses: 1073MiB, eats: [ { at: 37, size: 1602MiB, rate: 193MiB/s }, { at: 36, size: 3663MiB, rate: 75MiB/s }, { at: 60, size: 820MiB, rate: 138MiB/s } ], hot: 496MiB, mapped: no, hot-from: 0, swap: 1998MiB }
      - { name: g5, max: 6391MiB, size: 4729MiB, uses: 1655MiB, eats: [ { at: 69, size: 1199MiB, rate: 64MiB/s }, { at: 79, size: 769MiB, rate: 203MiB/s } ], noise: 3MiB, cache: [ { at: 0, size: 861MiB, rate: 200MiB/s } ] }
      - { name: wave, count: 19, max: 2617MiB, size: 1570MiB, uses: 327MiB, eats: [ { at: 49, size: 771MiB, rate: 187MiB/s } ] }
      - { name: odd0, max: 2056MiB, size: 1024MiB, uses: 236MiB, eats: [ { at: 44, size: 489MiB, rate: 21MiB/s } ], figures: rates }`,
  'a guest whose programs rose beside its cache was given what they had taken so far': `
    seed: 460279
    duration: 110
    host: { memory: 58136MiB, used: 1GiB }
    config: { interval: 2, pool: 41665MiB }
    guests:
      - { name: g0, max: 5027MiB, size: 4373MiB, uses: 1487MiB, eats: [ { at: 15, size: 2482MiB, rate: 185MiB/s }, { at: 25, size: 2078MiB, rate: 23MiB/s }, { at: 51, size: 2742MiB, rate: 51MiB/s } ] }
      - { name: g1, max: 12016MiB, size: 9252MiB, uses: 2868MiB, eats: [ { at: 84, size: 1085MiB, rate: 41MiB/s } ], noise: 3MiB }
      - { name: g2, max: 16095MiB, size: 12554MiB, uses: 4394MiB, eats: [ { at: 69, size: 5712MiB, rate: 195MiB/s }, { at: 33, size: 11218MiB, rate: 9MiB/s }, { at: 37, size: 2203MiB, rate: 34MiB/s } ], hot: 3019MiB, mapped: no, hot-from: 0 }
      - { name: g3, max: 4426MiB, size: 1593MiB, uses: 207MiB, eats: [ { at: 30, size: 2204MiB, rate: 621MiB/s }, { at: 62, size: 527MiB, rate: 43MiB/s } ] }
      - { name: g4, max: 12875MiB, size: 12231MiB, uses: 3669MiB, eats: [ { at: 46, size: 3596MiB, rate: 165MiB/s }, { at: 23, size: 5137MiB, rate: 52MiB/s }, { at: 34, size: 2825MiB, rate: 573MiB/s } ] }
      - { name: g5, max: 11868MiB, size: 9613MiB, uses: 4999MiB }
      - { name: odd0, max: 2051MiB, size: 1948MiB, uses: 370MiB, virtio-mem: 8204MiB }
      - { name: odd1, max: 2059MiB, size: 1853MiB, uses: 704MiB, most: 1853MiB }`,
  'a cushion that a guest had had before was not given back beside memory that nobody used': `
    seed: 369910
    host: { memory: 5671MiB }
    config: { interval: 0.5, sampling-budget: 0%, boot-rest: 0s, surplus: host, signal: unused, burst: 200MiB/s, reserve: 382MiB }
    guests:
      - { name: g0, max: 1865MiB, size: 1767MiB, uses: 159MiB, noise: 3MiB, eats: [ { at: 34.3, size: 999MiB, rate: 327MiB/s }, { at: 22.55, size: 152MiB, rate: 353MiB/s } ], figures: windows }
      - { name: g1, max: 925MiB, size: 818MiB, uses: 157MiB, noise: 3MiB, eats: [ { at: 46.17, size: 441MiB, rate: 132MiB/s }, { at: 5.6, size: 437MiB, rate: 32MiB/s }, { at: 11.99, size: 620MiB, rate: 205MiB/s } ], limit: 402MiB }
      - { name: g2, max: 489MiB, size: 175MiB, uses: 110MiB, noise: 0MiB, eats: [ { at: 30.02, size: 580MiB, rate: 64MiB/s }, { at: 7.67, size: 907MiB, rate: 19MiB/s } ], figures: rates }
      - { name: g3, max: 1524MiB, size: 472MiB, uses: 122MiB, noise: 3MiB, eats: [ { at: 34.8, size: 1485MiB, rate: 1329MiB/s } ], hot: 490MiB, hot-from: 33.87 }
      - { name: g4, max: 1193MiB, size: 557MiB, uses: 108MiB, noise: 3MiB, eats: [ { at: 25.3, size: 483MiB, rate: 55MiB/s }, { at: 11.9, size: 1494MiB, rate: 313MiB/s }, { at: 59.82, size: 1449MiB, rate: 1469MiB/s } ], driver: no }
      - { name: g5, max: 1984MiB, size: 1849MiB, uses: 156MiB, noise: 3MiB, eats: [ { at: 8.41, size: 704MiB, rate: 74MiB/s }, { at: 36.68, size: 510MiB, rate: 197MiB/s }, { at: 46.73, size: 1253MiB, rate: 331MiB/s } ], speed: 58MiB/s }
    events:
      - { at: 38.04, do: set, size: 2002MiB, guest: g4 }
      - { at: 20.84, do: kill, guest: g3 }
      - { at: 55.94, do: pressure, for: 15 }
      - { at: 59.19, do: pause, for: 6, guest: g3 }
      - { at: 53.02, do: reboot, guest: g0 }`,
  'what was given close to the reserve was taken back as soon as it showed, and given again': `
    seed: 20192
    host: { memory: 2215MiB }
    config: { interval: 5, sampling-budget: 5%, surplus: host, signal: usable, burst: 400MiB/s, reserve: 962MiB, guests: [ { match: "g[3-5]", min: 511MiB, max: 927MiB, share: 4000, signal: usable, manage: no }, { match: "g[12]", min: 257MiB, share: 4000, signal: unused, manage: yes }, { match: g1, min: 445MiB, max: 513MiB, share: 1 } ] }
    guests:
      - { name: g0, max: 1988MiB, size: 1101MiB, uses: 107MiB, noise: 0MiB, cache: [ { at: 58.52, size: 208MiB, rate: 40MiB/s }, { at: 48.54, size: 335MiB, rate: 34MiB/s }, { at: 34.06, size: 506MiB, rate: 543MiB/s }, { at: 48.83, size: 8MiB, rate: 41MiB/s } ] }
      - { name: g1, max: 871MiB, size: 606MiB, uses: 106MiB, noise: 3MiB, eats: [ { at: 48.94, size: 919MiB, rate: 149MiB/s } ], figures: wrap }
    events:
      - { at: 17.91, do: vfio, guest: g1 }`,
  'what a probe had taken from a guest for nobody was not given back beside what others could take': `
    seed: 466648
    host: { memory: 4286MiB }
    config: { interval: 1, boot-rest: 120s, surplus: guests, signal: usable, burst: 400MiB/s, reserve: 771MiB }
    guests:
      - { name: g0, max: 576MiB, size: 202MiB, uses: 142MiB, noise: 0MiB, eats: [ { at: 29.78, size: 916MiB, rate: 93MiB/s }, { at: 5.96, size: 107MiB, rate: 643MiB/s }, { at: 29.14, size: 27MiB, rate: 8MiB/s }, { at: 12.56, size: 933MiB, rate: 243MiB/s } ], figures: nan }
      - { name: g1, max: 1417MiB, size: 408MiB, uses: 126MiB, noise: 0MiB, eats: [ { at: 28.72, size: 884MiB, rate: 415MiB/s }, { at: 9.74, size: 1026MiB, rate: 435MiB/s } ], stops: 53.32 }
      - { name: g2, max: 493MiB, size: 168MiB, uses: 72MiB, noise: 0MiB, cache: [ { at: 15.31, size: 328MiB, rate: 49MiB/s } ] }
      - { name: g3, max: 1457MiB, size: 1206MiB, uses: 89MiB, noise: 3MiB, eats: [ { at: 2.26, size: 214MiB, rate: 790MiB/s }, { at: 36.89, size: 386MiB, rate: 1453MiB/s }, { at: 14.98, size: 174MiB, rate: 21MiB/s } ], figures: rates }
      - { name: g4, max: 333MiB, size: 317MiB, uses: 95MiB, noise: 0MiB, eats: [ { at: 43.52, size: 1096MiB, rate: 296MiB/s } ], hot: 232MiB, mapped: yes }
      - { name: g5, max: 1564MiB, size: 1197MiB, uses: 126MiB, noise: 3MiB, eats: [ { at: 20.47, size: 432MiB, rate: 260MiB/s } ], limit: 366MiB }
    events:
      - { at: 52.43, do: set, size: 471MiB, guest: g4 }
      - { at: 35.65, do: vfio, guest: g5 }
      - { at: 56.46, do: unload, guest: g3 }`,
  'a guest whose rise had ended was counted with all its spare': `
    seed: 911987
    host: { memory: 1719MiB }
    config: { interval: 1, sampling-budget: 5%, surplus: host, signal: usable, burst: 200MiB/s, reserve: 237MiB, guests: [ { match: g1, min: 834MiB, max: 1647MiB, manage: yes }, { match: "g[3-5]", min: 432MiB, max: 704MiB, share: 4000, signal: unused, manage: yes } ], exclude: [ "g[24]" ] }
    guests:
      - { name: g0, max: 305MiB, size: 183MiB, uses: 123MiB, noise: 3MiB, eats: [ { at: 15, size: 1407MiB, rate: 353MiB/s } ], tmpfs: [ { at: 59.67, size: 126MiB, rate: 87MiB/s } ] }
      - { name: g1, max: 1491MiB, size: 610MiB, uses: 117MiB, noise: 0MiB, eats: [ { at: 21.38, size: 329MiB, rate: 1301MiB/s }, { at: 36.52, size: 1442MiB, rate: 63MiB/s } ], figures: wrap }
      - { name: g2, max: 521MiB, size: 279MiB, uses: 69MiB, noise: 0MiB, eats: [ { at: 21.48, size: 1328MiB, rate: 3MiB/s } ], hot: 592MiB, hot-from: 52.23 }
    events:
      - { at: 1.17, do: vfio, guest: g2 }`,
  'a balloon that had been stuck was left alone while the host lacked what it could give': `
    seed: 48384
    host: { memory: 2537MiB }
    config: { interval: 5, sampling-budget: 5%, boot-rest: 0s, surplus: host, signal: unused, burst: 400MiB/s, reserve: 468MiB, guests: [ { match: g1, min: 863MiB, max: 1536MiB, share: 4000, signal: usable } ] }
    guests:
      - { name: g0, max: 1649MiB, size: 412MiB, uses: 112MiB, noise: 0MiB, eats: [ { at: 23.56, size: 610MiB, rate: 28MiB/s }, { at: 40.26, size: 136MiB, rate: 55MiB/s }, { at: 50.87, size: 87MiB, rate: 297MiB/s }, { at: 55.43, size: 1039MiB, rate: 48MiB/s } ], hot: 297MiB, hot-from: 39.43 }
      - { name: g1, max: 263MiB, size: 143MiB, uses: 83MiB, noise: 0MiB, eats: [ { at: 22.36, size: 1359MiB, rate: 30MiB/s }, { at: 48.53, size: 1084MiB, rate: 378MiB/s } ], figures: wrap }
      - { name: g2, max: 2039MiB, size: 1543MiB, uses: 111MiB, noise: 0MiB, eats: [ { at: 15.91, size: 1337MiB, rate: 35MiB/s }, { at: 46.98, size: 447MiB, rate: 36MiB/s }, { at: 40.36, size: 565MiB, rate: 236MiB/s }, { at: 20.61, size: 1170MiB, rate: 441MiB/s } ], cache: [ { at: 10.49, size: 129MiB, rate: 20MiB/s }, { at: 28.33, size: 118MiB, rate: 44MiB/s } ] }
    events:
      - { at: 28.5, do: set, size: 411MiB, guest: g0 }
      - { at: 16.31, do: stick, for: 26, guest: g2 }
      - { at: 10.41, do: clock, by: -3600 }
      - { at: 54.05, do: set, size: 660MiB, guest: g2 }
      - { at: 30.6, do: pause, for: 9, guest: g1 }`,
  'a guest that faulted waited for grants of others to show, beside memory of the host': `
    seed: 99306
    duration: 110
    host: { memory: 65536MiB, used: 1GiB, arc: 2297MiB, arc-min: 115MiB }
    config: { guests: [ { match: odd0, manage: no } ] }
    guests:
      - { name: g0, max: 9018MiB, size: 8657MiB, uses: 4155MiB, eats: [ { at: 82, size: 4592MiB, rate: 75MiB/s } ], noise: 3MiB, cache: [ { at: 0, size: 2566MiB, rate: 200MiB/s } ], swap: 457MiB }
      - { name: g1, max: 11863MiB, size: 6881MiB, uses: 1514MiB, eats: [ { at: 71, size: 3864MiB, rate: 559MiB/s }, { at: 75, size: 2952MiB, rate: 489MiB/s }, { at: 17, size: 2093MiB, rate: 57MiB/s } ] }
      - { name: g2, max: 9437MiB, size: 3209MiB, uses: 545MiB, streams: 7MiB/s }
      - { name: g3, max: 9555MiB, size: 6020MiB, uses: 3552MiB, eats: [ { at: 20, size: 1160MiB, rate: 164MiB/s }, { at: 42, size: 1259MiB, rate: 425MiB/s } ], hot: 889MiB, mapped: no, hot-from: 0 }
      - { name: g4, max: 4227MiB, size: 1818MiB, uses: 327MiB, eats: [ { at: 89, size: 909MiB, rate: 28MiB/s }, { at: 27, size: 894MiB, rate: 523MiB/s }, { at: 66, size: 894MiB, rate: 45MiB/s } ], noise: 3MiB }
      - { name: g5, max: 3757MiB, size: 2517MiB, uses: 730MiB, eats: [ { at: 20, size: 161MiB, rate: 416MiB/s }, { at: 20, size: 357MiB, rate: 21MiB/s } ], noise: 3MiB, hot: 500MiB, mapped: yes, hot-from: 0 }
      - { name: wave, count: 20, max: 3497MiB, size: 2098MiB, uses: 437MiB, eats: [ { at: 43, size: 1478MiB, rate: 163MiB/s } ] }
      - { name: odd0, max: 2054MiB, size: 1027MiB, uses: 236MiB, eats: [ { at: 35, size: 696MiB, rate: 195MiB/s } ] }
      - { name: odd1, max: 10689MiB, size: 5986MiB, uses: 1556MiB, eats: [ { at: 39, size: 2702MiB, rate: 26MiB/s } ], figures: nvdimm }`,
  'a balloon was taken to inflate as fast as it had deflated, and its guest was asked for more than it could give': `
    seed: 935985
    duration: 110
    host: { memory: 30386MiB, used: 1GiB }
    guests:
      - { name: g0, max: 6029MiB, size: 3798MiB, uses: 1405MiB, eats: [ { at: 25, size: 1388MiB, rate: 145MiB/s }, { at: 32, size: 742MiB, rate: 764MiB/s }, { at: 56, size: 1962MiB, rate: 549MiB/s } ] }
      - { name: g1, max: 15694MiB, size: 11927MiB, uses: 1789MiB, eats: [ { at: 24, size: 5272MiB, rate: 128MiB/s }, { at: 42, size: 13434MiB, rate: 66MiB/s } ], hot: 5677MiB, mapped: yes, hot-from: 60, swap: 212MiB }
      - { name: g2, max: 1646MiB, size: 741MiB, uses: 185MiB, noise: 3MiB }
      - { name: wave, count: 17, max: 1497MiB, size: 898MiB, uses: 200MiB, eats: [ { at: 62, size: 503MiB, rate: 141MiB/s } ] }
      - { name: odd0, max: 8026MiB, size: 4013MiB, uses: 883MiB, figures: zero }
      - { name: odd1, max: 16377MiB, size: 6551MiB, uses: 1179MiB, eats: [ { at: 58, size: 806MiB, rate: 20MiB/s } ], figures: win32 }
    events:
      - { at: 15.56, do: hang, for: 20, guest: g2 }
      - { at: 8.86, do: kill, guest: g2 }
      - { at: 24.06, do: eat, size: 1476MiB, for: 30 }`,
};

for (const [what, text] of Object.entries(found))
  t.test(`found, and mended: ${what}`, async (t) => {
    const { violations } = await simulate(parseScenario(text, 'found.yaml'));
    t.same(violations, []);
  });
