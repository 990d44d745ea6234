#!/usr/bin/env python3
"""Toller's tokenizers against the `tokenizers` library: the same tokens for every line, and the time,
one thread each, in turns.

  compare_tokenizers.py [--tokenizer tokenizer.json | --kind KIND [--vocabulary N]] [--text FILE …] [--noise N] [--rounds N]
                        [--json FILE]

--tokenizer: a tokenizer.json or a vocab.txt. --kind: one that is trained on the text, with N pieces: RoBERTa, ModernBERT, Qwen2
and others of byte_level_bpe_reference.py, XLM-R and others of unigram_reference.py (these want the package sentencepiece); or
WordPiece (the default), the first of tests/text/fixtures/wordpiece.json. --text: lines, as they are or gzipped; what is not
UTF-8 is given to both sides as U+FFFD. --noise: so many generated lines. Exit status 1: some line has other tokens; 77: a
package is not installed.
"""
import argparse
import gzip
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "reference"))
import byte_level_bpe_reference  # which ends this script where a package is missing
import hard_lines
import tokenizers
import unigram_reference
from fixture_files import np
from tokenizers.implementations import BertWordPieceTokenizer

LONGEST = 1_000_000  # tokens; nothing is cut
COPIED = 20_000  # lines that the library tokenizes again, with Toller's copy of the tokenizer


SPECIAL = ["[CLS]", "[MASK]", "<s>", "<mask>", " <mask>", "<|endoftext|>", "<tool>"]


def make_tokenizer(options, text):
    if options.kind == "WordPiece":
        return json.loads((ROOT / "tests/text/fixtures/wordpiece.json").read_text(encoding="utf-8"))[0]["tokenizer"]
    text = text or 20 * hard_lines.SENTENCES
    for name, _, _, make, _ in byte_level_bpe_reference.KINDS:
        if name == options.kind:
            return make(text, options.vocabulary)
    make = {name: make for name, _, _, make in unigram_reference.KINDS}[options.kind]
    return make(text, options.vocabulary, unigram_reference.charsmap(normalization_rule_name="nmt_nfkc"))


def read_lines(path):
    opened = gzip.open(path) if path.endswith(".gz") else open(path, "rb")
    with opened as file:
        return [line for line in file.read().decode("utf-8", "replace").split("\n") if line.strip()]


def load_library(path):
    if path.endswith(".txt"):
        return BertWordPieceTokenizer(path)
    tokenizer = tokenizers.Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def run_library(tokenizer, lines):
    """Its fastest way: all lines in one call, without the places of the tokens in the text."""
    start = time.perf_counter()
    encode = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)
    encodings = encode(lines)
    seconds = time.perf_counter() - start
    return seconds, [encoding.ids for encoding in encodings]


def run_toller(program, path, lines, copy):
    texts = b"".join(struct.pack("<i", len(text)) + text for text in (line.encode() for line in lines))
    done = subprocess.run([program, path, str(LONGEST), "1", copy], input=texts, stdout=subprocess.PIPE, check=True)
    tokens = np.frombuffer(done.stdout, "<i4", offset=8)
    rows, place = [], 0
    while place < len(tokens):
        rows.append(tokens[place + 1 : place + 1 + tokens[place]].tolist())
        place += 1 + tokens[place]
    return struct.unpack_from("<d", done.stdout)[0], rows


def check_copy(copy, lines, expected):
    """The library must read what stores and checkpoints hold with the same result."""
    _, found = run_library(load_library(copy), lines[-COPIED:])
    return report_differences(lines[-COPIED:], expected[-COPIED:], found)


def report_differences(lines, expected, found):
    wrong = [i for i, row in enumerate(expected) if row != found[i]]
    print(f"{len(lines)} lines, {sum(not line.isascii() for line in lines)} of them not ASCII: {len(wrong)} differ", flush=True)
    for i in wrong[:10]:
        print(f"  {lines[i]!a}\n    library {expected[i]}\n    here    {found[i]}")
    return len(wrong)


def compare(path, options, lines, copy):
    tokenizer = load_library(path)
    seconds = {"toller": [], "tokenizers": []}
    different = 0
    for _ in range(options.rounds):
        taken, found = run_toller(options.program, path, lines, copy)
        seconds["toller"].append(taken)
        taken, expected = run_library(tokenizer, lines)
        seconds["tokenizers"].append(taken)
        different = max(different, report_differences(lines, expected, found))
    different = max(different, check_copy(copy, lines, expected))
    tokens = sum(len(row) for row in expected)
    size = sum(len(line.encode()) for line in lines)
    speed = {}
    for name, all_rounds in seconds.items():
        middle = statistics.median(all_rounds)
        speed[name] = {"seconds": all_rounds, "tokens_per_second": tokens / middle, "megabytes_per_second": size / middle / 1e6}
        print(f"{name}: {middle:.3f} s, {tokens / middle:,.0f} tokens/s, {size / middle / 1e6:.1f} MB/s (median of {options.rounds})")
    return {"version_of_tokenizers": tokenizers.__version__, "lines": len(lines), "bytes": size, "tokens": tokens,
            "different_lines": different, **speed}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(ROOT / "build" / "bin" / "bench_tokenize"))
    parser.add_argument("--tokenizer")
    parser.add_argument("--kind", default="WordPiece")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--text", nargs="*", default=[])
    parser.add_argument("--noise", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json")
    options = parser.parse_args()
    rng = random.Random(1)
    text = [line for path in options.text for line in read_lines(path)]
    lines = text + hard_lines.draw_clustered_lines(rng, options.noise, SPECIAL)
    with tempfile.TemporaryDirectory() as folder:
        path = options.tokenizer
        if path is None:
            path = os.path.join(folder, "tokenizer.json")
            Path(path).write_text(json.dumps(make_tokenizer(options, text)), encoding="utf-8")
        result = compare(path, options, lines, os.path.join(folder, "copy.json"))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if result["different_lines"] else 0)


if __name__ == "__main__":
    main()
