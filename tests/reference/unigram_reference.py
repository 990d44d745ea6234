#!/usr/bin/env python3
"""Unigram tokenizers of the `tokenizers` library on hard lines, for tests/text/fixtures/unigram.json.

  unigram_reference.py --write FILE   draw lines, train tokenizers on them and write them with the library's tokens
  unigram_reference.py --check FILE   tokenize the lines in FILE again and compare

--write wants the package sentencepiece besides. Exit status 77: a package is not installed.
"""
import base64
import functools
import io
import json
import random
import struct
import sys
import tempfile

import tokenizer_files  # which ends this script where a package is missing
from fixture_files import Fixture, main
from hard_lines import SENTENCES, draw_clustered_lines
from tokenizers import Tokenizer

ADDED = {"<s>": {}, "<pad>": {}, "</s>": {}, "<unk>": {}, "<mask>": {"lstrip": True}}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
OLD_METASPACE = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
SPLIT_AT_SPACE = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]}


def fields(message):
    """Number and value of the fields of a protocol buffer; of those with a length, the bytes."""
    at = 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        size = varint() if tag & 7 in (0, 2) else {1: 8, 5: 4}[tag & 7]
        if tag & 7 == 0:
            yield tag >> 3, size
        else:
            yield tag >> 3, message[at : at + size]
            at += size


def train(lines, size, **options):
    """The fields of a model that sentencepiece makes of the lines."""
    try:
        import sentencepiece
    except ImportError:
        sys.exit(77)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=size, hard_vocab_limit=False, max_sentence_length=1 << 30,
        minloglevel=2, **options)
    return list(fields(model.getvalue()))


def charsmap(**normalization):
    """What sentencepiece makes of a rule: a trie of what is replaced, and the replacements."""
    model = train(["one two three four five six"] * 20, 40, **normalization)
    spec = next(value for number, value in model if number == 3)
    return next(value for number, value in fields(spec) if number == 2)


def rules(compiled):
    """The pairs of a charsmap."""
    size = struct.unpack_from("<I", compiled)[0]
    trie, texts = struct.unpack_from(f"<{size // 4}I", compiled, 4), compiled[4 + size :]
    offset = lambda unit: (unit >> 10) << ((unit & 0x200) >> 6)
    found, open_nodes = {}, [(offset(trie[0]), b"")]
    while open_nodes:
        node, key = open_nodes.pop()
        for label in range(1, 256):
            child = node ^ label
            if child < len(trie) and trie[child] & 0x800000FF == label:
                after = child ^ offset(trie[child])
                if trie[child] >> 8 & 1:
                    start = trie[after] & 0x7FFFFFFF
                    found[(key + bytes([label])).decode()] = texts[start : texts.index(b"\0", start)].decode()
                open_nodes.append((after, key + bytes([label])))
    return found


@functools.cache
def xlm_roberta_rules():
    return rules(charsmap(normalization_rule_name="nmt_nfkc"))


def small_charsmap(lines):
    """The rules of XLM-RoBERTa's normaliser that can apply to the lines: all of them take 300 KB."""
    text = "\n".join(lines)
    points = lambda part: " ".join(f"{ord(c):X}" for c in part)
    chosen = {key: value for key, value in xlm_roberta_rules().items() if key in text}
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.write("".join(f"{points(key)}\t{points(value)}\n" for key, value in sorted(chosen.items())))
        file.flush()
        return charsmap(normalization_rule_tsv=file.name)


def train_pieces(lines, size):
    """Pieces and scores, in XLM-RoBERTa's order."""
    model = train([line for line in lines if "\0" not in line], size, character_coverage=0.98)
    pieces = [dict(fields(value)) for number, value in model if number == 1]
    named = [[piece[1].decode(), struct.unpack("<f", piece[2])[0]] for piece in pieces]
    special = [[token, 0.0] for token in ADDED]
    return special[:4] + [piece for piece in named if piece[0] not in ADDED] + special[4:]


def describe(pieces, normalizer, pre_tokenizer):
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    model = {"type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": False}
    post = tokenizer_files.template("<s>", "</s>", ids)
    return tokenizer_files.describe(ADDED, ids, normalizer, pre_tokenizer, post, METASPACE, model)


def xlm_roberta(lines, size, compiled):
    """As older files have it."""
    normalizer = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(compiled).decode()}
    return describe(train_pieces(lines, size), normalizer, OLD_METASPACE)


def split_at_space(lines, size, compiled):
    return xlm_roberta(lines, size, compiled) | {"pre_tokenizer": SPLIT_AT_SPACE}


def converted(lines, size, compiled, blanks=" ", strip=None):
    """Runs of blanks replaced, as newer conversions do."""
    precompiled = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(compiled).decode()}
    replace = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": blanks}
    steps = [precompiled] + ([{"type": "Strip", "strip_left": False, "strip_right": True}] if strip else []) + [replace]
    return describe(train_pieces(lines, size), {"type": "Sequence", "normalizers": steps}, METASPACE)


def stripped(lines, size, compiled):
    return converted(lines, size, compiled, "▁", strip=True)


# Name, lines, size of the vocabulary, tokenizer.
KINDS = [("XLM-R", 300, 800, xlm_roberta), ("XLM-R, split at space", 240, 600, split_at_space),
         ("runs of blanks", 240, 600, converted), ("stripped", 120, 600, stripped)]


def as_read(score):
    """What the library makes of the digits of a score, which may differ in the last bit."""
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["a", score]], "byte_fallback": False}
    read = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    return json.loads(read.to_str())["model"]["vocab"][0][1]


def draw_scores(rng, count):
    """Scores that the library does not read as they are."""
    scores = []
    while len(scores) < count:
        score = rng.uniform(-12, -1)
        if as_read(score) != score:
            scores.append(score)
    return scores


def draw_ties(rng, count):
    """Words that several ways of division score alike, but for rounding."""
    parts = ["a", "aa", "aaa", "aaaaa", "b", "ab", "ba", "bab"]
    pieces = [[token, 0.0] for token in list(ADDED)[:4]]
    pieces += [[piece, score] for piece, score in zip(["▁", *parts], draw_scores(rng, 9))]
    pieces += [["ac", pieces[5][1]], ["ca", pieces[5][1]], ["<mask>", 0.0]]
    lines = ["".join(rng.choice("aaaabc "[: rng.choice([4, 5, 7])]) for _ in range(rng.randrange(3, 30))) for _ in range(count)]
    return {"name": "ties", "tokenizer": describe(pieces, None, METASPACE), "lines": lines}


def draw_cases():
    for seed, (name, count, size, make) in enumerate(KINDS):
        lines = draw_clustered_lines(random.Random(seed), count, list(ADDED))
        yield {"name": name, "tokenizer": make(20 * SENTENCES, size, small_charsmap(lines)), "lines": lines}
    yield draw_ties(random.Random(len(KINDS)), 100)


if __name__ == "__main__":
    main(__doc__, Fixture(draw_cases, tokenizer_files.tokenize))
