"""Fair comparisons of training settings: the same number of trials each with one seed, the best again with others.

What `compare_losses.py`, `compare_similarity.py` and `compare_fusions.py` share. Runs that are there already are not repeated.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

TRIAL_SEED, SEEDS = 1, [11, 12, 13]


class Comparison:
    """Trains with arguments that all settings have in common and evaluates with `evaluate` (arguments of toller evaluate).

    Trials are measured on the dev split, the runs with the other seeds on `splits`.
    """

    def __init__(self, options, common, evaluate, metrics, splits=("test",)):
        self.options, self.common, self.evaluate, self.metrics, self.splits = options, common, evaluate, metrics, splits

    def folder(self, name, arguments, seed):
        return os.path.join(self.options.out, "-".join([name, *arguments[1::2], f"seed{seed}"]).replace(":", "x"))

    def train(self, name, arguments, seed):
        """The folder of the run, which is trained unless that was done."""
        folder = self.folder(name, arguments, seed)
        if not os.path.exists(os.path.join(folder, "last")):
            self.toller(["train", *self.common, *arguments, "--seed", str(seed), "--out", folder])
        return folder

    def measure(self, name, arguments, seed, split):
        """Trains and evaluates, what of it was not done: the metrics of the split."""
        folder = self.train(name, arguments, seed)
        return self.measure_model(folder, split, os.path.join(folder, f"{split}.json"))

    def measure_model(self, model, split, result):
        """The metrics of a model, kept in the file `result`."""
        if not os.path.exists(result):
            self.toller(["evaluate", "--device", "cpu", *self.evaluate, "--model", model, "--split", split, "--json", result])
        with open(result, encoding="utf-8") as file:
            found = json.load(file)
        return {metric: found[metric] for metric in self.metrics}

    def toller(self, arguments):
        done = subprocess.run([self.options.toller, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"toller {' '.join(arguments)}: {done.stderr}")

    def trial(self, name, arguments):
        dev = self.measure(name, arguments, TRIAL_SEED, "dev")
        print(f"{name} {' '.join(arguments)}: dev " + ", ".join(f"{m} {dev[m]:.4f}" for m in self.metrics), flush=True)
        return {"arguments": arguments, "dev": dev}

    def best(self, trials):
        """The arguments of the trial with the highest first metric."""
        return max(trials, key=lambda trial: trial["dev"][self.metrics[0]])["arguments"]

    def result(self, name, trials):
        chosen = self.best(trials)
        runs = {split: [self.measure(name, chosen, seed, split) for seed in SEEDS] for split in self.splits}
        return {"name": name, "chosen": chosen, "runs": runs, "trials": trials}

    def report(self, results):
        """A table: mean and standard deviation over the seeds."""
        columns = [(split, metric) for split in self.splits for metric in self.metrics]
        print("| | " + " | ".join(f"{split} {metric}" for split, metric in columns) + " | chosen |")
        print("|---" * (len(columns) + 2) + "|")
        for result in results:
            values = [[run[metric] for run in result["runs"][split]] for split, metric in columns]
            cells = [f"{statistics.mean(v):.4f} ± {statistics.stdev(v):.4f}" for v in values]
            print(f"| {result['name']} | " + " | ".join(cells) + f" | `{' '.join(result['chosen'])}` |")
        if self.options.json:
            with open(self.options.json, "w", encoding="utf-8") as file:
                json.dump({"common": self.common, "seeds": SEEDS, "results": results}, file, indent=1)
                file.write("\n")


def parser(description, names):
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--toller", default="build/bin/toller")
    arguments.add_argument("--data", required=True, help="token store of the sample collection")
    arguments.add_argument("--out", required=True, help="folder for the runs")
    arguments.add_argument("--json", help="write all figures to this file")
    arguments.add_argument("names", nargs="*", default=names, help="default: all")
    return arguments
