#!/usr/bin/env bash
# From nothing to a trained, evaluated and fused retriever on this machine's processors: installs what is missing,
# builds, makes the sample collection, trains with two MPI ranks, and compares the result with BM25. All it writes
# beside build/ lies in runs/quickstart/. What is done already is skipped; delete the folder to start again.
set -euo pipefail
cd "$(dirname "$0")/.."

run=runs/quickstart
config=launch/configs/quickstart.conf
vocabulary=16384
ranks=2
toller=build/bin/toller
model=$run/model
begin=$SECONDS
mkdir -p "$run/logs" "$run/results"

title='start'
log=
on_exit() {
  local status=$?
  ((status == 0)) && return
  printf '\nquickstart: step "%s" failed (exit status %d).\n' "$title" "$status" >&2
  if [[ -n $log && -s $log ]]; then
    printf 'Its output is in %s; the last lines:\n' "$log" >&2
    tail -n 15 "$log" | sed 's/^/  | /' >&2
  fi
}
trap on_exit EXIT

heading() {
  title=$1
  log=$run/logs/$2.log
  printf '\n== %s\n' "$title"
}

# step TITLE NAME FILE COMMAND…: runs the command, its output into logs/NAME.log, unless its FILE is there already.
step() {
  heading "$1" "$2"
  local file=$3 from=$SECONDS
  shift 3
  if [[ -e $file ]]; then
    echo "   done before: $file"
    return
  fi
  echo "   $*"
  "$@" >"$log" 2>&1
  [[ -e $file ]] || { echo "$file did not appear" >>"$log"; return 1; }
  echo "   $file ($((SECONDS - from)) s)"
}

# Ranks share the cores: a rank's threads must not get in the way of another's. Containers often run as root, with
# fewer cores than ranks or a part of the machine's cores that ranks cannot be bound to, and without the rights that
# shared-memory copies between processes need.
cores=$(nproc)
export OMP_NUM_THREADS=$((cores / ranks > 1 ? cores / ranks : 1))
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_mpi_yield_when_idle=1
mpi=(mpirun -q -np "$ranks" --bind-to none)
alone=(env "OMP_NUM_THREADS=$cores")

build() {
  cmake --preset release && cmake --build build --target toller
}

# Its progress goes to the terminal; the run folder keeps its own log.
train() {
  local from=$SECONDS
  heading "Train: $ranks ranks, $OMP_NUM_THREADS thread(s) each" train
  log=$model/train.log
  if [[ -e $run/trained ]]; then
    echo "   done before: $model"
    return
  fi
  local options=(--config "$config" --data "$run/store.h5" --out "$model")
  # A run that was interrupted goes on from its last checkpoint.
  if [[ -e $model/last ]]; then options=(--resume "$model"); fi
  echo "   ${mpi[*]} $toller train ${options[*]}"
  "${mpi[@]}" "$toller" train "${options[@]}"
  if tail -n 2 "$log" | grep -q 'stopped by a signal'; then
    echo '   stopped before the end; run this again to go on' >&2
    return 1
  fi
  touch "$run/trained"
  echo "   $model ($((SECONDS - from)) s)"
}

evaluate() {  # evaluate TITLE NAME ARGUMENT…
  step "$1" "evaluate-$2" "$run/results/$2.json" "${alone[@]}" "$toller" evaluate --device cpu --data "$run/store.h5" \
    --split test --json "$run/results/$2.json" "${@:3}"
}

table() {
  local names=("$@") name
  printf '\n%-16s %9s %9s %11s %7s\n' 'test split' nDCG@10 MRR@10 recall@100 AUC
  for name in "${names[@]}"; do
    jq -r --arg name "$name" '[$name, .["ndcg@10"], .["mrr@10"], .["recall@100"], .auc] | @tsv' \
      "$run/results/$name.json"
  done | while IFS=$'\t' read -r name ndcg mrr recall auc; do
    printf '%-16s %9.4f %9.4f %11.4f %7.4f\n' "$name" "$ndcg" "$mrr" "$recall" "$auc"
  done
}

heading 'Install what is missing' install
launch/install.sh 2>&1 | tee "$log" | tail -n 1 | sed 's/^/   /'

heading 'Build' build
echo '   cmake --preset release && cmake --build build --target toller'
build >"$log" 2>&1

step 'Make the sample collection: the nouns of WordNet 3.0' wordnet "$run/collection/qrels/test.tsv" \
  "$toller" wordnet --out "$run/collection"
step 'Train a subword tokenizer and tokenize the collection' prepare "$run/store.h5" \
  "${alone[@]}" "$toller" prepare --collection "$run/collection" --train-tokenizer "$vocabulary" \
  --out "$run/store.h5"
train

evaluate 'Evaluate BM25, the baseline' bm25 --bm25
evaluate 'Evaluate the model before its first step' start --model "$model/step-00000000.h5"
mapfile -t checkpoints < <(find "$model" -name 'step-*.h5' ! -name 'step-00000000.h5' | sort)
if ((${#checkpoints[@]} < 2)); then
  echo "   $model holds ${#checkpoints[@]} checkpoint(s), a fusion needs two: see checkpoint-every and keep in $config" >&2
  exit 1
fi
steps=()
for checkpoint in "${checkpoints[@]}"; do
  name=$(basename "$checkpoint" .h5)
  evaluate "Evaluate $name" "$name" --model "$checkpoint"
  steps+=("$name")
done
cp "$run/results/${steps[-1]}.json" "$run/results/last.json"

step 'Fuse the last two checkpoints' fuse "$run/fused.h5" \
  "$toller" fuse --base "$model/step-00000000.h5" --method delta-guided --out "$run/fused.h5" \
  "${checkpoints[-2]}" "${checkpoints[-1]}"
evaluate 'Evaluate the fusion' fused --model "$run/fused.h5"

heading 'Results' results
rows=(bm25 start "${steps[@]}" fused)
table "${rows[@]}"
for name in "${rows[@]}" last; do
  jq --arg name "$name" '{($name): .}' "$run/results/$name.json"
done | jq -s add >"$run/results.json.tmp"
mv "$run/results.json.tmp" "$run/results.json"

cat <<TEXT

$run/results.json holds the table. This took $((SECONDS - begin)) s. What to try next:
  $toller inspect $model/last
  $toller export --to sentence-transformers --out served $model      SentenceTransformer("served")
  $toller train --help
  $toller prepare --help          your own collection: see docs/tutorial.md
TEXT
