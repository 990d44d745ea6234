#!/usr/bin/env python3
"""Alignment and calibrated uniformity in fp64, for tests/loss/fixtures/alignment_uniformity.json.

  alignment_uniformity_reference.py --write FILE   draw inputs and write them with their values and gradients
  alignment_uniformity_reference.py --check FILE   recompute from the inputs in FILE and compare

From squared distances, one pair of vectors after the other, in the form of the papers; gradients by the distances, then
through the division by the norms. Exit status 77: NumPy is not installed.
"""
from fixture_files import Fixture, embeddings, main, np, unit_rows


def squared_distance(x, y, d_x, d_y, i, j, weight=0.0):
    """|x_i - y_j|^2, of which `weight` times the gradient is added to d_x and d_y."""
    difference = x[i] - y[j]
    d_x[i] += weight * 2.0 * difference
    d_y[j] -= weight * 2.0 * difference
    return float(difference @ difference)


def uniformity(x, d_x, weight, calibration):
    """log mean over pairs of exp(-2 (|x_i - x_j|^2 + calibration(i, j))), and weight times its gradient."""
    pairs = [(i, j) for i in range(len(x)) for j in range(len(x)) if i != j]
    if not pairs:
        return 0.0
    terms = [np.exp(-2.0 * (squared_distance(x, x, d_x, d_x, i, j) + calibration(i, j))) for i, j in pairs]
    total = sum(terms)
    for (i, j), term in zip(pairs, terms):
        squared_distance(x, x, d_x, d_x, i, j, weight * -2.0 * term / total)
    return float(np.log(total / len(pairs)))


def similar(case, x, y):
    """Of two documents: x is a positive of the query that brought it, and y too, or it is excluded for that query."""
    query = next(i for i, last in enumerate(case["own_offsets"][1:]) if x < last)
    return x in case["positive"][query] and y in case["positive"][query] + case["excluded"][query]


def through_norms(x, norms, d_unit):
    unit = x / norms
    return (d_unit - unit * (unit * d_unit).sum(axis=1, keepdims=True)) / norms


def alignment_uniformity(case):
    raw = embeddings(case)
    norms = [np.linalg.norm(x, axis=1, keepdims=True) for x in raw]
    query, document = (x / norm for x, norm in zip(raw, norms))
    d_query, d_document = np.zeros_like(query), np.zeros_like(document)
    value = 0.0
    for i, positives in enumerate(case["positive"]):
        for p in positives:
            weight = 1.0 / (len(query) * len(positives))
            value += weight * squared_distance(query, document, d_query, d_document, i, p, weight)
    half = case["uniformity_weight"] / 2.0
    value += half * uniformity(query, d_query, half, lambda i, j: 0.0)

    def calibration(x, y):
        return -2.0 + 2.0 * similar(case, x, y) if case["calibrated"] else 0.0

    value += half * uniformity(document, d_document, half, calibration)
    return {
        "value": value,
        "query_gradient": through_norms(raw[0], norms[0], d_query).tolist(),
        "document_gradient": through_norms(raw[1], norms[1], d_document).tolist(),
        "log_temperature_gradient": 0.0,
    }


def draw_case(name, seed, queries, dimension, calibrated=True, weight=1.0, length=1.0):
    """Query i brings one to three positives and up to two other documents; two of the others' are left out."""
    rng = np.random.default_rng(seed)
    positive, excluded, own_offsets = [], [], [0]
    for i in range(queries):
        first = own_offsets[-1]
        positive.append(list(range(first, first + 1 + i % 3)))
        own_offsets.append(first + 1 + i % 3 + i % 2)
    for own in positive:
        others = [c for c in range(own_offsets[-1]) if c not in own]
        excluded.append(sorted(int(c) for c in rng.choice(others, min(2, len(others)), replace=False)))
    return {"name": name, "temperature": 1.0, "calibrated": calibrated, "uniformity_weight": weight,
            "query": unit_rows(rng, queries, dimension, length),
            "document": unit_rows(rng, own_offsets[-1], dimension, length),
            "positive": positive, "excluded": excluded, "own_offsets": own_offsets}


def draw_cases():
    return [
        draw_case("calibrated", 1, 6, 4),
        draw_case("plain", 2, 6, 4, calibrated=False),
        draw_case("calibrated, weight 3", 3, 7, 3, weight=3.0),
        draw_case("alignment alone", 4, 5, 3, weight=0.0),
        draw_case("vectors of length 2.5", 5, 6, 5, length=2.5),
        draw_case("one query with one document", 6, 1, 3),
    ]


if __name__ == "__main__":
    main(__doc__, Fixture(draw_cases, alignment_uniformity))
