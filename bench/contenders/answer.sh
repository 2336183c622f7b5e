# For a contender in the shell that is called with a URI and has a function `cycle`: makes one for each line of stdin and answers as ../contender.ts has it.

set -u
export LC_ALL=C
uri=$1
ticks=$(getconf CLK_TCK)

# Milliseconds of CPU that this shell, and its children that have ended, took so far (proc(5): utime, stime, cutime, cstime).
cpu_so_far() {
  local stat
  read -ra stat </proc/$$/stat
  cpu=$(((stat[13] + stat[14] + stat[15] + stat[16]) * 1000 / ticks))
}

answer() {
  local target start wall cpu
  echo ready
  while read -r target; do
    start=${EPOCHREALTIME/./}
    cycle "$target" >/dev/null || exit 1
    wall=$((${EPOCHREALTIME/./} - start))
    cpu_so_far
    printf '%d.%03d %d\n' $((wall / 1000)) $((wall % 1000)) "$cpu"
  done
}
