#!/usr/bin/env python3
"""Which similarity loss orders pairs of sentences best? A small model from scratch, on two tasks in turns.

  compare_similarity.py --toller build/bin/toller --data wordnet.h5 --pairs stsb.h5 --out runs/similarity [--json FILE] [LOSS ...]

Every other batch comes from the STS benchmark and takes the loss to compare, the others from the sample collection and take
InfoNCE. Every loss gets the same number of trials with one seed (temperature, then weight); the best by Spearman's
correlation on the dev split is trained with three other seeds and measured on dev and test. "none" trains on the
collection alone, as long as the others do on both.
"""
from comparison import Comparison, parser

COMMON = ["--device", "cpu", "--preset", "tiny", "--dropout", "0.1", "--global-batch", "128", "--positives", "2",
          "--max-length", "48", "--steps", "300", "--lr", "5e-3", "--temperature", "0.05", "--keep", "1"]
METRICS = ["spearman", "pearson"]
TEMPERATURES, WEIGHTS = ["0.05", "0.2", "0.5"], ["3"]
LOSSES = ["none", "pearson", "rank-kl", "pro", "cosent"]


def setting(name, temperature, weight):
    return ["--loss", "infonce", "--loss", f"{name}:{weight}", "--pair-temperature", temperature]


def compare(comparison, name):
    trials = [comparison.trial(name, setting(name, temperature, "1")) for temperature in TEMPERATURES]
    temperature = comparison.best(trials)[-1]
    trials += [comparison.trial(name, setting(name, temperature, weight)) for weight in WEIGHTS]
    return comparison.result(name, trials)


def main():
    arguments = parser(__doc__.splitlines()[0], LOSSES)
    arguments.add_argument("--pairs", required=True, help="token store of the STS benchmark, with the same tokenizer")
    options = arguments.parse_args()
    alone = ["--data", options.data, *COMMON]
    both = ["--data", options.data, "--data", options.pairs, "--data-weights", "1,1", *COMMON]
    results = []
    for name in options.names:
        common = alone if name == "none" else both
        comparison = Comparison(options, common, ["--data", options.pairs], METRICS, ("dev", "test"))
        if name == "none":
            results.append(comparison.result(name, [comparison.trial(name, ["--loss", "infonce"])]))
        else:
            results.append(compare(comparison, name))
    comparison.report(results)


if __name__ == "__main__":
    main()
