#!/usr/bin/env python3
"""Draws the text lengths of the step benchmarks: pairs of a query and a document as a token store holds them,
scaled to the mean lengths of another collection.

A pair is a random query of the training split and a random document among its most relevant ones. A length n becomes
round((n + u) * scale), u uniform in [-0.5, 0.5) so that stretched lengths leave no gaps, cut to [least, most]; scale
is the one for which the mean after the cut is the mean that is asked for. Needs h5py and NumPy.

    bench/lengths.py --data runs/quickstart/store.h5 --out bench/lengths_32_128.json
"""
import argparse
import json

import h5py
import numpy as np


def draw_pairs(store, pairs, random):
    """Token counts of the queries and of the documents of random training pairs."""
    split = store["splits/train"]
    offsets, document, grade = (split[name][:] for name in ("offsets", "document", "grade"))
    query_length = np.diff(store["queries/offsets"][:])
    document_length = np.diff(store["documents/offsets"][:])
    queries, documents = [], []
    while len(queries) < pairs:
        i = int(random.integers(len(offsets) - 1))
        candidates = np.arange(offsets[i], offsets[i + 1])
        candidates = candidates[grade[candidates] == grade[candidates].max(initial=0)]
        if len(candidates) == 0:
            continue
        queries.append(query_length[split["query"][i]])
        documents.append(document_length[document[random.choice(candidates)]])
    return np.array(queries), np.array(documents)


def scale_to_mean(lengths, mean, least, most, random):
    """The lengths stretched so that their mean is `mean`, and the factor."""
    spread = lengths + random.uniform(-0.5, 0.5, len(lengths))
    stretch = lambda scale: np.clip(np.rint(spread * scale), least, most).astype(int)
    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if stretch(middle).mean() < mean else (low, middle)
    return stretch(high), high


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="token store")
    parser.add_argument("--out", required=True)
    parser.add_argument("--pairs", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--query", type=int, nargs=3, metavar=("MEAN", "LEAST", "MOST"), default=(32, 3, 64))
    parser.add_argument("--document", type=int, nargs=3, metavar=("MEAN", "LEAST", "MOST"), default=(128, 8, 256))
    options = parser.parse_args()

    random = np.random.default_rng(options.seed)
    with h5py.File(options.data) as store:
        queries, documents = draw_pairs(store, options.pairs, random)
    result = {"about": f"bench/lengths.py: {options.pairs} training pairs of the sample collection (seed {options.seed})"}
    for name, drawn, (mean, least, most) in (("query", queries, options.query), ("document", documents, options.document)):
        lengths, scale = scale_to_mean(drawn, mean, least, most, random)
        print(f"{name}: {drawn.mean():.2f} tokens in the store, times {scale:.4f}: mean {lengths.mean():.2f}, "
              f"median {np.median(lengths):.0f}, {lengths.min()} to {lengths.max()}, "
              f"{100 * (lengths == most).mean():.1f} % at the upper end")
        result[f"{name}_scale"] = round(scale, 4)
        result[f"{name}_lengths"] = lengths.tolist()
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(result, file)
        file.write("\n")


if __name__ == "__main__":
    main()
