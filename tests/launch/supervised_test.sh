#!/usr/bin/env bash
# launch/supervised.sh with a program that only pretends: when it goes on, when it gives up, and what it passes on.
#   supervised_test.sh SCRIPT
set -euo pipefail
script=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# Writes its arguments to `calls`; the nth call does what line n of `plan` says.
cat >toller <<'TEXT'
#!/usr/bin/env bash
echo "$*" >>calls
eval "$(sed -n "$(wc -l <calls)p" plan)"
TEXT
chmod +x toller
export PATH=$folder:$PATH

fail() { echo "$1" >&2; cat log calls >&2; exit 1; }
# try STATUS ARGUMENT …: runs the script, whose plan is on standard input.
try() {
  local expected=$1 status=0
  shift
  rm -rf run calls
  cat >plan
  timeout 20 "$script" --pause 0 "$@" >log 2>&1 || status=$?
  ((status == expected)) || fail "$*: exit status $status, not $expected"
}
calls() { [[ $(cat calls) == "$1" ]] || fail "the calls are not: $1"; }
says() { grep -q "$1" log || fail "does not say: $1"; }
save='mkdir -p run; touch run/step-'

try 0 env A=1 toller train --data x --out run --steps 9 <<TEXT
${save}00000000.h5
TEXT
calls 'train --data x --out run --steps 9'

try 0 toller train --data x --out=run --steps 9 <<TEXT
${save}00000000.h5; exit 1
${save}00000010.h5; kill -9 \$\$
${save}00000020.h5
TEXT
calls 'train --data x --out=run --steps 9
train --resume run
train --resume run'
says 'status 1; restart 1 of 3 from step 0'
says 'status 137; restart 2 of 3 from step 10'
says 'done after 2 restarts'
grep -q 'restart 2 of 3' run/supervised.log || fail 'supervised.log lacks a restart'

try 1 toller train --out run <<TEXT
${save}00000008.h5; exit 1
exit 1
TEXT
says 'gives up: status 1, no checkpoint since step 8'

try 3 --max-restarts 1 toller train --resume run --steps 70 <<TEXT
${save}00000001.h5; exit 3
${save}00000002.h5; exit 3
TEXT
says 'gives up: status 3 after 1 restarts'
calls 'train --resume run --steps 70
train --resume run --steps 70'

try 2 toller train --out run <<<"${save}00000001.h5; exit 2"
says 'used wrongly'
calls 'train --out run'
try 1 toller train --out run <<<'exit 1'
says 'before the first checkpoint'

# A signal is passed on, and what it ends is not started again.
rm -rf run calls
echo "${save}00000001.h5; trap 'exit 5' USR1; for i in {1..100}; do sleep 0.1; done" >plan
"$script" --pause 0 toller train --out run >log 2>&1 &
supervisor=$!
for _ in {1..100}; do [[ -e run/step-00000001.h5 ]] && break; sleep 0.1; done
sleep 0.3
kill -TERM "$supervisor"
status=0
wait "$supervisor" || status=$?
((status == 5)) || fail "exit status $status after a signal, not 5"
says 'after a signal to end'
calls 'train --out run'

for wrong in '' '--max-restarts many toller train --out run' '--what' 'toller evaluate --out run' 'toller train --steps 2'; do
  # shellcheck disable=SC2086
  try 2 $wrong </dev/null
done
