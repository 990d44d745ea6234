#!/usr/bin/env python3
"""WordPiece of the `tokenizers` library on lines that are hard to normalise, for tests/text/fixtures/wordpiece.json.

  wordpiece_reference.py --write FILE   draw lines and vocabularies and write them with the library's tokens
  wordpiece_reference.py --check FILE   tokenize the lines in FILE again and compare

Exit status 77: tokenizers or NumPy is not installed.
"""
import json
import random
from collections import Counter

import tokenizer_files  # which ends this script where a package is missing
from fixture_files import Fixture, main
from hard_lines import draw_lines
from tokenizers import Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def describe(vocabulary, added={}, **normalizer):
    options = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    return tokenizer_files.describe(
        {token: {} for token in SPECIAL} | added, vocabulary, {"type": "BertNormalizer", **options, **normalizer},
        {"type": "BertPreTokenizer"}, tokenizer_files.template("[CLS]", "[SEP]", vocabulary),
        {"type": "WordPiece", "prefix": "##", "cleanup": True},
        {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
         "vocab": vocabulary})


def derive_vocabulary(lines, size, **normalizer):
    """Special tokens, then the most frequent beginnings and middles of the lines' normalised words, up to six characters."""
    bare = Tokenizer.from_str(json.dumps(describe({token: i for i, token in enumerate(SPECIAL)}, **normalizer)))
    pieces = Counter()
    for line in lines:
        for word, _ in bare.pre_tokenizer.pre_tokenize_str(bare.normalizer.normalize_str(line)):
            for start in range(min(len(word), 40)):
                for length in range(1, 7):
                    piece = word[start : start + length]
                    pieces[("##" if start else "") + piece] += 3 if length == 1 else 1
    chosen = sorted(pieces, key=lambda piece: (-pieces[piece], piece))
    return {token: i for i, token in enumerate((SPECIAL + chosen)[:size])}


def append_tokens(rng, tokens):
    before = [" ", "\u3000 ", "a", "-", "\u0301", ""]
    return "".join(rng.choice(before) + rng.choice(tokens) for _ in range(3)) + rng.choice(["", " ", "x"])


def draw_cases():
    added = {"Łódź": {"normalized": True, "special": False}, "o": {"single_word": True, "special": False},
             "<tag/>": {"lstrip": True, "rstrip": True, "special": False}, "the  QUICK": {"special": False},
             " ed": {"normalized": True, "single_word": True, "special": False}, "[X]": {"lstrip": True},
             "[X]]": {"lstrip": True, "normalized": True}}
    settings = [("uncased", 900, 2600, {}, {}), ("cased", 300, 1200, {}, {"lowercase": False}),
                ("cased, no accents", 200, 700, {}, {"lowercase": False, "strip_accents": True}),
                ("uncased, with accents", 200, 700, {}, {"strip_accents": False}),
                ("no clean text, no chinese", 200, 700, {}, {"clean_text": False, "handle_chinese_chars": False}),
                ("added tokens", 200, 700, added, {})]
    cases = []
    for seed, (name, count, size, tokens, normalizer) in enumerate(settings):
        rng = random.Random(seed)
        lines = draw_lines(rng, count, SPECIAL)
        if tokens:
            lines = [line[:12] + append_tokens(rng, list(tokens)) for line in lines]
        vocabulary = derive_vocabulary(lines, size, **normalizer)
        cases.append({"name": name, "tokenizer": describe(vocabulary, tokens, **normalizer), "lines": lines})
    return cases


if __name__ == "__main__":
    main(__doc__, Fixture(draw_cases, tokenizer_files.tokenize))
