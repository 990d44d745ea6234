#!/usr/bin/env python3
"""Which fusion is best? Three losses' models, fine-tuned from one checkpoint, are fused by every method.

  compare_fusions.py --data store.h5 --init FILE --out runs/finetuned [--dev-data FILE] [--jobs N] [--json FILE] [METHOD ...]

The models are those that `compare_losses.py --init FILE --out runs/finetuned` chose; what is there is not trained again. Each
seed is a fusion of its own: `toller fuse --sweep` gives every method the same number of trials on all queries of the dev split (the
greedy soup needs none but its own; slerp takes the two best models), and the best of each is measured on the test split, as are
the uniform soup and delta-guided merging with its default settings, for which nothing was chosen. Mean and standard deviation are over the seeds.
"""
import json
import os
import statistics
from concurrent.futures import ThreadPoolExecutor

from compare_losses import COMMON, FINE_TUNING_STEPS, METRICS
from comparison import SEEDS, Comparison, parser

MODELS = {
    "infonce": ["--loss", "infonce", "--temperature", "0.05", "--lr", "2e-3"],
    "mw": ["--loss", "mw", "--temperature", "0.1", "--lr", "1e-3"],
    "wasserstein": ["--loss", "wasserstein", "--temperature", "1", "--lr", "1e-3"],
}
METHODS = ["soup", "delta-guided", "task-arithmetic", "ties", "dare", "slerp", "greedy-soup"]
TRIALS = 6
UNTUNED = {"soup": "uniform soup", "delta-guided": "delta-guided, defaults"}  # the first trials of a method
SETTINGS = ["granularity", "alpha", "lambda", "density", "drop", "seed", "t"]


class Fusions:
    """All fusions of one seed's models."""

    def __init__(self, comparison, seed):
        self.comparison, self.options, self.seed = comparison, comparison.options, seed
        self.folder = os.path.join(self.options.out, f"fusions-seed{seed}")
        os.makedirs(self.folder, exist_ok=True)
        self.models = [comparison.train(name, arguments, seed) for name, arguments in MODELS.items()]

    def path(self, name):
        return os.path.join(self.folder, name)

    def sweep(self):
        """All trials on the dev split."""
        if not os.path.exists(self.path("sweep.json")):
            self.comparison.toller(
                ["fuse", "--device", "cpu", "--threads", "1", "--sweep", "--search", "coordinates", "--trials", str(TRIALS),
                 "--method", ",".join(self.options.names), "--base", self.options.init, "--data", self.options.dev_data or self.options.data,
                 "--eval-queries", "0", "--json", self.path("sweep.json"), "--plot", self.path("sweep.svg"),
                 "--out", self.path("best.h5"), *self.models])
        with open(self.path("sweep.json"), encoding="utf-8") as file:
            return json.load(file)

    def measure(self, name, trial):
        """Makes the fusion of a trial again and measures it on the test split."""
        method = trial["method"] if trial["method"] != "greedy-soup" else "soup"
        arguments = ["--method", method]
        for setting in SETTINGS:
            if setting in trial:
                arguments += [f"--{setting}", str(trial[setting])]
        if "weights" in trial:
            arguments += ["--weights", ",".join(map(str, trial["weights"]))]
        if method not in ("soup", "slerp"):
            arguments += ["--base", self.options.init]
        model = self.path(name.replace(",", "").replace(" ", "-") + ".h5")
        self.comparison.toller(["fuse", *arguments, "--out", model, *trial["checkpoints"]])
        test = self.comparison.measure_model(model, "test", model.replace(".h5", "-test.json"))
        return {"name": name, "trial": trial, "test": test}

    def results(self):
        sweep = self.sweep()
        names = list(MODELS)
        results = [{"name": name, "trial": dict(trial, checkpoints=[name]),
                    "test": self.comparison.measure(name, MODELS[name], self.seed, "test")}
                   for name, trial in zip(names, sweep["ingredients"])]
        untuned, best = {}, {}
        for method in self.options.names:
            trials = [trial for trial in sweep["fusions"] if trial["method"] == method]
            best[method] = max(trials, key=lambda trial: trial[METRICS[0]])
            if method in UNTUNED:
                untuned[UNTUNED[method]] = trials[0]
        results += [self.measure(name, trial) for name, trial in {**untuned, **best}.items()]
        for result in results:  # the names of the models instead of where they lie here
            paths = [os.path.join(model, os.readlink(os.path.join(model, "last"))) for model in self.models]
            result["trial"]["checkpoints"] = [names[paths.index(path)] if path in paths else path
                                              for path in result["trial"]["checkpoints"]]
            print(f"seed {self.seed}, {result['name']}: dev {METRICS[0]} {result['trial'][METRICS[0]]:.4f}, test "
                  + ", ".join(f"{metric} {result['test'][metric]:.4f}" for metric in METRICS), flush=True)
        return {"seed": self.seed, "trials": len(sweep["fusions"]), "results": results}


def told(trial):
    """The settings of a trial in a few words."""
    words = [f"{setting} {trial[setting]}" for setting in SETTINGS if setting in trial and setting != "seed"]
    if "weights" in trial:
        words.append("weights " + ",".join(f"{weight:g}" for weight in trial["weights"]))
    if len(trial["checkpoints"]) < len(MODELS):
        words.append("of " + ", ".join(trial["checkpoints"]))
    return " ".join(words)


def report(seeds):
    columns = [("dev", METRICS[0])] + [("test", metric) for metric in METRICS]
    print("| | " + " | ".join(f"{split} {metric}" for split, metric in columns) + " | chosen, by seed |")
    print("|---" * (len(columns) + 2) + "|")
    for rows in zip(*(seed["results"] for seed in seeds)):
        cells = []
        for split, metric in columns:
            values = [(row["trial"] if split == "dev" else row["test"])[metric] for row in rows]
            cells.append(f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}")
        print(f"| {rows[0]['name']} | " + " | ".join(cells) + " | " + "; ".join(told(row["trial"]) for row in rows) + " |")


def main():
    arguments = parser(__doc__.splitlines()[0], METHODS)
    arguments.add_argument("--init", required=True, help="checkpoint that the models start from")
    arguments.add_argument("--dev-data", help="smaller store for the trials (thin_collection.py); default: that of --data")
    arguments.add_argument("--jobs", type=int, default=1, help="seeds at a time, one thread each (default 1)")
    options = arguments.parse_args()
    common = ["--data", options.data, *COMMON, "--steps", FINE_TUNING_STEPS, "--init", options.init]
    comparison = Comparison(options, common, ["--data", options.data, "--threads", "1"], METRICS)
    with ThreadPoolExecutor(options.jobs) as pool:
        seeds = list(pool.map(lambda seed: Fusions(comparison, seed).results(), SEEDS))
    report(seeds)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"models": MODELS, "trials of a method": TRIALS, "seeds": seeds}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
