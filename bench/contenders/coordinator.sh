#!/bin/bash
# The coordinator that people write today: reads each guest with `virsh dommemstat` and moves it with `virsh setmem`, by 100 MiB, every 2 s.
# A guest with less than 150 MiB unused gets 100 MiB more, one with more than 300 MiB gives 100 MiB.
#
#   bench/contenders/coordinator.sh URI GUEST...     prints a line `NAME FROM TO` (KiB) for each move
set -u
uri=$1
shift
mib=1024
floor=$((256 * mib)) step=$((100 * mib)) low=$((150 * mib)) high=$((300 * mib))

declare -A ceiling
for guest; do
  ceiling[$guest]=$(virsh -q -c "$uri" dominfo "$guest" | awk '/^Max memory:/ { print $3 }')
  virsh -q -c "$uri" dommemstat "$guest" --period 1 --live
done

while sleep 2; do
  for guest; do
    actual=0 unused=0
    while read -r name value; do
      case $name in actual) actual=$value ;; unused) unused=$value ;; esac
    done < <(virsh -q -c "$uri" dommemstat "$guest")
    target=$actual
    if ((unused < low)); then
      target=$((actual + step < ceiling[$guest] ? actual + step : ceiling[$guest]))
    elif ((unused > high)); then
      target=$((actual - step > floor ? actual - step : floor))
    fi
    ((target == actual)) && continue
    virsh -q -c "$uri" setmem "$guest" "$target" --live
    echo "$guest $actual $target"
  done
done
