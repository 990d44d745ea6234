#!/usr/bin/env bash
# Starts a training run and, when it fails, goes on with it from its newest valid checkpoint.
#   launch/supervised.sh [option …] mpirun -np 4 toller train --data store.h5 --out runs/mine …
#     --max-restarts N   at most so many (3)
#     --pause SECONDS    before each (10)
# The command is any launcher's, with the word `train` in it and --out or --resume behind that. A restart is the command up
# to `train`, then --resume and the run folder, whose checkpoints hold the other options. What it does is said on standard
# error and in supervised.log in the run folder. It gives up when the command was used wrongly (status 2), when the run
# ended before its first checkpoint, and when a restart brought no new checkpoint; its exit status is the last run's.
# SIGTERM, SIGINT and SIGUSR1 end the run in order, by SIGUSR1 to the command.
set -euo pipefail
set -m  # the command gets a process group of its own: Ctrl-C reaches it through here alone

usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$0"; }
wrong_use() { printf 'supervised: %s; see --help\n' "$1" >&2; exit 2; }
say() {
  local line
  line="$(date '+%Y-%m-%d %H:%M:%S') $*"
  printf 'supervised: %s\n' "$line" >&2
  if [[ -d $run ]]; then printf '%s\n' "$line" >>"$run/supervised.log" || true; fi
}

max_restarts=3 pause=10
while (($# > 0)); do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --max-restarts | --pause)
      [[ ${2:-} =~ ^[0-9]{1,6}$ ]] || wrong_use "$1 needs a number"
      if [[ $1 == --pause ]]; then pause=$2; else max_restarts=$2; fi
      shift 2 ;;
    -*) wrong_use "unknown option $1" ;;
    *) break ;;
  esac
done

# The command up to `train`, and the run folder behind it.
start=("$@") head=() run='' resumes=false found=false
while (($# > 0)); do
  if ! $found; then head+=("$1"); fi
  case $1 in
    train) found=true ;;
    --out | --resume)
      if $found; then
        run=${2:-}
        if [[ $1 == --resume ]]; then resumes=true; fi
      fi ;;
    --out=*) if $found; then run=${1#*=}; fi ;;
    --resume=*) if $found; then run=${1#*=} resumes=true; fi ;;
  esac
  shift
done
$found || wrong_use 'give a command with the word train'
[[ -n $run ]] || wrong_use "give the command's --out or --resume"
again=("${head[@]}" --resume "$run")
if $resumes; then again=("${start[@]}"); fi

# The step of the newest checkpoint; nothing where there is none.
newest_step() {
  local file newest=''
  for file in "$run"/step-*.h5; do
    [[ $file =~ /step-0*([0-9]+)\.h5$ ]] || continue
    if [[ -z $newest ]] || ((BASH_REMATCH[1] > newest)); then newest=${BASH_REMATCH[1]}; fi
  done
  printf '%s' "$newest"
}

child='' told=false
end_run() {
  told=true
  if [[ -n $child ]]; then kill -USR1 "$child" 2>/dev/null || true; fi
}
trap end_run TERM INT USR1

# Runs the command; its exit status is in `status`.
run_command() {
  "$@" </dev/null &
  child=$!
  if $told; then end_run; fi
  while :; do  # a signal ends the waiting, not the command
    status=0
    wait "$child" || status=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=''
}

status=0 restarts=0 before=''
run_command "${start[@]}"
while ((status != 0)); do
  now=$(newest_step)
  if $told; then say "status $status after a signal to end"; break; fi
  if ((status == 2)); then say 'gives up: the command was used wrongly (status 2)'; break; fi
  if [[ -z $now ]]; then say "gives up: status $status before the first checkpoint in $run"; break; fi
  if [[ $now == "$before" ]]; then say "gives up: status $status, no checkpoint since step $now"; break; fi
  if ((restarts == max_restarts)); then say "gives up: status $status after $restarts restarts"; break; fi
  restarts=$((restarts + 1)) before=$now
  say "status $status; restart $restarts of $max_restarts from step $now in $pause s"
  sleep "$pause" &
  wait $! || true
  if $told; then say 'told to end'; break; fi
  run_command "${again[@]}"
done
if ((restarts > 0 && status == 0)); then say "done after $restarts restarts"; fi
exit "$status"
