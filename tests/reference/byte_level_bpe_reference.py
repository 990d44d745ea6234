#!/usr/bin/env python3
"""Byte-level BPE of the `tokenizers` library on hard lines, for tests/text/fixtures/byte_level_bpe.json.

  byte_level_bpe_reference.py --write FILE   draw lines, train tokenizers on them and write them with the library's tokens
  byte_level_bpe_reference.py --check FILE   tokenize the lines in FILE again and compare

Exit status 77: tokenizers or NumPy is not installed.
"""
import json
import random

import tokenizer_files  # which ends this script where a package is missing
from fixture_files import Fixture, main
from hard_lines import SENTENCES, draw_spaced_lines
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
SPLIT = {"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": False}
ROBERTA = {"<s>": {}, "<pad>": {}, "</s>": {}, "<unk>": {}, "<mask>": {"lstrip": True}}
# As ModernBERT has them: in the vocabulary's place for special tokens, and runs of blanks.
MODERN = {"[UNK]": {}, "[CLS]": {}, "[SEP]": {}, "[PAD]": {}, "[MASK]": {"lstrip": True}}
MODERN |= {text: {"normalized": True, "special": False} for text in (8 * " ", 4 * " ", 3 * " ", 2 * " ", "e\u0301|\u212b")}
QWEN = {"<|endoftext|>": {}, "<|im_start|>": {}, "<tool>": {"special": False}}


def train(lines, size, special, qwen=False, compose=False, alphabet=True):
    """The model of a file."""
    tokenizer = Tokenizer(models.BPE())
    if compose:
        tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN2), "isolated")
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not qwen)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, by_bytes]) if qwen else by_bytes
    letters = pre_tokenizers.ByteLevel.alphabet() if alphabet else []
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return json.loads(tokenizer.to_str())["model"]


def roberta(lines, size, prefix_space=False, **model):
    trained = train(lines, size, list(ROBERTA)) | model
    ids = trained["vocab"]
    post = {"type": "RobertaProcessing", "sep": ["</s>", ids["</s>"]], "cls": ["<s>", ids["<s>"]], "trim_offsets": True,
            "add_prefix_space": prefix_space}
    before = {key: value for key, value in BYTE_LEVEL.items() if key != "use_regex"} | {"add_prefix_space": prefix_space}
    return tokenizer_files.describe(ROBERTA, ids, None, before, post, BYTE_LEVEL, trained)


def modern_bert(lines, size):
    """Merges as files of old versions have them; the added tokens follow the vocabulary."""
    model = train(lines, size, [], compose=True) | {"unk_token": "[UNK]"}
    model["merges"] = [" ".join(pair) for pair in model["merges"]]
    model["vocab"]["[UNK]"] = len(model["vocab"])
    ids = {token["content"]: token["id"] for token in tokenizer_files.added_tokens(MODERN, model["vocab"])}
    post = tokenizer_files.template("[CLS]", "[SEP]", ids)
    return tokenizer_files.describe(MODERN, model["vocab"], {"type": "NFC"}, BYTE_LEVEL, post, BYTE_LEVEL, model)


def qwen(lines, size):
    model = train(lines, size, [], qwen=True, compose=True) | {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
    ids = {token["content"]: token["id"] for token in tokenizer_files.added_tokens(QWEN, model["vocab"])}
    by_bytes = BYTE_LEVEL | {"use_regex": False}
    post = {"type": "Sequence", "processors": [by_bytes, tokenizer_files.template(None, "<|endoftext|>", ids)]}
    before = {"type": "Sequence", "pretokenizers": [SPLIT, by_bytes]}
    return tokenizer_files.describe(QWEN, model["vocab"], {"type": "NFC"}, before, post, BYTE_LEVEL, model)


def few_bytes(lines, size):
    """Some bytes have no piece, and become <unk>, which may merge."""
    model = train(SENTENCES[:3], size, list(ROBERTA), alphabet=False) | {"unk_token": "<unk>"}
    ids = model["vocab"]
    ids["<unk>e"] = len(ids)
    model["merges"].insert(3, ["<unk>", "e"])
    post = tokenizer_files.template("<s>", "</s>", ids)
    return tokenizer_files.describe(ROBERTA, ids, None, BYTE_LEVEL, post, BYTE_LEVEL, model)


def whole_words(lines, size):
    """ignore_merges, without most of the merges; bytes without a piece are left out."""
    model = train(lines, size, list(ROBERTA)) | {"ignore_merges": True}
    model["merges"] = model["merges"][: len(model["merges"]) // 4]
    for letter in "\u0122\u00a9":
        model["merges"] = [pair for pair in model["merges"] if letter not in "".join(pair)]
        model["vocab"].pop(letter)
    model["vocab"] = {piece: i for i, piece in enumerate(model["vocab"])}
    return tokenizer_files.describe(ROBERTA, model["vocab"], None, BYTE_LEVEL,
                                    tokenizer_files.template("<s>", "</s>", model["vocab"]), BYTE_LEVEL, model)


# Name, lines, size of the vocabulary, tokenizer, its special tokens.
KINDS = [("RoBERTa", 250, 650, roberta, ROBERTA), ("ModernBERT", 250, 650, modern_bert, MODERN), ("Qwen2", 300, 750, qwen, QWEN),
         ("few bytes", 60, 120, few_bytes, ROBERTA), ("ignore_merges", 50, 450, whole_words, ROBERTA),
         ("blank before a text", 50, 350, lambda lines, size: roberta(lines, size, prefix_space=True), ROBERTA)]


def draw_cases():
    for seed, (name, count, size, make, special) in enumerate(KINDS):
        lines = draw_spaced_lines(random.Random(seed), count, list(special))
        yield {"name": name, "tokenizer": make(3 * SENTENCES + lines, size), "lines": lines}


if __name__ == "__main__":
    main(__doc__, Fixture(draw_cases, tokenizer_files.tokenize))
