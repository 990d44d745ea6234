#!/usr/bin/env python3
"""The Wasserstein loss from its definition in fp64, for tests/loss/fixtures/wasserstein.json and polar_factor.json.

  wasserstein_reference.py --write FOLDER   draw inputs and write them with their values and gradients
  wasserstein_reference.py --check FOLDER   recompute from the inputs in the files and compare

The value is that of two Gaussians with their full M x M covariances and SciPy's matrix square root of the product.
Gradients come from the singular vectors of the centred rows (NumPy's SVD) and the Jacobians of the softmaxes, written
out; --check also holds them against central differences of the value by covariances. Exit status 77: NumPy or SciPy is
not installed.
"""
import sys
import warnings

from fixture_files import Fixture, embeddings, loss_results, main, np, unit_rows

try:
    import scipy.linalg
except ImportError:
    sys.exit(77)

LEFT_OUT = -np.inf


def softmax_rows(logits):
    """Rows whose entries are all left out are 0."""
    rows = np.zeros_like(logits)
    for row, logit in zip(rows, logits):
        part = logit > LEFT_OUT
        if part.any():
            row[part] = np.exp(logit[part] - logit[part].max())
            row /= row.sum()
    return rows


def score_and_label_rows(case, query, document, temperature):
    scores = query @ document.T / temperature
    labels = np.zeros_like(scores)
    column = 0
    for i, grades in enumerate(case["own_grade"]):
        own = range(column, column + len(grades))
        column += len(grades)
        for m, grade in zip(own, grades):
            labels[i, m] = grade
            if grade < 0 or m in case["excluded"][i]:
                scores[i, m] = labels[i, m] = LEFT_OUT
        scores[i, case["excluded"][i]] = LEFT_OUT
    return softmax_rows(scores), softmax_rows(labels)


def distance(x, y):
    """The squared 2-Wasserstein distance of N(mean, covariance) of the rows of x and of y."""
    gap = x.mean(axis=0) - y.mean(axis=0)
    if len(x) == 1:
        return gap @ gap
    x_covariance, y_covariance = np.cov(x.T), np.cov(y.T)
    # Tr (S T)^(1/2) = Tr (R T R)^(1/2), R = S^(1/2), where R T R is symmetric and its root well behaved.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # covariances of fewer samples than columns are singular
        root = np.real(scipy.linalg.sqrtm(y_covariance + 0j))
    eigenvalues = np.linalg.eigvalsh(root @ x_covariance @ root.T)
    cross = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    return gap @ gap + np.trace(x_covariance) + np.trace(y_covariance) - 2 * cross


def row_gradient(x, y):
    """Derivatives of the distance by x."""
    samples = len(x)
    gap = x.mean(axis=0) - y.mean(axis=0)
    gradient = np.tile(2 * gap / samples, (samples, 1))
    if samples == 1:
        return gradient
    x_rows = (x - x.mean(axis=0)) / np.sqrt(samples - 1)
    y_rows = (y - y.mean(axis=0)) / np.sqrt(samples - 1)
    left, values, right = np.linalg.svd(x_rows @ y_rows.T)
    rank = (values > 1e-10 * max(values[0], 1e-300)).sum()
    polar = left[:, :rank] @ right[:rank]
    # x_rows is linear in x and centred already, as are polar's columns.
    return gradient + 2 * (x_rows - polar @ y_rows) / np.sqrt(samples - 1)


def wasserstein(case):
    (query, document), tau = embeddings(case), case["temperature"]
    x, y = score_and_label_rows(case, query, document, tau)
    slope = np.zeros_like(x)
    for i, outer in enumerate(row_gradient(x, y)):
        slope[i] = (np.diag(x[i]) - np.outer(x[i], x[i])) @ outer
    logits = query @ document.T / tau
    return loss_results(case, distance(x, y), slope / tau, -(slope * logits).sum())


def check_slope(case):
    """The derivative along a random direction, against the value by covariances."""
    rng = np.random.default_rng(1)
    query, document = embeddings(case)
    along_query, along_document = rng.standard_normal(query.shape), rng.standard_normal(document.shape)
    along_temperature = rng.standard_normal()

    def value(step):
        tau = case["temperature"] * np.exp(step * along_temperature)
        return distance(*score_and_label_rows(case, query + step * along_query, document + step * along_document, tau))

    h = 2e-4 * case["temperature"]
    difference = (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h)
    derivative = (
        (along_query * case["query_gradient"]).sum()
        + (along_document * case["document_gradient"]).sum()
        + along_temperature * case["log_temperature_gradient"]
    )
    size = max(abs(np.array(case["query_gradient"])).max(), abs(np.array(case["document_gradient"])).max())
    if abs(difference - derivative) > 1e-4 * size + 1e-9:
        sys.exit(f"{case['name']}: the derivative is {derivative}, by differences {difference}")


def draw_case(name, seed, queries, own, more, dimension, temperature, grades=(0, 1, 2, 3), left_out=False):
    """own: documents of each query in turn; more: candidates that nobody brought."""
    rng = np.random.default_rng(seed)
    own_grade = [[int(g) for g in rng.choice(grades, own[i % len(own)])] for i in range(queries)]
    candidates = sum(map(len, own_grade)) + more
    excluded = [[] for _ in range(queries)]
    if left_out:
        for i in range(queries):
            excluded[i] = sorted(int(c) for c in rng.permutation(candidates)[: i % 3])
            if own_grade[i] and i % 2:
                own_grade[i][0] = -1
    return {
        "name": name, "temperature": temperature,
        "query": unit_rows(rng, queries, dimension), "document": unit_rows(rng, candidates, dimension),
        "own_grade": own_grade, "excluded": excluded,
    }


def draw_cases():
    return [
        draw_case("fewer queries than documents", 1, 6, [3], 0, 4, 0.1),
        draw_case("more queries than documents", 2, 9, [1, 0], 1, 3, 0.3),
        draw_case("lists of several lengths, left-out pairs", 3, 7, [3, 1, 0, 4], 2, 4, 0.2, left_out=True),
        draw_case("all labels equal", 4, 5, [2], 0, 3, 0.2, grades=(0,)),
        draw_case("one query", 5, 1, [4], 3, 3, 0.2),
        draw_case("low temperature", 6, 5, [3], 0, 3, 0.03),
        draw_case("high temperature, high grades", 7, 6, [3], 2, 4, 5.0, grades=(0, 5, 40)),
    ]


def draw_matrix(name, seed, size, singular_values):
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((size, size)))[0] for _ in range(2))
    values = np.zeros(size)
    values[: len(singular_values)] = singular_values
    return {"name": name, "matrix": (left @ np.diag(values) @ right).tolist(), "rank": len(singular_values)}


def draw_matrices():
    return [
        draw_matrix("one number", 1, 1, [3.0]),
        draw_matrix("well conditioned", 2, 7, np.linspace(1, 2, 7)),
        draw_matrix("four orders of magnitude", 3, 9, 10.0 ** -np.linspace(0, 4, 9)),
        draw_matrix("half the rank", 4, 8, [5, 4, 2, 1]),
        draw_matrix("rank one", 5, 5, [0.01]),
    ]


def polar(case):
    left, values, right = np.linalg.svd(np.array(case["matrix"]))
    rank = case["rank"]
    return {"polar": (left[:, :rank] @ right[:rank]).tolist(), "nuclear_norm": float(values.sum())}


if __name__ == "__main__":
    main(__doc__,
         Fixture(draw_cases, wasserstein, "wasserstein.json", rtol=1e-8, atol=1e-10, check_more=check_slope),
         Fixture(draw_matrices, polar, "polar_factor.json", rtol=1e-8, atol=1e-10))
