#!/usr/bin/env python3
"""Which loss ranks best? Trains the same small model on the sample collection with each loss, alike but for the loss.

  compare_losses.py --toller build/bin/toller --data store.h5 --out runs/losses [--init FILE] [--json FILE] [LOSS ...]

Every loss gets the same number of trials with one seed, over the number that matters to it (the temperature, or the weight
beside InfoNCE) and then a second learning rate; the best by nDCG@10 on the dev split is trained with three other seeds and
measured on the test split. From scratch, or fine-tuning the checkpoint --init for half as many steps at lower rates.
"""
from comparison import Comparison, parser

COMMON = ["--device", "cpu", "--preset", "tiny", "--dropout", "0", "--global-batch", "160", "--positives", "4",
          "--sampling", "grade", "--max-length", "48", "--adam-epsilon", "1e-12", "--keep", "1"]
STEPS, LEARNING_RATES = "150", ["5e-3", "2.5e-3"]
FINE_TUNING_STEPS, FINE_TUNING_RATES = "75", ["2e-3", "1e-3"]
METRICS = ["ndcg@10", "auc", "mrr@10", "recall@100"]


def by_temperature(name, temperatures):
    return [["--loss", name, "--temperature", t] for t in temperatures]


def beside_infonce(name, weights):
    return [["--loss", "infonce", "--loss", f"{name}:{weight}", "--temperature", "0.05"] for weight in weights]


LOSSES = {
    "infonce": by_temperature("infonce", ["0.03", "0.05", "0.1"]),
    "mw": by_temperature("mw", ["0.03", "0.05", "0.1"]),
    "wasserstein": by_temperature("wasserstein", ["0.1", "0.3", "1"]),
    "ranknet": beside_infonce("ranknet", ["0.5", "2", "8"]),
    "lambda": beside_infonce("lambda", ["0.5", "2", "8"]),
    "pg-rank": beside_infonce("pg-rank", ["0.2", "1", "5"]),
}


def compare(comparison, name, rates):
    trials = [comparison.trial(name, [*setting, "--lr", rates[0]]) for setting in LOSSES[name]]
    for rate in rates[1:]:
        trials.append(comparison.trial(name, [*comparison.best(trials)[:-1], rate]))
    return comparison.result(name, trials)


def main():
    arguments = parser(__doc__.splitlines()[0], list(LOSSES))
    arguments.add_argument("--init", help="checkpoint to start from; default: random parameters")
    options = arguments.parse_args()
    common = ["--data", options.data, *COMMON, "--steps", STEPS]
    rates = LEARNING_RATES
    if options.init:
        common = ["--data", options.data, *COMMON, "--steps", FINE_TUNING_STEPS, "--init", options.init]
        rates = FINE_TUNING_RATES
    comparison = Comparison(options, common, ["--data", options.data], METRICS)
    comparison.report([compare(comparison, name, rates) for name in options.names])


if __name__ == "__main__":
    main()
