#!/usr/bin/env python3
"""The Mann-Whitney loss written out pair by pair in fp64, for tests/loss/fixtures/mw.json.

  mw_reference.py --write FILE   draw inputs and write them with their values and gradients
  mw_reference.py --check FILE   recompute from the inputs in FILE and compare

Every pair of a positive and a negative score is one term log(1 + e^z). Scope "batch" pairs all scores of the batch,
"query" those of one query, mean over queries. Exit status 77: NumPy is not installed.
"""
from fixture_files import Fixture, draw_lists, embeddings, loss_results, main, np, unit_rows


def pair_up(positives, negatives, scores, tau, weight, slope):
    """Mean term of the pairs and of z times its slope, both times weight; adds the gradient of the scores to slope."""
    if not positives or not negatives:
        return 0.0, 0.0
    weight /= len(positives) * len(negatives)
    value = moment = 0.0
    for a in positives:
        for b in negatives:
            z = (scores[b] - scores[a]) / tau
            sigmoid = np.exp(-np.logaddexp(0.0, -z))
            value += weight * np.logaddexp(0.0, z)
            moment += weight * z * sigmoid
            slope[b] += weight * sigmoid / tau
            slope[a] -= weight * sigmoid / tau
    return value, moment


def mw(case):
    query, document = embeddings(case)
    scores = query @ document.T
    queries, candidates = scores.shape
    slope = np.zeros_like(scores)
    positive = [[(i, p) for p in case["positive"][i]] for i in range(queries)]
    negative = [
        [(i, n) for n in range(candidates) if n not in case["positive"][i] + case["excluded"][i]]
        for i in range(queries)
    ]
    if case["scope"] == "query":
        groups = [(positive[i], negative[i], 1.0 / queries) for i in range(queries)]
    else:
        groups = [(sum(positive, []), sum(negative, []), 1.0)]
    value = moment = 0.0
    for positives, negatives, weight in groups:
        group_value, group_moment = pair_up(positives, negatives, scores, case["temperature"], weight, slope)
        value += group_value
        moment += group_moment
    return loss_results(case, value, slope, -moment)


def draw_case(name, seed, queries, candidates, dimension, temperature, scope, several, length=1.0):
    rng = np.random.default_rng(seed)
    lists = draw_lists(rng, queries, candidates, several)
    return {
        "name": name, "temperature": temperature, "scope": scope,
        "query": unit_rows(rng, queries, dimension, length), "document": unit_rows(rng, candidates, dimension, length),
        **lists,
    }


def draw_cases():
    return [
        draw_case("one positive", 1, 4, 9, 3, 0.1, "batch", False),
        draw_case("several positives and exclusions", 2, 6, 11, 4, 0.05, "batch", True),
        draw_case("low temperature", 3, 5, 8, 3, 0.005, "batch", True),
        draw_case("high temperature", 4, 5, 8, 3, 1.0, "batch", True),
        draw_case("long vectors", 5, 4, 7, 3, 0.5, "batch", True, 4.0),
        draw_case("by query", 6, 6, 11, 4, 0.05, "query", True),
        draw_case("by query, low temperature", 7, 4, 7, 3, 0.005, "query", True),
    ]


if __name__ == "__main__":
    main(__doc__, Fixture(draw_cases, mw))
