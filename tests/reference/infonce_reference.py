#!/usr/bin/env python3
"""InfoNCE written out term by term in fp64, for tests/loss/fixtures/infonce.json.

  infonce_reference.py --write FILE   draw inputs and write them with their values and gradients
  infonce_reference.py --check FILE   recompute from the inputs in FILE and compare

Each pair of a query and one of its positives is one cross-entropy over the scores that it meets; nothing is shared
between pairs, and gradients are softmax minus one-hot. Exit status 77: NumPy is not installed.
"""
import argparse
import json
import sys

try:
    import numpy as np
except ImportError:
    sys.exit(77)


def cross_entropy(logits):
    """-log softmax(logits)[0] and its gradient."""
    shifted = np.exp(logits - logits.max())
    probability = shifted / shifted.sum()
    gradient = probability.copy()
    gradient[0] -= 1.0
    return -np.log(probability[0]), gradient


def infonce(case):
    query, document = np.array(case["query"]), np.array(case["document"])
    tau, symmetric = case["temperature"], case["symmetric"]
    logits = query @ document.T / tau
    queries, candidates = logits.shape
    negative = np.ones(logits.shape, dtype=bool)
    for i in range(queries):
        negative[i, case["positive"][i] + case["excluded"][i]] = False
    value, slope = 0.0, np.zeros_like(logits)
    for i in range(queries):
        for p in case["positive"][i]:
            weight = 1.0 / (queries * len(case["positive"][i]))
            meets = [(i, p)] + [(i, n) for n in range(candidates) if negative[i, n]]
            directions = [meets]
            if symmetric:
                directions.append([(i, p)] + [(j, p) for j in range(queries) if negative[j, p]])
                weight /= 2
            for pairs in directions:
                rows, columns = map(list, zip(*pairs))
                term, gradient = cross_entropy(logits[rows, columns])
                value += weight * term
                slope[rows, columns] += weight * gradient
    return {
        "value": value,
        "query_gradient": (slope @ document / tau).tolist(),
        "document_gradient": (slope.T @ query / tau).tolist(),
        "log_temperature_gradient": -float((slope * logits).sum()),
    }


def draw_case(name, seed, queries, candidates, dimension, temperature, symmetric, several):
    rng = np.random.default_rng(seed)

    def unit_rows(rows):
        x = rng.standard_normal((rows, dimension))
        return np.round(x / np.linalg.norm(x, axis=1, keepdims=True), 6).tolist()

    positive, excluded = [], []
    for i in range(queries):
        count = 1 + (i % 3 if several else 0)
        drawn = [int(c) for c in rng.permutation(candidates)]
        positive.append(drawn[:count])
        excluded.append(sorted(drawn[count : count + (i % 3 if several else 0)]))
    return {
        "name": name, "temperature": temperature, "symmetric": symmetric,
        "query": unit_rows(queries), "document": unit_rows(candidates),
        "positive": positive, "excluded": excluded,
    }


def draw_cases():
    return [
        draw_case("one positive", 1, 4, 9, 3, 0.1, False, False),
        draw_case("several positives and exclusions", 2, 6, 11, 4, 0.05, False, True),
        draw_case("both directions", 3, 5, 8, 3, 0.1, True, False),
        draw_case("both directions, several positives and exclusions", 4, 7, 10, 4, 0.2, True, True),
        draw_case("low temperature", 5, 4, 7, 3, 0.01, True, True),
    ]


def check(path):
    with open(path, encoding="utf-8") as file:
        cases = json.load(file)
    for case in cases:
        for key, expected in infonce(case).items():
            if not np.allclose(case[key], expected, rtol=1e-10, atol=1e-13):
                sys.exit(f"{path}: {case['name']}: {key} is {case[key]}, recomputed {expected}")
    print(f"{len(cases)} cases agree")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write")
    parser.add_argument("--check")
    options = parser.parse_args()
    if options.write:
        cases = [case | infonce(case) for case in draw_cases()]
        with open(options.write, "w", encoding="utf-8") as file:
            file.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    if options.check:
        check(options.check)


if __name__ == "__main__":
    main()
