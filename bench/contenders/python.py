#!/usr/bin/python3
"""python.py URI: the same cycle with libvirt's own Python binding, guest after guest, in one process. Answers as ../contender.ts has it."""
import sys
import time

import libvirt


def main():
    connection = libvirt.open(sys.argv[1])
    usable = {}
    print("ready", flush=True)
    for line in sys.stdin:
        target = int(line) if line.strip() else None
        start = time.monotonic()
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            usable[domain.name()] = domain.memoryStats().get("usable")
            if target is not None:
                domain.setMemoryFlags(target, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        wall = (time.monotonic() - start) * 1000
        print(f"{wall:.3f} {time.process_time() * 1000:.3f}", flush=True)


main()
