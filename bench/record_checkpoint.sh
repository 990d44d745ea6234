#!/usr/bin/env bash
# Throughput of checkpoints against that of `dd` on the same disk, in turns: bench/results/<name>-checkpoint.json.
#   bench/record_checkpoint.sh NAME FOLDER [ROUNDS]      FOLDER: where the files are written; it needs 3 GB
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:?a name for the results, such as epyc-genoa}
folder=${2:?a folder on the disk to measure}
rounds=${3:-5}
export OMP_NUM_THREADS=1 CHECKPOINT_FOLDER=$folder
ranks="1 2 4"
mpirun=(mpirun --oversubscribe --bind-to none)
scratch=$(mktemp -d)
# As many bytes as the checkpoint of `base` has, random and in memory.
source=$(mktemp -p /dev/shm)
trap 'rm -rf "$scratch" "$source" "$folder/bench-dd"' EXIT
head -c 1308MB /dev/urandom >"$source"

# Bytes per second of one dd: time_dd <label> <argument> …
time_dd() {
  local label=$1 start end
  shift
  rm -f "$folder/bench-dd"
  sync "$folder"
  start=$(date +%s%N)
  dd if="$source" of="$folder/bench-dd" bs=4M status=none "$@"
  end=$(date +%s%N)
  jq -n --arg name "dd/$label" --argjson bytes "$(stat -c %s "$source")" --argjson ns $((end - start)) \
    '{name: $name, bytes_per_second: ($bytes / $ns * 1e9)}' >>"$scratch/dd.json"
  rm -f "$folder/bench-dd"
}

for round in $(seq "$rounds"); do
  time_dd "buffered" conv=fsync
  time_dd "direct" conv=fsync oflag=direct
  for n in $ranks; do
    "${mpirun[@]}" -np "$n" build/bin/bench_checkpoint --benchmark_out="$scratch/$round-$n.json" \
      --benchmark_out_format=json
  done
done

processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
jq -s --arg processor "$processor" --arg commit "$(git describe --always --dirty)" \
  --arg command "bench/record_checkpoint.sh $name FOLDER $rounds" \
  --arg disk "$(df --output=fstype "$folder" | tail -n 1)" --slurpfile dd "$scratch/dd.json" \
  '{context: (.[0].context + {processor: $processor, commit: $commit, command: $command, file_system: $disk}),
    dd: $dd, benchmarks: map(.benchmarks[])}' "$scratch"/[0-9]*.json >"bench/results/$name-checkpoint.json"
