#!/usr/bin/env python3
"""The list-wise losses written out in fp64, for tests/loss/fixtures/list_loss.json.

  list_loss_reference.py --write FILE   draw inputs and write them with their values and gradients
  list_loss_reference.py --check FILE   recompute from the inputs in FILE and compare

Only values are written out. Derivatives are the imaginary part of the value at s + ih, over h = 1e-30 (Squire &
Trapp, SIAM Review 1998): exact to rounding, and nothing in common with the formulas that Toller uses. What counts
as a constant (ranks, choices, rewards) is taken from the real parts. Exit status 77: NumPy is not installed.
"""
import itertools

from fixture_files import Fixture, embeddings, loss_results, main, np, unit_rows

RANKING_STREAM = 6


def softplus(x):
    return x + np.log1p(np.exp(-x)) if x.real > 0 else np.log1p(np.exp(x))


def log_softmax(z):
    z = z - z.real.max()
    return z - np.log(np.exp(z).sum())


def pairs_of(grades):
    return [(k, l) for k, l in itertools.product(range(len(grades)), repeat=2) if grades[k] > grades[l]]


def ranks_by_grade(grades):
    """1, 2, … by descending grade; equal grades share the mean."""
    order = sorted(grades, reverse=True)
    return [np.mean([place for place, g in enumerate(order, 1) if g == grade]) for grade in grades]


def ranks_by_score(scores):
    order = sorted(range(len(scores)), key=lambda k: (-scores[k].real, k))
    return [order.index(k) + 1 for k in range(len(scores))]


def listnet(case, s, y, t, tau, query):
    target = np.exp(log_softmax(np.array(y, dtype=float)))
    return -(target * log_softmax(s / tau)).sum()


def listmle(case, s, y, t, tau, query):
    value = 0
    for k in range(len(y)):
        below = [l for l in range(len(y)) if y[l] < y[k]]
        if below:
            value -= log_softmax(s[[k] + below] / tau)[0]
    return value


def kl(case, s, y, t, tau, query):
    log_target = log_softmax(t / case["teacher_temperature"])
    return (np.exp(log_target) * (log_target - log_softmax(s / tau))).sum()


def ranknet(case, s, y, t, tau, query):
    return np.mean([softplus(-(case["scale"] * s[k] - case["scale"] * s[l])) for k, l in pairs_of(y)])


def weighted_ranknet(case, s, y, t, tau, query):
    rank = ranks_by_grade(y)
    return np.mean([softplus(-case["scale"] * (s[k] - s[l])) / (rank[k] + rank[l]) for k, l in pairs_of(y)])


def lambda_loss(case, s, y, t, tau, query):
    r = ranks_by_score(s)
    return np.mean([
        abs(2.0 ** y[k] - 2.0 ** y[l]) * abs(1 / np.log(1 + r[k]) - 1 / np.log(1 + r[l]))
        * softplus(-case["scale"] * (s[k] - s[l])) for k, l in pairs_of(y)])


def irpo(case, s, y, t, tau, query):
    rank, value, total = ranks_by_grade(y), 0, 0
    for k in range(len(y)):
        terms = [softplus(-case["scale"] * (s[k] - s[l])) for l in range(len(y)) if y[l] < y[k]]
        if terms:
            value += np.mean(terms) / np.log(1 + rank[k])
            total += 1 / np.log(1 + rank[k])
    return value / total


def margin_mse(case, s, y, t, tau, query):
    return np.mean([((s[k] - s[l]) - (t[k] - t[l])) ** 2 for k, l in pairs_of(y)])


def bpr(case, s, y, t, tau, query):
    c = case["scale"]
    return np.mean([softplus(-c * (s[k] - s[l])) for k, l in pairs_of(y) if y[l] == 0])


def reverse_bpr(case, s, y, t, tau, query):
    c = case["scale"]
    return np.mean([softplus(c * (s[k] - s[l])) for k, l in pairs_of(y) if y[l] == 0])


def hinge(case, s, y, t, tau, query):
    negatives = [n for n in range(len(y)) if y[n] == 0]
    values = []
    for p in [p for p in range(len(y)) if y[p] > 0]:
        met = negatives
        if case["negatives"] == "hardest":
            met = [max(negatives, key=lambda n: s[n].real)]
        if case["negatives"] == "semi-hard":
            below = [n for n in negatives if s[n].real < s[p].real]
            met = [max(below, key=lambda n: s[n].real) if below else min(negatives, key=lambda n: s[n].real)]
        excess = [case["margin"] - s[p] + s[n] for n in met]
        values.append(sum((x for x in excess if x.real > 0), 0j))
    return np.mean(values)


def philox(counter, key):
    """Philox4x32-10 (Salmon et al., SC 2011)."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def gumbel(case, query, sample, document):
    seed = case["seed"]
    words = philox([(sample << 16) | (document // 4), query, case["step"], RANKING_STREAM],
                   [seed & 0xFFFFFFFF, seed >> 32])
    return -np.log(-np.log((words[document % 4] + 0.5) / 2.0 ** 32))


def pg_rank(case, s, y, t, tau, query):
    """The surrogate whose derivative is the gradient: −mean (R − baseline) log P, with the drawn value as its
    real part."""
    z, cutoff = s / tau, min(case["cutoff"], len(y))

    def dcg(order):
        return sum((2.0 ** y[k] - 1) / np.log2(2 + place) for place, k in enumerate(order[:cutoff]))

    ideal = dcg(sorted(range(len(y)), key=lambda k: -y[k]))
    rewards, log_probabilities = [], []
    for sample in range(case["samples"]):
        noisy = [z[k].real + gumbel(case, query, sample, k) for k in range(len(y))]
        order = sorted(range(len(y)), key=lambda k: -noisy[k])
        rewards.append(dcg(order) / ideal)
        log_probabilities.append(sum(log_softmax(z[order[place:]])[0] for place in range(cutoff)))
    n = len(rewards)
    baselines = [(sum(rewards) - r) / (n - 1) for r in rewards]
    surrogate = -sum((r - b) * p for r, b, p in zip(rewards, baselines, log_probabilities)) / n
    return 1 - np.mean(rewards) + 1j * surrogate.imag


LOSSES = {
    "listnet": listnet, "listmle": listmle, "kl": kl, "ranknet": ranknet, "weighted-ranknet": weighted_ranknet,
    "lambda": lambda_loss, "irpo": irpo, "margin-mse": margin_mse, "bpr": bpr, "reverse-bpr": reverse_bpr,
    "hinge": hinge, "pg-rank": pg_rank,
}
WITH_TEMPERATURE = {"listnet", "listmle", "kl", "pg-rank"}


def counts(kind, grades):
    if kind == "kl":
        return len(grades) >= 2
    if kind in ("bpr", "reverse-bpr", "hinge"):
        return 0 in grades and max(grades) > 0
    return len(set(grades)) > 1


def list_loss(case):
    kind, h = case["kind"], 1e-30
    query, document = embeddings(case)
    lists = []
    for i, (first, last) in enumerate(itertools.pairwise(case["own_offsets"])):
        columns = [c for c in range(first, last) if case["grade"][c] >= 0]
        grades = [case["grade"][c] for c in columns]
        if grades and counts(kind, grades):
            lists.append((i, columns, grades))
    value, of_temperature = 0.0, 0.0
    slope = np.zeros((len(query), len(document)))
    for i, columns, grades in lists:
        scores = np.array([query[i] @ document[c] for c in columns])
        teacher = np.array([case["teacher"][c] for c in columns])

        def loss(s, tau):
            return LOSSES[kind](case, s.astype(complex), grades, teacher, tau, case["first_query"] + i)

        value += loss(scores, case["temperature"]).real
        for k, column in enumerate(columns):
            step = np.zeros(len(columns), dtype=complex)
            step[k] = 1j * h
            slope[i, column] = loss(scores + step, case["temperature"]).imag / h
        if kind in WITH_TEMPERATURE:
            of_temperature += case["temperature"] * loss(scores, case["temperature"] + 1j * h).imag / h
    count = max(len(lists), 1)
    return loss_results(case, value / count, slope / count, of_temperature / count)


def draw_case(name, kind, draw, temperature, **options):
    rng = np.random.default_rng(draw)
    lengths, dimension = [5, 1, 7, 3, 0, 9, 2], 3
    offsets = [2] + [2 + sum(lengths[: i + 1]) for i in range(len(lengths))]
    candidates = offsets[-1] + 3
    grade = [int(g) for g in rng.integers(0, 4, candidates)]
    for i in (0, 5):  # documents that are left out
        grade[offsets[i] + 1] = -1
    grade[offsets[3]:offsets[4]] = [2, 2, 2]  # nothing to compare
    grade[offsets[2]:offsets[3]] = [3, 0, 1, 0, 0, 2, 1]
    case = {
        "name": name, "kind": kind, "temperature": temperature, "scale": 1.0, "margin": 0.2, "negatives": "all",
        "teacher_temperature": 1.0, "samples": 2, "cutoff": 10, "seed": 1, "step": 0, "first_query": 0,
        "query": unit_rows(rng, len(lengths), dimension), "document": unit_rows(rng, candidates, dimension),
        "own_offsets": offsets, "grade": grade, "teacher": (np.round(rng.standard_normal(candidates) * 64) / 64).tolist(),
    }
    return case | options


def draw_cases():
    return [
        draw_case("listnet", "listnet", 1, 0.1),
        draw_case("listnet, low temperature", "listnet", 2, 0.005),
        draw_case("listmle", "listmle", 3, 0.1),
        draw_case("listmle, low temperature", "listmle", 4, 0.005),
        draw_case("kl", "kl", 5, 0.2, teacher_temperature=0.7),
        draw_case("ranknet", "ranknet", 6, 0.1, scale=5.0),
        draw_case("weighted ranknet", "weighted-ranknet", 7, 0.1, scale=10.0),
        draw_case("lambda", "lambda", 8, 0.1, scale=5.0),
        draw_case("irpo", "irpo", 9, 0.1, scale=5.0),
        draw_case("margin-mse", "margin-mse", 10, 0.1),
        draw_case("bpr", "bpr", 11, 0.1),
        draw_case("reverse-bpr", "reverse-bpr", 12, 0.1),
        draw_case("hinge, all", "hinge", 13, 0.1),
        draw_case("hinge, hardest", "hinge", 14, 0.1, negatives="hardest", margin=0.5),
        draw_case("hinge, semi-hard", "hinge", 15, 0.1, negatives="semi-hard", margin=0.5),
        draw_case("pg-rank", "pg-rank", 16, 0.3, samples=7, cutoff=3, seed=2**40 + 5, step=11, first_query=9),
        draw_case("pg-rank, whole rankings", "pg-rank", 17, 0.1, samples=5, seed=3, step=2),
    ]


if __name__ == "__main__":
    main(__doc__, Fixture(draw_cases, list_loss))
