#!/usr/bin/env python3
"""Losses of pairs with in-batch negatives in fp64, for tests/loss/fixtures/pair_loss.json.

  pair_loss_reference.py --write FILE   draw inputs and write them with their values and gradients
  pair_loss_reference.py --check FILE   recompute from the inputs in FILE and compare

One pair of scores after the other; what a positive chooses comes from sorting its negatives. Exit status 77: NumPy is not
installed.
"""
from fixture_files import Fixture, embeddings, loss_results, main, np, unit_rows


def cost(kind, difference, case):
    """f and f' of the negative score minus the positive one."""
    if kind == "hinge":
        return max(0.0, case["margin"] + difference), float(case["margin"] + difference > 0)
    c = case["scale"] if kind == "bpr" else -case["scale"]
    return np.logaddexp(0.0, c * difference), c / (1.0 + np.exp(-c * difference))


def met(case, scores, positive, negatives):
    """Those of the negatives (pairs) that the positive meets."""
    if case["negatives"] == "all" or not negatives:
        return negatives
    rising = sorted(negatives, key=lambda pair: scores[pair])
    if case["negatives"] == "hardest":
        return [rising[-1]]
    below = [pair for pair in rising if scores[pair] < scores[positive]]
    return [below[-1] if below else rising[0]]


def pair_loss(case):
    query, document = embeddings(case)
    scores = query @ document.T
    queries, candidates = scores.shape
    kind = case["kind"]
    value, slope = 0.0, np.zeros_like(scores)

    def negative(i, j):
        return j not in case["positive"][i] and j not in case["excluded"][i]

    for i in range(queries):
        for p in case["positive"][i]:
            row = [(i, n) for n in range(candidates) if negative(i, n)]
            directions = [(row, 1.0)]
            if kind == "hinge":
                column = [(j, p) for j in range(queries) if negative(j, p)]
                directions = [(row, case["query_weight"]), (column, case["document_weight"])]
            for pairs, weight in directions:
                share = weight / (queries * len(case["positive"][i]))
                if kind != "hinge" and pairs:
                    share /= len(pairs)
                for pair in met(case, scores, (i, p), pairs):
                    f, derivative = cost(kind, scores[pair] - scores[i, p], case)
                    value += share * f
                    slope[pair] += share * derivative
                    slope[i, p] -= share * derivative
    return loss_results(case, value, slope, 0.0)


def draw_case(name, seed, queries, dimension, kind, **options):
    """Query i brings one to three positives and up to two other documents; two of the others' are left out."""
    rng = np.random.default_rng(seed)
    positive, excluded, candidates = [], [], 0
    for i in range(queries):
        positive.append(list(range(candidates, candidates + 1 + i % 3)))
        candidates += 1 + i % 3 + i % 2
    for own in positive:
        others = [c for c in range(candidates) if c not in own]
        excluded.append(sorted(int(c) for c in rng.choice(others, 2, replace=False)))
    defaults = {"scale": 1.0, "margin": 0.2, "negatives": "all", "query_weight": 1.0, "document_weight": 1.0}
    return {"name": name, "kind": kind, "temperature": 1.0, **defaults, **options,
            "query": unit_rows(rng, queries, dimension), "document": unit_rows(rng, candidates, dimension),
            "positive": positive, "excluded": excluded}


def draw_cases():
    return [
        draw_case("bpr", 1, 6, 4, "bpr"),
        draw_case("bpr, scaled", 2, 5, 3, "bpr", scale=7.5),
        draw_case("reverse bpr", 3, 6, 4, "reverse-bpr", scale=5.0),
        draw_case("hinge", 4, 7, 4, "hinge"),
        draw_case("hinge, wide margin, weights", 5, 6, 3, "hinge", margin=1.5, query_weight=0.25, document_weight=3.0),
        draw_case("hinge, queries alone", 6, 6, 3, "hinge", document_weight=0.0),
        draw_case("hinge, documents alone", 7, 6, 3, "hinge", query_weight=0.0),
        draw_case("hinge, hardest", 8, 8, 4, "hinge", negatives="hardest", document_weight=0.5),
        draw_case("hinge, semi-hard", 9, 8, 4, "hinge", negatives="semi-hard", margin=0.5),
        draw_case("hinge, semi-hard, close together", 10, 8, 2, "hinge", negatives="semi-hard", query_weight=2.0),
    ]


if __name__ == "__main__":
    main(__doc__, Fixture(draw_cases, pair_loss))
