#!/usr/bin/env python3
"""One small collection in all forms that `toller prepare` reads, for tests/data/fixtures/input_forms.

  input_forms_reference.py --write DIR   draw the collection and write its forms, and expected.json
  input_forms_reference.py --check DIR   read the forms in DIR with gzip, zstandard, json and csv, and compare

expected.json has the judgements of every form, by split, sorted: query, document, grade, teacher's score (or null);
query and document are [id, text], the id null in forms that have none. Exit status 77: zstandard is not installed.
"""
import argparse
import csv
import gzip
import io
import json
import random
import sys
from pathlib import Path

try:
    import zstandard
except ImportError:
    sys.exit(77)

WORDS = ["amber", "\u00e9t\u00e9", "\"quoted\"", "na\u00efve,", "\u4e00\u4e01", "O'Neill", "a\\b", "\U0001f600", "{x}", "fjord", "3.5%", "\u05e9\u05dc\u05d5\u05dd"]
FORMS = {"beir": "beir", "triples": "triples", "pos-neg": "pos_neg.jsonl.zst", "triplets": "triplets", "lists": "lists.json.gz",
         "anchors": "anchors.jsonl"}


# ---- drawing

def draw():
    """Documents and queries [id, title, text], and per split and query (positives, negatives) as rows of documents."""
    rng = random.Random(6)
    phrase = lambda n: " ".join(rng.choices(WORDS, k=n))
    documents = [[f"d/{i}", phrase(1) if i % 3 else "", phrase(5) + f" {i}"] for i in range(24)]
    queries = [[f"q{i}", "", phrase(3) + f" {i}"] for i in range(10)]
    splits = {"dev": {}, "train": {}}
    for i in range(10):
        rows = rng.sample(range(24), 2 + i % 3)
        splits["dev" if i < 3 else "train"][i] = (rows[: 1 + i % 2], rows[1 + i % 2 :])
    return documents, queries, splits


def joined(document):
    return " ".join(part for part in document[1:] if part)


def score(query, row):
    return (query * 7 + row) / 8 - 3


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    if path.suffix == ".gz":  # two members, one after the other
        half = len(data) // 2
        data = gzip.compress(data[:half], mtime=0) + gzip.compress(data[half:], mtime=0)
    if path.suffix == ".zst":
        data = zstandard.ZstdCompressor(level=5).compress(data)
    path.write_bytes(data)


def lines(records):
    return "".join(json.dumps(record, ensure_ascii=i % 2 == 0) + "\n" for i, record in enumerate(records))


def table(header, rows):
    out = io.StringIO()
    csv.writer(out, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\r\n").writerows([header, *rows])
    return out.getvalue()


def write_beir(folder, documents, queries, splits):
    """With the documents in the order in which the triples name them, so that both give the same store."""
    order = []
    for split in splits.values():
        for positives, negatives in split.values():
            order += [row for row in positives + negatives if row not in order]
    corpus = [dict(zip(("_id", "title", "text"), documents[row])) for row in order]
    write(folder, "beir/corpus.jsonl.zst", lines(corpus))
    write(folder, "beir/queries.jsonl.gz", lines({"_id": q[0], "text": q[2]} for q in queries))
    for (name, split), ending in zip(splits.items(), (".gz", "")):
        rows = [[queries[q][0], documents[d][0], grade] for q, both in split.items() for grade, part in ((1, both[0]), (0, both[1])) for d in part]
        write(folder, f"beir/qrels/{name}.tsv{ending}", table(["query-id", "corpus-id", "score"], rows))


def write_forms(folder):
    documents, queries, splits = draw()
    write_beir(folder, documents, queries, splits)
    passage = lambda row: dict(zip(("docid", "title", "text"), documents[row]))
    text = lambda row: joined(documents[row])
    for (name, split), ending in zip(splits.items(), (".zst", ".gz")):
        write(folder, f"triples/{name}.jsonl{ending}", lines(
            {"query_id": queries[q][0], "query": queries[q][2], "positive_passages": [passage(d) for d in positives],
             "negative_passages": [passage(d) for d in negatives]} for q, (positives, negatives) in split.items()))
        rows = [[queries[q][2], text(p), text(negatives[0]) if negatives else ""] for q, (positives, negatives) in split.items() for p in positives]
        write(folder, f"triplets/{name}.tsv{ending}", table(["anchor", "positive", "negative_1"], rows))
    train = splits["train"].items()
    write(folder, FORMS["pos-neg"], lines(
        {"query": queries[q][2], "pos": [text(d) for d in positives], "neg": [text(d) for d in negatives],
         "pos_scores": [score(q, d) for d in positives], "neg_scores": [score(q, d) for d in negatives], "prompt": "Find: "}
        for q, (positives, negatives) in train))
    write(folder, FORMS["lists"], lines([queries[q][2], text(positives[0]), *(text(d) for d in negatives[:1])]
                                        for q, (positives, negatives) in train))
    write(folder, FORMS["anchors"], lines(
        {"anchor": queries[q][2], "positive": text(p)} | {f"negative_{i + 1}": text(d) for i, d in enumerate(negatives)}
        for q, (positives, negatives) in train for p in positives))


# ---- reading, by other means than were used to write

def read(path):
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    return data.decode()


def records(path):
    return [json.loads(line) for line in read(path).split("\n") if line]


def tsv(path):
    return list(csv.reader(io.StringIO(read(path), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))


def one(folder, stem):
    [path] = folder.glob(stem + "*")
    return path


def beir(folder):
    corpus = {r["_id"]: joined((None, r["title"], r["text"])) for r in records(one(folder, "corpus"))}
    queries = {r["_id"]: r["text"] for r in records(one(folder, "queries"))}
    return {path.name.split(".")[0]: [[[q, queries[q]], [d, corpus[d]], int(grade), None] for q, d, grade in tsv(path)[1:]]
            for path in (folder / "qrels").iterdir()}


def triples(path):
    for r in records(path):
        for field, grade in (("positive_passages", 1), ("negative_passages", 0)):
            for passage in r[field]:
                yield [[r["query_id"], r["query"]], [passage["docid"], joined((None, passage["title"], passage["text"]))], grade, None]


def pos_neg(path):
    for r in records(path):
        for field, grade in (("pos", 1), ("neg", 0)):
            for text, score in zip(r[field], r[field + "_scores"], strict=True):
                yield [[None, r["query"]], [None, text], grade, score]


def texts(rows):
    for query, positive, *negatives in rows:
        yield [[None, query], [None, positive], 1, None]
        yield from ([[None, query], [None, negative], 0, None] for negative in negatives if negative)


def by_split(folder, read_file):
    return {path.name.split(".")[0]: list(read_file(path)) for path in folder.iterdir()}


def expected(folder):
    forms = {
        "beir": beir(folder / FORMS["beir"]),
        "triples": by_split(folder / FORMS["triples"], triples),
        "pos-neg": {"train": list(pos_neg(folder / FORMS["pos-neg"]))},
        "triplets": by_split(folder / FORMS["triplets"], lambda path: texts(tsv(path)[1:])),
        "lists": {"train": list(texts(records(folder / FORMS["lists"])))},
        "anchors": {"train": list(texts(list(r.values()) for r in records(folder / FORMS["anchors"])))},
    }
    unique = lambda rows: sorted({json.dumps(row): row for row in rows}.values(), key=json.dumps)
    return {form: {"path": FORMS[form], "splits": {name: unique(rows) for name, rows in sorted(splits.items())}}
            for form, splits in forms.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="DIR")
    parser.add_argument("--check", type=Path, metavar="DIR")
    options = parser.parse_args()
    if options.write:
        write_forms(options.write)
        (options.write / "expected.json").write_text(json.dumps(expected(options.write), separators=(",", ":")) + "\n")
    if options.check:
        found = expected(options.check)
        if found != json.loads((options.check / "expected.json").read_text()):
            sys.exit(f"{options.check}: the forms are not what expected.json says")
        if found["beir"]["splits"] != found["triples"]["splits"]:
            sys.exit(f"{options.check}: BEIR layout and triples differ")
        print(f"{len(found)} forms agree")


if __name__ == "__main__":
    main()
