#!/bin/bash
# virsh-bulk.sh URI: the better loop: one virsh reads all guests; setting takes one for each guest all the same.
source "${BASH_SOURCE%/*}/answer.sh"

declare -A usable
cycle() {
  local target=$1 line guest guests=()
  while read -r line; do
    case $line in
      Domain:*) guest=${line#*\'} guest=${guest%\'} guests+=("$guest") ;;
      balloon.usable=*) usable[$guest]=${line#*=} ;;
    esac
  done < <(virsh -q -c "$uri" domstats --balloon --list-running)
  [ -n "$target" ] || return 0
  for guest in "${guests[@]}"; do virsh -q -c "$uri" setmem "$guest" "$target" --live; done
}

answer
