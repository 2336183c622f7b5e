#!/bin/bash
# virsh-loop.sh URI: a coordinator's loop as people write it in the shell: one virsh for each guest and each call.
# Kinder to the shell than most: no awk or grep is started, what virsh prints is read by bash itself.
source "${BASH_SOURCE%/*}/answer.sh"

declare -A usable
cycle() {
  local target=$1 guest name value
  for guest in $(virsh -q -c "$uri" list --name); do
    while read -r name value; do
      [ "$name" != usable ] || usable[$guest]=$value
    done < <(virsh -q -c "$uri" dommemstat "$guest")
    [ -z "$target" ] || virsh -q -c "$uri" setmem "$guest" "$target" --live
  done
}

answer
