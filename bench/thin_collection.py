#!/usr/bin/env python3
"""A smaller collection for quick searches on one split: its queries, their judged documents, and every n-th other document.

  thin_collection.py --collection FOLDER --split dev --every 8 --out FOLDER
"""
import argparse
import json
import os


def judgements(path):
    """The lines of a qrels file and the documents in it."""
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()
    rows = [line.split("\t") for line in lines[1:]]
    return lines, {row[0] for row in rows}, {row[1] for row in rows}


def copy_some(source, target, wanted):
    """Copies those lines of a .jsonl file whose place and _id are wanted."""
    with open(source, encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as out:
        out.writelines(line for place, line in enumerate(lines) if wanted(place, json.loads(line)["_id"]))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--collection", required=True)
    arguments.add_argument("--split", default="dev")
    arguments.add_argument("--every", type=int, default=8)
    arguments.add_argument("--out", required=True)
    options = arguments.parse_args()
    qrels = os.path.join("qrels", f"{options.split}.tsv")
    lines, queries, documents = judgements(os.path.join(options.collection, qrels))
    os.makedirs(os.path.join(options.out, "qrels"), exist_ok=True)
    with open(os.path.join(options.out, qrels), "w", encoding="utf-8") as out:
        out.writelines(lines)
    for name, wanted in [("queries.jsonl", lambda place, key: key in queries),
                         ("corpus.jsonl", lambda place, key: key in documents or place % options.every == 0)]:
        copy_some(os.path.join(options.collection, name), os.path.join(options.out, name), wanted)


if __name__ == "__main__":
    main()
