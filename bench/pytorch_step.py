#!/usr/bin/env python3
"""The PyTorch counterpart of Toller's training step, for a side-by-side on one GPU.

The same step: BERT encoder (the presets of src/model/config.cpp; post-LN, exact GELU, learned positions, dropout on
embeddings, probabilities and both outputs of a layer), mean pooling, unit length, InfoNCE over the batch, gradient,
clipping by the global norm, AdamW with fp32 master parameters (fused where there is a GPU). bf16 is autocast's. Queries
and documents go through one encoder. Token ids are random and on the device before the clock starts: reading and
copying a batch is not timed, which favours PyTorch.

Forms of the step (--mode):
  padded   what users of sentence-transformers have: the queries padded to their longest, the documents to theirs, two
           passes, F.scaled_dot_product_attention with a mask of the keys
  packed   no padding; queries and documents in one array of tokens, one pass. Attention (--attention), each if it works
           in this PyTorch and on this device (tried before it is timed, against attention text by text):
             flash-attn  flash_attn_varlen_func of the package flash_attn
             nested      F.scaled_dot_product_attention on jagged nested tensors
             varlen      torch.nn.attention.varlen.varlen_attn; drops no probabilities
             flex        flex_attention with a block mask, compiled; drops no probabilities
             loop        text by text; the reference of the self-test
           "all" takes the first four. One that drops no probabilities does less work than the others at a dropout above
           zero; its entry says "attention_dropout": 0.

Step s takes the pairs (s * pairs + i) mod n of the n pairs in --lengths, i = 0 ... pairs - 1; s counts from 0 with the
first warm-up step and starts again after n / pairs batches.

FLOP are those of Encoder::forward_flops, of real tokens alone and times 3. tokens_per_second and model_flops_utilisation
are medians over steps; a step's time is that between two CUDA events (of the wall clock on a CPU).

    bench/pytorch_step.py --preset base --pairs 256 --lengths bench/lengths_32_128.json --compile both --out FILE
    bench/pytorch_step.py --self-test                  fp32 on the CPU, or --device cuda
"""
import argparse
import contextlib
import dataclasses
import datetime
import gc
import json
import math
import os
import shlex
import socket
import statistics
import subprocess
import sys
import time
import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

VOCABULARY = 30522
MAX_POSITIONS = 512
TEMPERATURE = 0.05

# Dense bf16 of the data sheets, TFLOP/s.
PEAK_TFLOPS = {
    "H200": 989, "H100 PCIe": 756, "H100 NVL": 835, "GH200": 989, "H100": 989, "B200": 2250, "A100": 312, "A30": 165,
    "L40S": 362, "L4": 121, "A10": 125, "RTX 4090": 165,
}


@dataclasses.dataclass(frozen=True)
class Config:
    layers: int
    hidden: int
    heads: int
    inner: int
    dropout: float = 0.1
    vocabulary: int = VOCABULARY


PRESETS = {
    "tiny": Config(2, 128, 2, 512),
    "mini": Config(4, 256, 4, 1024),
    "minilm": Config(6, 384, 12, 1536),
    "base": Config(12, 768, 12, 3072),
}


# ---- batches

@dataclasses.dataclass
class Padded:
    """Texts of one side: ids [count, longest], mask [count, longest]."""
    ids: torch.Tensor
    mask: torch.Tensor


@dataclasses.dataclass
class Packed:
    """All texts of a batch, one behind the other, queries first."""
    ids: torch.Tensor        # [tokens]
    place: torch.Tensor      # [tokens], in the text
    text: torch.Tensor       # [tokens], number of the text
    offsets: torch.Tensor    # [texts + 1], int32
    lengths: list            # on the host
    longest: int


@dataclasses.dataclass
class Batch:
    queries: Padded
    documents: Padded
    packed: Packed
    tokens: int
    squares: int             # sum of length squared


def pad(texts, device):
    longest = max(len(text) for text in texts)
    ids = torch.zeros(len(texts), longest, dtype=torch.long)
    mask = torch.zeros(len(texts), longest, dtype=torch.bool)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = True
    return Padded(ids.to(device), mask.to(device))


def pack(texts, device):
    lengths = [len(text) for text in texts]
    offsets = torch.zeros(len(texts) + 1, dtype=torch.int32)
    offsets[1:] = torch.tensor(lengths).cumsum(0)
    return Packed(
        torch.cat(texts).to(device),
        torch.cat([torch.arange(length) for length in lengths]).to(device),
        torch.repeat_interleave(torch.arange(len(texts)), torch.tensor(lengths)).to(device),
        offsets.to(device), lengths, max(lengths))


def make_batch(query_lengths, document_lengths, vocabulary, seed, device):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda length: torch.randint(4, vocabulary, (length,), generator=generator)
    queries = [draw(length) for length in query_lengths]
    documents = [draw(length) for length in document_lengths]
    lengths = list(query_lengths) + list(document_lengths)
    return Batch(pad(queries, device), pad(documents, device), pack(queries + documents, device),
                 sum(lengths), sum(length * length for length in lengths))


def make_batches(options, config):
    """As many different batches as the lengths give, or the steps need."""
    with open(options.lengths, encoding="utf-8") as file:
        lengths = json.load(file)
    query, document = lengths["query_lengths"], lengths["document_lengths"]
    if len(query) != len(document) or max(query + document) > MAX_POSITIONS or min(query + document) < 1:
        sys.exit(f"{options.lengths}: needs as many query_lengths as document_lengths, all in 1 ... {MAX_POSITIONS}")
    if options.pairs > len(query):
        sys.exit(f"{options.lengths} has {len(query)} pairs, fewer than --pairs {options.pairs}")
    batches = []
    for step in range(min(len(query) // options.pairs, options.warmup + options.steps)):
        rows = slice(step * options.pairs, (step + 1) * options.pairs)
        batches.append(make_batch(query[rows], document[rows], config.vocabulary, step, options.device))
    return batches


# ---- attention: q, k, v [tokens, heads, size] -> [tokens, heads, size]

def attend_loop(q, k, v, packed, dropout):
    parts = []
    for a, b, c in zip(*(x.split(packed.lengths) for x in (q, k, v))):
        a, b, c = (x.transpose(0, 1).unsqueeze(0) for x in (a, b, c))
        parts.append(F.scaled_dot_product_attention(a, b, c, dropout_p=dropout)[0].transpose(0, 1))
    return torch.cat(parts)


def attend_flash_attn(q, k, v, packed, dropout):
    from flash_attn import flash_attn_varlen_func
    return flash_attn_varlen_func(q, k, v, packed.offsets, packed.offsets, packed.longest, packed.longest,
                                  dropout_p=dropout)


def attend_nested(q, k, v, packed, dropout):
    if not q.is_cuda:  # the form on a CPU, made of plain operations, wants dense memory
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    offsets = packed.offsets.long()
    q, k, v = (torch.nested.nested_tensor_from_jagged(x, offsets, min_seqlen=1, max_seqlen=packed.longest)
               .transpose(1, 2) for x in (q, k, v))
    with contextlib.nullcontext() if q.is_cuda else sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout).transpose(1, 2).values()


def attend_varlen(q, k, v, packed, dropout):
    from torch.nn.attention.varlen import varlen_attn
    return varlen_attn(q, k, v, packed.offsets, packed.offsets, packed.longest, packed.longest)


class FlexAttention:
    """Every token sees those of its own text: a block mask, made once a step and used by all layers."""

    def __init__(self):
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention
        self.attention = torch.compile(flex_attention, dynamic=True)
        self.create = torch.compile(create_block_mask, dynamic=True)
        self.mask = None

    def start(self, packed):
        """Before the first layer."""
        tokens, text = len(packed.ids), packed.text
        if not text.is_cuda:
            raise NotImplementedError("flex_attention has no backward pass on a CPU")
        self.mask = self.create(lambda b, h, i, j: text[i] == text[j], None, None, tokens, tokens, device=text.device)

    def __call__(self, q, k, v, packed, dropout):
        q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (q, k, v))
        return self.attention(q, k, v, block_mask=self.mask)[0].transpose(0, 1)


DROPLESS = {"varlen", "flex"}


def make_attention(name):
    return {"loop": lambda: attend_loop, "flash-attn": lambda: attend_flash_attn, "nested": lambda: attend_nested,
            "varlen": lambda: attend_varlen, "flex": FlexAttention}[name]()


def try_attention(name, config, device, dtype):
    """The attention, tried on three texts, forward and backward, against the loop; or the reason why not."""
    try:
        attend = make_attention(name)
        packed = pack([torch.zeros(length, dtype=torch.long) for length in (5, 130, 1)], device)
        shape = (len(packed.ids), 3, config.heads, config.hidden // config.heads)
        qkv = torch.randn(shape, device=device, dtype=dtype, requires_grad=True)
        weight = torch.randn(len(packed.ids), *shape[2:], device=device, dtype=dtype)
        results = []
        for form in (attend_loop, attend):
            if hasattr(form, "start"):
                form.start(packed)
            out = form(*qkv.unbind(1), packed, 0.0)
            results.append([out, *torch.autograd.grad(out, qkv, weight)])
        tolerance = 1e-4 if dtype == torch.float32 else 3e-2
        for expected, found in zip(*results):
            error = (found.float() - expected.float()).abs().max() / expected.float().abs().max()
            if not error <= tolerance:
                return None, f"differs from attention text by text by {error:.2g}"
        if config.dropout > 0 and name not in DROPLESS:
            attend(*qkv.unbind(1), packed, config.dropout).sum().backward()
        return attend, None
    except Exception as problem:  # whatever a PyTorch version, a package or a device lacks
        return None, f"{type(problem).__name__}: {problem}".split("\n")[0][:200]


# ---- model

class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.qkv = nn.Linear(config.hidden, 3 * config.hidden)
        self.projection = nn.Linear(config.hidden, config.hidden)
        self.attention_norm = nn.LayerNorm(config.hidden, eps=1e-12)
        self.inner = nn.Linear(config.hidden, config.inner)
        self.output = nn.Linear(config.inner, config.hidden)
        self.output_norm = nn.LayerNorm(config.hidden, eps=1e-12)

    def drop(self, x):
        return F.dropout(x, self.dropout, self.training)

    def forward(self, x, attend):
        attended = attend(self.qkv(x).unflatten(-1, (3, self.heads, -1)), self.dropout if self.training else 0.0)
        x = self.attention_norm(x + self.drop(self.projection(attended.flatten(-2))))
        return self.output_norm(x + self.drop(self.output(F.gelu(self.inner(x)))))


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.word = nn.Embedding(config.vocabulary, config.hidden)
        self.position = nn.Embedding(MAX_POSITIONS, config.hidden)
        self.token_type = nn.Embedding(2, config.hidden)
        self.norm = nn.LayerNorm(config.hidden, eps=1e-12)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def embed(self, ids, place):
        x = self.norm(self.word(ids) + self.position(place) + self.token_type.weight[0])
        return F.dropout(x, self.config.dropout, self.training)

    def forward_padded(self, ids, mask):
        """Unit embeddings [count, hidden] of ids [count, longest]."""
        keys = mask[:, None, None, :]

        def attend(qkv, dropout):
            q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
            return F.scaled_dot_product_attention(q, k, v, attn_mask=keys, dropout_p=dropout).transpose(1, 2)

        x = self.embed(ids, torch.arange(ids.shape[1], device=ids.device))
        for layer in self.layers:
            x = layer(x, attend)
        kept = mask.unsqueeze(-1)
        return F.normalize((x.float() * kept).sum(1) / kept.sum(1), dim=-1)

    def forward_packed(self, packed, attention):
        """Unit embeddings [texts, hidden]."""
        def attend(qkv, dropout):
            return attention(*qkv.unbind(1), packed, dropout)

        x = self.embed(packed.ids, packed.place)
        for layer in self.layers:
            x = layer(x, attend)
        texts = packed.offsets.shape[0] - 1
        sums = torch.zeros(texts, x.shape[1], device=x.device).index_add(0, packed.text, x.float())
        return F.normalize(sums / packed.offsets.diff().unsqueeze(1), dim=-1)


def infonce(queries, documents):
    scores = queries @ documents.T / TEMPERATURE
    return F.cross_entropy(scores, torch.arange(len(queries), device=queries.device))


def forward_flops(config, batch):
    """As Encoder::forward_flops."""
    linear = 2 * batch.tokens * (4 * config.hidden**2 + 2 * config.hidden * config.inner)
    return config.layers * (linear + 4 * batch.squares * config.hidden)


class Step:
    """One form of the training step with its own model and optimiser."""

    def __init__(self, config, mode, attention, compiled, device, dtype, batches=()):
        torch.manual_seed(1)
        self.model = Encoder(config).to(device).train()
        self.attention, self.device, self.dtype = attention, device, dtype
        self.encode = self.encode_padded if mode == "padded" else self.encode_packed
        self.padded, self.packed = self.model.forward_padded, self.model.forward_packed
        if compiled:
            # Padded batches have few widths: code for each. Packed ones have another number of tokens every time.
            shapes = {side.ids.shape for batch in batches for side in (batch.queries, batch.documents)}
            self.padded = torch.compile(self.padded, dynamic=len(shapes) > 8)
            self.packed = torch.compile(self.packed, dynamic=True)
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        plain = [p for p in self.model.parameters() if p.dim() == 1]
        self.optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01},
                                            {"params": plain, "weight_decay": 0.0}],
                                           lr=1e-4, fused=device.startswith("cuda"))

    def encode_padded(self, batch):
        return (self.padded(batch.queries.ids, batch.queries.mask),
                self.padded(batch.documents.ids, batch.documents.mask))

    def encode_packed(self, batch):
        if hasattr(self.attention, "start"):
            self.attention.start(batch.packed)
        embeddings = self.packed(batch.packed, self.attention)
        return embeddings.split(len(embeddings) // 2)

    def autocast(self):
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.split(":")[0], dtype=self.dtype)

    def loss(self, batch):
        with self.autocast():
            return infonce(*self.encode(batch))

    def run(self, batch):
        loss = self.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()


# ---- measuring

class Clock:
    """Seconds between marks; on a GPU by events, so that the host runs ahead as it does in training."""

    def __init__(self, device):
        self.cuda, self.marks = device.startswith("cuda"), []

    def mark(self):
        if self.cuda:
            self.marks.append(torch.cuda.Event(enable_timing=True))
            self.marks[-1].record()
        else:
            self.marks.append(time.perf_counter())

    def seconds(self):
        if not self.cuda:
            return [b - a for a, b in zip(self.marks, self.marks[1:])]
        torch.cuda.synchronize()
        return [a.elapsed_time(b) / 1e3 for a, b in zip(self.marks, self.marks[1:])]


def matrix_product_tflops(device, dtype):
    """What a large square product of this PyTorch reaches here, the best of eight."""
    size = 8192 if device.startswith("cuda") else 512
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    clock = Clock(device)
    for _ in range(3):
        a @ b
    for _ in range(9):
        clock.mark()
        a @ b
    return 2 * size**3 / min(clock.seconds()) / 1e12


def default_peak(device):
    if not device.startswith("cuda"):
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for key, peak in PEAK_TFLOPS.items() if key in name), None)


def measure(options, config, batches, mode, attention_name, attention, compiled, peak):
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    cuda = options.device.startswith("cuda")
    torch._dynamo.reset()
    gc.collect()  # the model of the form before
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    step = Step(config, mode, attention, compiled, options.device, dtype, batches)
    # Every shape must have been compiled before the clock starts.
    warmup = max(options.warmup, len(batches)) if compiled else options.warmup
    for index in range(warmup):
        loss = step.run(batches[index % len(batches)])
    if not math.isfinite(loss.item()):
        raise RuntimeError(f"the loss is {loss.item()}")
    prepared = time.perf_counter() - begin
    clock, used = Clock(options.device), []
    clock.mark()
    for index in range(warmup, warmup + options.steps):
        used.append(batches[index % len(batches)])
        loss = step.run(used[-1])
        clock.mark()
    seconds = clock.seconds()
    if not math.isfinite(loss.item()):
        raise RuntimeError(f"the loss is {loss.item()}")

    flops = [3 * forward_flops(config, batch) for batch in used]
    ordered = sorted(seconds)
    quantile = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
    rate = lambda amounts: statistics.median(amount / s for amount, s in zip(amounts, seconds))
    padded = [batch.queries.mask.numel() + batch.documents.mask.numel() for batch in used]
    result = {
        "iterations": options.steps, "real_time": 1e3 * statistics.median(seconds), "time_unit": "ms",
        "fastest_ms": 1e3 * ordered[0], "p10_ms": 1e3 * quantile(0.1), "p90_ms": 1e3 * quantile(0.9),
        "slowest_ms": 1e3 * ordered[-1], "warm_up_seconds": prepared,
        "tokens": statistics.mean(batch.tokens for batch in used),
        "tokens_with_padding": statistics.mean(padded if mode == "padded" else [batch.tokens for batch in used]),
        "tokens_per_second": rate([batch.tokens for batch in used]), "tflops": rate(flops) / 1e12,
        "attention": attention_name, "compiled": compiled, "precision": options.precision, "dropout": config.dropout,
        "attention_dropout": 0 if attention_name in DROPLESS else config.dropout, "loss": loss.item(),
    }
    if peak:
        result["peak_tflops"] = peak
        result["model_flops_utilisation"] = result["tflops"] / peak
    if cuda:
        result["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
        result["peak_reserved_bytes"] = torch.cuda.max_memory_reserved()
    return result


def context(options):
    commit = subprocess.run(["git", "-C", os.path.dirname(os.path.abspath(__file__)), "describe", "--always", "--dirty"],
                            capture_output=True, text=True, check=False).stdout.strip()
    result = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"), "host_name": socket.gethostname(),
        "executable": "bench/pytorch_step.py", "command": shlex.join(["bench/pytorch_step.py", *sys.argv[1:]]),
        "commit": commit or "unknown", "torch": torch.__version__, "cuda": torch.version.cuda,
        "num_threads": torch.get_num_threads(), "lengths": options.lengths,
    }
    if options.device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(options.device)
        result |= {"device": properties.name, "device_memory_bytes": properties.total_memory}
    else:
        result["device"] = "cpu"
    return result


def forms(options, config):
    """(mode, name of the attention, attention) to measure, and what is left out: {name: reason}."""
    chosen, left_out = [], {}
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    if options.mode in ("padded", "all"):
        chosen.append(("padded", "sdpa-mask", None))
    if options.mode in ("packed", "all"):
        names = options.attention.split(",")
        if options.attention in ("auto", "all"):
            names = ["flash-attn", "nested", "varlen", "flex"]
        for name in names:
            attention, reason = try_attention(name, config, options.device, dtype)
            if not reason and options.attention == "auto" and name in DROPLESS and config.dropout > 0:
                attention, reason = None, "drops no probabilities; --attention all or its name measures it nevertheless"
            if reason:
                left_out[name] = reason
            else:
                chosen.append(("packed", name, attention))
            if attention and options.attention == "auto":
                break
    return chosen, left_out


def try_measure(options, config, batches, name, mode, attention_name, attention, compiled, peak):
    """The entry of one form; where it fails, with the reason, as Google Benchmark writes it."""
    entry = {"name": name, "run_type": "iteration"}
    try:
        entry |= measure(options, config, batches, mode, attention_name, attention, compiled, peak)
        print(f"{name}: {entry['real_time']:.2f} ms, {entry['tokens_per_second']:.0f} tokens/s, "
              f"{entry['tflops']:.4g} TFLOP/s", flush=True)
    except Exception as problem:  # out of memory, or what this PyTorch cannot compile
        reason = f"{type(problem).__name__}: {problem}".split("\n")[0][:200]
        entry |= {"error_occurred": True, "error_message": reason}
        print(f"{name} failed: {reason}", flush=True)
    return entry


def run_benchmarks(options):
    config = dataclasses.replace(PRESETS[options.preset], dropout=options.dropout)
    torch.backends.cuda.matmul.allow_tf32 = False
    batches = make_batches(options, config)
    peak = options.peak_tflops or default_peak(options.device)
    report = {"context": context(options), "benchmarks": [], "left_out": {}}
    report["context"]["matrix_product_tflops"] = matrix_product_tflops(
        options.device, torch.bfloat16 if options.precision == "bf16" else torch.float32)
    chosen, report["left_out"] = forms(options, config)
    for name, reason in report["left_out"].items():
        print(f"packed/{name} is left out: {reason}", flush=True)
    # What compiles takes long: last, so that a time limit leaves the others.
    for compiled in {"off": [False], "on": [True], "both": [False, True]}[options.compile]:
        for mode, attention_name, attention in chosen:
            name = f"pytorch_step/{options.preset}_{options.pairs}/{mode}/{attention_name}"
            name += "/compiled" if compiled else ""
            report["benchmarks"].append(
                try_measure(options, config, batches, name, mode, attention_name, attention, compiled, peak))
            write(report, options.out)
    if not any(mode == "packed" for mode, *_ in chosen) and options.mode != "padded":
        print("no packed form of attention works in this PyTorch on this device", flush=True)
    return 0 if any("real_time" in entry for entry in report["benchmarks"]) else 1


def write(report, out):
    if not out:
        return
    with open(out + ".tmp", "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")
    os.replace(out + ".tmp", out)


# ---- self-test

def gradients(step, batch):
    step.model.zero_grad()
    loss = step.loss(batch)
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in step.model.named_parameters() if p.grad is not None}


def compare(name, expected, found):
    """Largest error of the loss and of a gradient, each gradient by its own largest element."""
    worst = abs(found[0] - expected[0]) / abs(expected[0])
    if expected[1].keys() != found[1].keys():
        sys.exit(f"{name}: other parameters have a gradient")
    overall = max(gradient.abs().max().item() for gradient in expected[1].values())
    for key, gradient in expected[1].items():
        # A bias of keys has no gradient but rounding: softmax does not see it.
        scale = max(gradient.abs().max().item(), 1e-3 * overall)
        worst = max(worst, ((found[1][key] - gradient).abs().max() / scale).item())
    print(f"  {name}: {worst:.1e}")
    if not worst <= 1e-5:
        sys.exit(f"{name} is not the same step: differs by {worst:.1e}")


def reference_embeddings(model, ids):
    """One text through PyTorch's own TransformerEncoderLayer with the model's weights."""
    config = model.config
    x = model.norm(model.word(ids) + model.position(torch.arange(len(ids), device=ids.device)) + model.token_type.weight[0])
    x = x.unsqueeze(0)
    for layer in model.layers:
        reference = nn.TransformerEncoderLayer(config.hidden, config.heads, config.inner, dropout=0, activation="gelu",
                                               layer_norm_eps=1e-12, batch_first=True, norm_first=False)
        reference.load_state_dict({
            "self_attn.in_proj_weight": layer.qkv.weight, "self_attn.in_proj_bias": layer.qkv.bias,
            "self_attn.out_proj.weight": layer.projection.weight, "self_attn.out_proj.bias": layer.projection.bias,
            "linear1.weight": layer.inner.weight, "linear1.bias": layer.inner.bias,
            "linear2.weight": layer.output.weight, "linear2.bias": layer.output.bias,
            "norm1.weight": layer.attention_norm.weight, "norm1.bias": layer.attention_norm.bias,
            "norm2.weight": layer.output_norm.weight, "norm2.bias": layer.output_norm.bias})
        x = reference.to(ids.device).train()(x)
    return F.normalize(x[0].mean(0), dim=-1)


def spread_parameters(model):
    """Weights away from the start, where gains are 1, biases 0 and texts nearly alike."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator).to(p.device))


def self_test(options):
    torch.backends.cuda.matmul.allow_tf32 = False
    device = options.device
    for preset in ("tiny", "minilm"):
        config = dataclasses.replace(PRESETS[preset], dropout=0.0, vocabulary=500)
        batch = make_batch([3, 17, 1, 8, 64], [40, 9, 130, 1, 33], config.vocabulary, 1, device)
        make = lambda mode, attention=None: Step(config, mode, attention, False, device, torch.float32)
        padded = make("padded")
        spread_parameters(padded.model)
        expected = gradients(padded, batch)
        print(f"{preset}, fp32 on {device}: loss {expected[0]:.6f}; largest error relative to the padded step")
        for name in ("loop", "flash-attn", "nested", "varlen", "flex"):
            attention, reason = try_attention(name, config, device, torch.float32)
            if reason:
                print(f"  {name} does not work here: {reason}")
                continue
            step = make("packed", attention)
            step.model.load_state_dict(padded.model.state_dict())
            compare(name, expected, gradients(step, batch))
        embeddings = torch.cat(padded.encode(batch))
        for row, ids in enumerate(batch.packed.ids.split(batch.packed.lengths)):
            error = (embeddings[row] - reference_embeddings(padded.model, ids)).abs().max().item()
            if not error <= 1e-5:
                sys.exit(f"text {row} differs from nn.TransformerEncoderLayer by {error:.1e}")
        print("  embeddings are those of nn.TransformerEncoderLayer")
    check_flops(device)
    check_dropout(device)
    print("self-test passed")


def check_flops(device):
    """Our count against PyTorch's own, on texts of one length, where padding adds nothing."""
    from torch.utils.flop_counter import FlopCounterMode
    config = dataclasses.replace(PRESETS["tiny"], dropout=0.0, vocabulary=500)
    batch = make_batch([24] * 4, [24] * 4, config.vocabulary, 1, device)
    step = Step(config, "padded", None, False, device, torch.float32)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        step.encode(batch)
    if counter.get_total_flops() != forward_flops(config, batch):
        sys.exit(f"PyTorch counts {counter.get_total_flops()} FLOP, we count {forward_flops(config, batch)}")
    print("FLOP are those that PyTorch counts")


def check_dropout(device):
    """The same batch and parameters give another loss every time, in both forms."""
    config = dataclasses.replace(PRESETS["tiny"], vocabulary=500)
    batch = make_batch([9, 5, 12], [20, 31, 8], config.vocabulary, 1, device)
    for mode in ("padded", "packed"):
        step = Step(config, mode, attend_loop, False, device, torch.float32)
        if step.loss(batch).item() == step.loss(batch).item():
            sys.exit(f"{mode}: nothing is dropped")
    print("both forms drop")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="base")
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--lengths", default=os.path.join(os.path.dirname(__file__), "lengths_32_128.json"),
                        help="JSON with query_lengths and document_lengths")
    parser.add_argument("--mode", choices=["padded", "packed", "all"], default="all")
    parser.add_argument("--attention", default="auto",
                        help="auto: the first that works and drops as it should; all; or names, with commas between")
    parser.add_argument("--compile", choices=["off", "on", "both"], nargs="?", const="on", default="off")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5, help="with --compile at least once through all batches")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda or cpu")
    parser.add_argument("--peak-tflops", type=float, help="of the utilisation; default: the data sheet's, by name")
    parser.add_argument("--out", help="JSON of results")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if min(options.pairs, options.steps, options.warmup) < 1:
        parser.error("--pairs, --steps and --warmup must be at least 1")
    warnings.filterwarnings("ignore", message=".*nested tensors.*")
    return self_test(options) if options.self_test else run_benchmarks(options)


if __name__ == "__main__":
    sys.exit(main())
