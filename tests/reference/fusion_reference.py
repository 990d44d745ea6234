#!/usr/bin/env python3
"""Fusion of checkpoints, computed with NumPy from the formulas in docs/losses.md, apart from Toller's own code.

  fusion_reference.py make FIXTURE          writes models and their fusions by every method and granularity (JSON)
  fusion_reference.py check FIXTURE PROGRAM  makes the fixture again and compares; then has PROGRAM write the same models
                                            and fusions as checkpoints, reads these with h5py and compares

Exit status: 0 equal, 1 different, 77 NumPy or h5py is missing.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import h5py
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ENCODER = {
    "architecture": "bert", "vocabulary_size": 5, "hidden_size": 2, "layers": 2, "heads": 1, "intermediate_size": 3,
    "max_positions": 3, "type_vocabulary_size": 2, "layer_norm_eps": 1e-12, "initializer_range": 0.02,
    "hidden_dropout": 0.1, "attention_dropout": 0.1, "pooling": "mean", "normalize": True,
}


def shapes():
    """In the order of Toller's table: a layer's query, key and value weights lie side by side, then their biases."""
    h, i = ENCODER["hidden_size"], ENCODER["intermediate_size"]
    result = {
        "embeddings.word_embeddings.weight": (ENCODER["vocabulary_size"], h),
        "embeddings.position_embeddings.weight": (ENCODER["max_positions"], h),
        "embeddings.token_type_embeddings.weight": (ENCODER["type_vocabulary_size"], h),
        "embeddings.LayerNorm.weight": (h,),
        "embeddings.LayerNorm.bias": (h,),
    }
    for layer in range(ENCODER["layers"]):
        prefix = f"encoder.layer.{layer}."
        for kind, shape in (("weight", (h, h)), ("bias", (h,))):
            result |= {f"{prefix}attention.self.{part}.{kind}": shape for part in ("query", "key", "value")}
        others = {"attention.output.dense": (h, h), "attention.output.LayerNorm": (h,), "intermediate.dense": (i, h),
                  "output.dense": (h, i), "output.LayerNorm": (h,)}
        for name, shape in others.items():
            result[f"{prefix}{name}.weight"] = shape
            result[f"{prefix}{name}.bias"] = shape[:1]
    result["loss.log_temperature"] = (1,)
    return result


def make_models():
    """A base and three models of float32 values: with equal tensors, rows and elements, far and near ones."""
    generator = np.random.default_rng(7)
    models = {name: {} for name in ("base", "a", "b", "c")}
    for tensor, shape in shapes().items():
        base = generator.normal(0, 0.5, shape)
        models["base"][tensor] = base.astype(np.float32)
        for scale, name in zip((0.3, 0.02, 1e-5), ("a", "b", "c")):
            moved = base + scale * generator.normal(0, 1, shape)
            models[name][tensor] = moved.astype(np.float32)
    still = "embeddings.token_type_embeddings.weight"
    for name in "abc":
        models[name][still] = models["base"][still].copy()
    query = "encoder.layer.0.attention.self.query.weight"
    models["a"][query][0] = models["base"][query][0]
    for name in "abc":
        models[name]["encoder.layer.1.output.dense.weight"][1] = models["base"]["encoder.layer.1.output.dense.weight"][1]
    models["b"][query][1, 0] = models["base"][query][1, 0]
    return models


def layer_of(name):
    parts = name.split(".")
    if parts[:2] == ["encoder", "layer"]:
        return ".".join(parts[:3])
    return "embeddings" if parts[0] == "embeddings" else name


def sizes(tensor, deltas, granularity):
    """|delta_k| of one tensor, in a shape that spreads over it."""
    delta = deltas[tensor]
    if granularity == "element":
        return np.abs(delta)
    if granularity == "row":
        return np.sqrt((delta**2).sum(axis=-1, keepdims=True))
    if granularity == "tensor":
        return np.sqrt((delta**2).sum())
    members = [name for name in deltas if layer_of(name) == layer_of(tensor)]
    return np.sqrt(sum((deltas[name] ** 2).sum() for name in members))


def delta_guided_weights(tensor, deltas, prior, case):
    moved = [p * sizes(tensor, d, case["granularity"]) ** case["alpha"] for p, d in zip(prior, deltas)]
    total = sum(moved)
    with np.errstate(invalid="ignore"):
        return [np.where(total > 0, m / total, p) for m, p in zip(moved, prior)]


def trim(delta, density):
    """Keeps the share of largest magnitude; all that equal the least of them stay too."""
    count = max(1, int(np.floor(density * delta.size + 0.5)))
    least = np.sort(np.abs(delta), axis=None)[-count]
    return np.where(np.abs(delta) >= least, delta, 0.0)


def ties(deltas, prior, case):
    """The merged change of a tensor and the weight of each model in it."""
    kept = np.stack([trim(delta, case["density"]) for delta in deltas])
    shaped = prior.reshape((-1,) + (1,) * (kept.ndim - 1))
    sign = np.sign((shaped * kept).sum(axis=0))
    agree = shaped * ((np.sign(kept) == sign) & (sign != 0))
    total = agree.sum(axis=0)
    weights = np.divide(agree, total, out=np.zeros_like(kept), where=total > 0)
    return case["lambda"] * (weights * kept).sum(axis=0), list(weights)


def philox(counters, keys):
    """Philox4x32-10 of Salmon et al. (SC 2011), for an array [n, 4] of counters."""
    mask = np.uint64(0xFFFFFFFF)
    c = [counters[:, word].astype(np.uint64) for word in range(4)]
    k = [np.uint64(key) for key in keys]
    for _ in range(10):
        low, high = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(high >> np.uint64(32)) ^ c[1] ^ k[0], high & mask, (low >> np.uint64(32)) ^ c[3] ^ k[1], low & mask]
        k = [(k[0] + np.uint64(0x9E3779B9)) & mask, (k[1] + np.uint64(0xBB67AE85)) & mask]
    return np.stack(c, axis=1)


def keep_mask(shape, model, tensor, case):
    """dare: 1 where an element of the tensor with that index stays; element i takes word i % 4 of block i // 4."""
    size = int(np.prod(shape))
    counters = np.zeros(((size + 3) // 4, 4), dtype=np.uint64)
    counters[:, 0] = np.arange(len(counters))
    counters[:, 1:] = model, tensor, 8
    words = philox(counters, (case["seed"] & 0xFFFFFFFF, case["seed"] >> 32)).ravel()[:size]
    return ((words + 0.5) * 2.0**-32 >= case["drop"]).reshape(shape)


def slerp_weights(a, b, t):
    lengths = np.sqrt((a * a).sum()) * np.sqrt((b * b).sum())
    cosine = (a * b).sum() / lengths if lengths > 0 else 1.0
    if 1 - abs(cosine) < 1e-6:
        return [1 - t, t]
    angle = np.arccos(cosine)
    return [np.sin((1 - t) * angle) / np.sin(angle), np.sin(t * angle) / np.sin(angle)]


def fuse_tensor(index, tensor, start, thetas, deltas, prior, case):
    """The fused tensor and each model's weight in it."""
    theta_0, changes = start[tensor], [delta[tensor] for delta in deltas]
    if case["method"] == "slerp":
        weights = slerp_weights(*(theta[tensor] for theta in thetas), case["t"])
        return sum(w * theta[tensor] for w, theta in zip(weights, thetas)), weights
    if case["method"] == "soup":
        return sum(w * theta[tensor] for w, theta in zip(prior, thetas)), prior
    if case["method"] == "delta-guided":
        weights = delta_guided_weights(tensor, deltas, prior, case)
        return theta_0 + sum(w * change for w, change in zip(weights, changes)), weights
    if case["method"] == "ties":
        change, weights = ties(changes, prior, case)
        return theta_0 + change, weights
    if case["method"] == "dare":
        masks = [keep_mask(theta_0.shape, k, index, case) for k in range(len(changes))]
        changes = [mask * change / (1 - case["drop"]) for mask, change in zip(masks, changes)]
    return theta_0 + case["lambda"] * sum(w * change for w, change in zip(prior, changes)), prior


def fuse(models, base, case):
    """The fused tensors and the mean weight of each model, in float64."""
    prior = np.array(case["weights"] or [1.0] * len(models))
    prior = prior / prior.sum()
    fused, totals, count = {}, np.zeros(len(models)), 0
    thetas = [{name: value.astype(np.float64) for name, value in model.items()} for model in models]
    start = {name: base[name].astype(np.float64) for name in shapes()}
    deltas = [{name: theta[name] - start[name] for name in start} for theta in thetas]
    for index, (tensor, theta_0) in enumerate(start.items()):
        fused[tensor], weights = fuse_tensor(index, tensor, start, thetas, deltas, prior, case)
        totals += [np.broadcast_to(w, theta_0.shape).sum() for w in weights]
        count += theta_0.size
    return fused, totals / count


def cases():
    result = []

    def add(method, models, weights=(), **settings):
        result.append({"method": method, "models": models, "weights": list(weights)} | settings)

    for weights, models in (([], "ab"), ([1.0, 3.0], "ab"), ([0.2, 0.5, 0.3], "abc")):
        add("soup", models, weights)
    for granularity in ("element", "row", "tensor", "layer"):
        for alpha, weights, models in ((1.0, [], "ab"), (2.0, [1.0, 4.0, 2.0], "cab"), (0.5, [], "abc")):
            add("delta-guided", models, weights, granularity=granularity, alpha=alpha)
    for scale, weights, models in ((1.0, [], "ab"), (-0.7, [1.0, 3.0, 2.0], "abc")):
        add("task-arithmetic", models, weights, **{"lambda": scale})
    for density, scale, weights, models in ((0.2, 1.0, [], "abc"), (0.55, 1.5, [1.0, 2.0, 4.0], "acb"), (1.0, 0.6, [], "ab")):
        add("ties", models, weights, density=density, **{"lambda": scale})
    for drop, seed, scale, weights, models in ((0.5, 1, 1.0, [], "ab"), (0.9, 2**40 + 3, 0.4, [1.0, 4.0, 2.0], "abc")):
        add("dare", models, weights, drop=drop, seed=seed, **{"lambda": scale})
    for t, models in ((0.5, "ab"), (0.2, "ac"), (1.0, "ba")):
        add("slerp", models, t=t)
    return result


def as_lists(model):
    return {name: [float(value) for value in values.ravel()] for name, values in model.items()}


def make_fixture():
    models = make_models()
    fixture = {"encoder": ENCODER, "models": {name: as_lists(model) for name, model in models.items()}, "cases": []}
    for case in cases():
        fused, means = fuse([models[name] for name in case["models"]], models["base"], case)
        fixture["cases"].append(case | {"mean_weights": [float(mean) for mean in means], "expected": as_lists(fused)})
    return fixture


def compare(what, found, expected, tolerance):
    found, expected = np.asarray(found, dtype=np.float64).ravel(), np.asarray(expected, dtype=np.float64).ravel()
    if found.shape == expected.shape and np.allclose(found, expected, rtol=tolerance, atol=tolerance * 1e-3):
        return 0
    print(f"different: {what}: {found} instead of {expected}")
    return 1


def check_fixture(stored, made):
    wrong = int(stored["encoder"] != made["encoder"] or len(stored["cases"]) != len(made["cases"]))
    for name, model in made["models"].items():
        for tensor, values in model.items():
            wrong += compare(f"{name} {tensor}", stored["models"][name][tensor], values, 0)
    for index, (case, again) in enumerate(zip(stored["cases"], made["cases"])):
        wrong += compare(f"case {index}, mean weights", case["mean_weights"], again["mean_weights"], 1e-12)
        for tensor, values in again["expected"].items():
            wrong += compare(f"case {index}, {tensor}", case["expected"][tensor], values, 1e-12)
    return wrong


def read_checkpoint(path):
    with h5py.File(path) as file:
        return {name: values[()] for name, values in file["parameters"].items()}


def check_program(fixture, path, program):
    """PROGRAM FIXTURE FOLDER writes FOLDER/<model>.h5 and FOLDER/fused-<case>.h5."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, path, folder], check=True)
        models = {name: read_checkpoint(Path(folder) / f"{name}.h5") for name in fixture["models"]}
        for index, case in enumerate(fixture["cases"]):
            expected, _ = fuse([models[name] for name in case["models"]], models["base"], case)
            found = read_checkpoint(Path(folder) / f"fused-{index}.h5")
            wrong += int(found.keys() != expected.keys())
            for tensor, values in expected.items():
                wrong += compare(f"case {index}, {tensor}, by {program}", found[tensor], values, 2e-7)
    return wrong


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "make":
        Path(arguments[1]).write_text(json.dumps(make_fixture()) + "\n")
        return 0
    if len(arguments) == 3 and arguments[0] == "check":
        stored = json.loads(Path(arguments[1]).read_text())
        wrong = check_fixture(stored, make_fixture()) + check_program(stored, arguments[1], arguments[2])
        print(f"{len(stored['cases'])} fusions compared, {wrong} tensors differ")
        return int(wrong > 0)
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
