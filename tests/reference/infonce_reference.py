#!/usr/bin/env python3
"""InfoNCE written out term by term in fp64, for tests/loss/fixtures/infonce.json.

  infonce_reference.py --write FILE   draw inputs and write them with their values and gradients
  infonce_reference.py --check FILE   recompute from the inputs in FILE and compare

Each pair of a query and one of its positives is one cross-entropy over the scores that it meets; nothing is shared
between pairs, and gradients are softmax minus one-hot. Exit status 77: NumPy is not installed.
"""
from fixture_files import Fixture, draw_lists, embeddings, loss_results, main, np, unit_rows


def cross_entropy(logits):
    """-log softmax(logits)[0] and its gradient."""
    shifted = np.exp(logits - logits.max())
    probability = shifted / shifted.sum()
    gradient = probability.copy()
    gradient[0] -= 1.0
    return -np.log(probability[0]), gradient


def infonce(case):
    query, document = embeddings(case)
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
    return loss_results(case, value, slope / tau, -(slope * logits).sum())


def draw_case(name, seed, queries, candidates, dimension, temperature, symmetric, several):
    rng = np.random.default_rng(seed)
    lists = draw_lists(rng, queries, candidates, several)
    return {
        "name": name, "temperature": temperature, "symmetric": symmetric,
        "query": unit_rows(rng, queries, dimension), "document": unit_rows(rng, candidates, dimension), **lists,
    }


def draw_cases():
    return [
        draw_case("one positive", 1, 4, 9, 3, 0.1, False, False),
        draw_case("several positives and exclusions", 2, 6, 11, 4, 0.05, False, True),
        draw_case("both directions", 3, 5, 8, 3, 0.1, True, False),
        draw_case("both directions, several positives and exclusions", 4, 7, 10, 4, 0.2, True, True),
        draw_case("low temperature", 5, 4, 7, 3, 0.01, True, True),
    ]


if __name__ == "__main__":
    main(__doc__, Fixture(draw_cases, infonce))
