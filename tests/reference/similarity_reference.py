#!/usr/bin/env python3
"""The similarity losses written out in fp64, for tests/loss/fixtures/similarity.json.

  similarity_reference.py --write FILE   draw inputs and write them with their values and gradients
  similarity_reference.py --check FILE   recompute from the inputs in FILE and compare

Only values are written out, with gold scores sorted where the definition sorts them. Derivatives are the imaginary part
of the value at x + ih, over h = 1e-30 (Squire & Trapp, SIAM Review 1998): exact to rounding, and nothing in common with
the formulas that Toller uses. Where SciPy is installed, correlations and ranks are compared with its own. Exit status
77: NumPy is not installed.
"""
import sys

from fixture_files import Fixture, embeddings, loss_results, main, np, unit_rows

try:
    from scipy import stats
except ImportError:
    stats = None


def log_softmax(z):
    z = z - z.real.max()
    return z - np.log(np.exp(z).sum())


def descending_ranks(g):
    """0, 1, … by descending gold score; equal ones share the mean."""
    order = sorted(g, reverse=True)
    return np.array([np.mean([place for place, other in enumerate(order) if other == gold]) for gold in g])


def pearson(case, x, g, tau):
    if g.min() == g.max():
        return 0 * x.sum()
    if x.real.min() == x.real.max():
        return 1 + 0j
    x, g = x - x.mean(), g - g.mean()
    return 1 - (x * g).sum() / np.sqrt((x * x).sum() * (g * g).sum())


def rank_kl(case, x, g, tau):
    last = len(g) - 1
    log_t = log_softmax((last - descending_ranks(g)) / last / tau)
    return (np.exp(log_t) * (log_t - log_softmax(x / tau))).sum() / len(g)


def pro(case, x, g, tau):
    order = np.argsort(-g, kind="stable")
    x, g = x[order] / tau, g[order]
    terms = []
    for k in range(len(g) - 1):
        later = [j for j in range(k + 1, len(g)) if g[k] - g[j] > case["gap"]]
        if later:
            weights = g[k] - g[later]
            terms.append(-log_softmax(np.concatenate([[x[k] * weights.max()], x[later] * weights]))[0])
    return np.mean(terms) if terms else 0 * x.sum()


def cosent(case, x, g, tau):
    exponents = [0j] + [(x[j] - x[i]) / tau for i in range(len(g)) for j in range(len(g)) if g[i] > g[j]]
    return -log_softmax(np.array(exponents))[0]


LOSSES = {"pearson": pearson, "rank-kl": rank_kl, "pro": pro, "cosent": cosent}


def pairs_of(case):
    """Columns, cosines and gold scores of the queries' documents."""
    query, document = embeddings(case)
    columns = case["own_offsets"][:-1]
    return columns, (query * document[columns]).sum(axis=1), np.array(case["teacher"])[columns]


def similarity_loss(case):
    h = 1e-30
    columns, x, g = pairs_of(case)

    def loss(scores, tau):
        return LOSSES[case["kind"]](case, scores + 0j, g, tau)

    slope = np.zeros((len(columns), len(case["document"])))
    for i, column in enumerate(columns):
        step = np.zeros(len(columns), dtype=complex)
        step[i] = 1j * h
        slope[i, column] = loss(x + step, case["temperature"]).imag / h
    tau = case["temperature"]
    of_temperature = tau * loss(x, tau + 1j * h).imag / h
    return loss_results(case, loss(x, tau).real, slope, of_temperature)


def check_with_scipy(case):
    _, x, g = pairs_of(case)
    if stats is None or g.min() == g.max():
        return
    if not np.allclose(descending_ranks(g), stats.rankdata(-g, method="average") - 1):
        sys.exit(f"{case['name']}: ranks are not SciPy's")
    if case["kind"] == "pearson" and not np.isclose(1 - stats.pearsonr(x, g)[0], case["value"], rtol=1e-12):
        sys.exit(f"{case['name']}: the correlation is not SciPy's")


def draw_case(name, kind, draw, temperature, gold=None, **options):
    """Gold scores in steps of a quarter from 0 to 5, with ties, if none are given."""
    rng = np.random.default_rng(draw)
    queries, first, more = len(gold) if gold else 9, 2, 1
    gold = gold or (rng.integers(0, 21, queries) / 4).tolist()
    case = {
        "name": name, "kind": kind, "temperature": temperature, "gap": 0.0, "query": unit_rows(rng, queries, 3),
        "document": unit_rows(rng, first + queries + more, 3),
        "own_offsets": list(range(first, first + queries + 1)),
        "teacher": [7.0] * first + gold + [7.0] * more,  # of documents that are nobody's
    }
    return case | options


def draw_cases():
    ties = [1.0, 3.0, 1.0, 0.0, 3.0, 3.0, -2.0]
    return [
        draw_case("pearson", "pearson", 1, 0.1),
        draw_case("pearson, ties", "pearson", 2, 0.1, ties),
        draw_case("pearson, all equal", "pearson", 3, 0.1, [2.5] * 6),
        draw_case("rank-kl", "rank-kl", 4, 0.1),
        draw_case("rank-kl, low temperature", "rank-kl", 5, 0.005),
        draw_case("rank-kl, ties", "rank-kl", 6, 0.05, ties),
        draw_case("rank-kl, all equal", "rank-kl", 7, 0.1, [2.5] * 6),
        draw_case("pro", "pro", 8, 0.1),
        draw_case("pro, low temperature", "pro", 9, 0.005),
        draw_case("pro, ties", "pro", 10, 0.05, ties),
        draw_case("pro, gap", "pro", 11, 0.05, ties, gap=1.5),
        draw_case("pro, gap above all", "pro", 12, 0.05, ties, gap=5.0),
        draw_case("cosent", "cosent", 13, 0.1),
        draw_case("cosent, low temperature", "cosent", 14, 0.005),
        draw_case("cosent, ties", "cosent", 15, 0.05, ties),
        draw_case("cosent, all equal", "cosent", 16, 0.1, [2.5] * 6),
    ]


if __name__ == "__main__":
    main(__doc__, Fixture(draw_cases, similarity_loss, check_more=check_with_scipy))
