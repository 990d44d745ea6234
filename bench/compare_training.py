#!/usr/bin/env python3
"""Fine-tuning on the CPU, Toller against sentence-transformers: the same model, texts, batches and threads, in turns.

  compare_training.py --toller build/bin/toller --print-batches build/tests/data/print_batches [--model DIR] [--batch N]
                      [--length N] [--threads N] [--rounds N] [--json FILE]

Every round runs the same steps with both (without dropout, so that both calculate the same; tests/reference/finetuning_reference.py
shows that they do), the first two of them not timed. Sentence-transformers is measured by its steps alone, without its
trainer. Both tokenize: Toller before the run, sentence-transformers in every step. Texts: pairs of
WordNet's synsets, of some 25 tokens.
"""
import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "reference"))
import finetuning_reference as reference  # noqa: E402

STEPS, NOT_TIMED, RATE = 12, 2, 2e-5


def measure_toller(options, model, store, out):
    """Tokens per second."""
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    reference.run(options.toller, *reference.training_options(store, model, out, options.batch, STEPS), "--log-every", 1,
                  "--threads", options.threads)
    steps = reference.read_steps(out)[NOT_TIMED:]
    seconds = [after["seconds"] - before["seconds"] for before, after in zip(steps, steps[1:])]
    tokens = [step["tokens_per_second"] * spent for step, spent in zip(steps[1:], seconds)]
    return sum(tokens) / sum(seconds)


def measure_peer(options, batches, texts):
    peer = reference.FineTuning(options.model, options.length)
    tokens, start = 0, 0.0
    for number, batch in enumerate(batches):
        if number == NOT_TIMED + 1:  # as many steps as Toller's
            tokens, start = 0, time.perf_counter()
        tokens += peer.step(reference.texts_of(batch, texts), RATE)[1]
    return tokens / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toller", required=True)
    parser.add_argument("--print-batches", required=True)
    parser.add_argument("--model", type=Path, metavar="DIR", default=reference.packaged_model())
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    reference.torch.set_num_threads(options.threads)
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        model, store, texts = reference.prepare_pairs(options.toller, options.model, scratch, options.length)
        batches = reference.read_batches(options.print_batches, store, options.batch, STEPS)
        for number in range(options.rounds):
            found = {"toller": measure_toller(options, model, store, scratch / f"run-{number}"),
                     "sentence-transformers": measure_peer(options, batches, texts)}
            rounds.append(found)
            print(f"round {number}: " + ", ".join(f"{who} {rate:,.0f} tokens/s" for who, rate in found.items())
                  + f", ratio {found['toller'] / found['sentence-transformers']:.2f}", flush=True)
    ratios = [found["toller"] / found["sentence-transformers"] for found in rounds]
    print(f"ratio: median {statistics.median(ratios):.2f}")
    if options.json:
        result = {"command": " ".join(["bench/compare_training.py", *sys.argv[1:]]), "processor": platform.processor(),
                  "torch": reference.torch.__version__, "threads": options.threads, "batch": options.batch,
                  "length": options.length, "steps": STEPS - NOT_TIMED - 1, "tokens_per_second": rounds,
                  "median_ratio": statistics.median(ratios)}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
