"""Parts of the tokenizer.json files of the `tokenizers` library, for the scripts that make tests' tokenizers."""
import json
import sys

try:
    from tokenizers import Tokenizer
except ImportError:
    sys.exit(77)

FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


def added_tokens(tokens, vocabulary):
    """`tokens` (flags by content) as a file lists them; those that are not in the vocabulary come after it."""
    ids = vocabulary | {token: len(vocabulary) + i for i, token in enumerate(t for t in tokens if t not in vocabulary)}
    return [{"id": ids[content], "content": content, **FLAGS, **given} for content, given in tokens.items()]


def template(begin, end, ids):
    """A TemplateProcessing with `begin`, where it is not None, before a text and `end` behind it."""
    part = lambda token, type_id: {"SpecialToken": {"id": token, "type_id": type_id}}
    sequence = lambda name, type_id: {"Sequence": {"id": name, "type_id": type_id}}
    single = ([part(begin, 0)] if begin else []) + [sequence("A", 0), part(end, 0)]
    special = {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (begin, end) if token}
    pair = single + [sequence("B", 1), part(end, 1)]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


def describe(added, vocabulary, normalizer, pre_tokenizer, post_processor, decoder, model):
    """A whole file."""
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added_tokens(added, vocabulary),
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": decoder,
            "model": model}


def tokenize(case):
    """The tokens of all lines, one after the other, and how many each line has."""
    tokenizer = Tokenizer.from_str(json.dumps(case["tokenizer"]))
    rows = [encoding.ids for encoding in tokenizer.encode_batch(case["lines"])]
    return {"tokens": [token for row in rows for token in row], "lengths": [len(row) for row in rows]}
