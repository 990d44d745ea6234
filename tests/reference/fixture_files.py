"""What the reference scripts of this folder have in common: their command line, fixture files (a JSON list of cases, each
with its inputs and what was calculated from them), and drawing inputs.

A script takes NumPy from here (`from fixture_files import np`): where it is not installed, the script ends with status 77.
"""
import argparse
import json
import sys
from pathlib import Path
from typing import Callable, NamedTuple

try:
    import numpy as np
except ImportError:
    sys.exit(77)


class Fixture(NamedTuple):
    """A file of cases: draw() gives their inputs, compute(case) what is calculated from them, by name."""
    draw: Callable
    compute: Callable
    name: str = ""  # of the file in the folder of the command line; none: the command line names the file
    rtol: float = 1e-10
    atol: float = 1e-13
    check_more: Callable = lambda case: None  # ends the script if the case as written is wrong otherwise


def write(path, fixture):
    cases = [case | fixture.compute(case) for case in fixture.draw()]
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n", encoding="utf-8")


def check(path, fixture):
    cases = json.loads(path.read_text(encoding="utf-8"))
    for case in cases:
        for key, expected in fixture.compute(case).items():
            if not np.allclose(case[key], expected, rtol=fixture.rtol, atol=fixture.atol):
                sys.exit(f"{path}: {case['name']}: {key} is {case[key]}, recomputed {expected}")
        fixture.check_more(case)
    print(f"{len(cases)} cases agree")


def main(description, *fixtures):
    """--write PATH draws and computes, --check PATH recomputes and compares; PATH: the file, or the folder of several."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="PATH")
    parser.add_argument("--check", type=Path, metavar="PATH")
    options = parser.parse_args()
    for fixture in fixtures:
        if options.write:
            write(options.write / fixture.name, fixture)
        if options.check:
            check(options.check / fixture.name, fixture)


def unit_rows(rng, rows, dimension, length=1.0):
    """Vectors of random directions and that length, in six decimals."""
    x = rng.standard_normal((rows, dimension))
    return np.round(length * x / np.linalg.norm(x, axis=1, keepdims=True), 6).tolist()


def draw_lists(rng, queries, candidates, several):
    """Positive and excluded columns of every query: one positive, or one to three and up to two exclusions."""
    positive, excluded = [], []
    for i in range(queries):
        count = 1 + (i % 3 if several else 0)
        drawn = [int(c) for c in rng.permutation(candidates)]
        positive.append(drawn[:count])
        excluded.append(sorted(drawn[count : count + (i % 3 if several else 0)]))
    return {"positive": positive, "excluded": excluded}


def embeddings(case):
    return np.array(case["query"]), np.array(case["document"])


def loss_results(case, value, slope, log_temperature):
    """What a case holds of a loss: slope [queries, documents] is the loss's derivative by the scores query . document."""
    query, document = embeddings(case)
    return {
        "value": float(value),
        "query_gradient": (slope @ document).tolist(),
        "document_gradient": (slope.T @ query).tolist(),
        "log_temperature_gradient": float(log_temperature),
    }
