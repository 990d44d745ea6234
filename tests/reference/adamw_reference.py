#!/usr/bin/env python3
"""Steps of torch.optim.AdamW in fp64, for tests/optim/fixtures/adamw.json.

  adamw_reference.py --write FILE   draw inputs and write them with the parameters after every step
  adamw_reference.py --check FILE   recompute from the inputs in FILE and compare

The first `decayed` parameters take weight decay, the rest do not. Exit status 77: PyTorch or NumPy is not installed.
"""
import random
import sys

from fixture_files import Fixture, main

try:
    import torch
except ImportError:
    sys.exit(77)


def adamw(case):
    decayed = case["decayed"]
    flat = torch.tensor(case["parameters"], dtype=torch.float64)
    groups = [flat[:decayed].clone().requires_grad_(), flat[decayed:].clone().requires_grad_()]
    optimizer = torch.optim.AdamW(
        [{"params": [groups[0]], "weight_decay": case["weight_decay"]},
         {"params": [groups[1]], "weight_decay": 0.0}],
        betas=(case["beta1"], case["beta2"]), eps=case["epsilon"])
    after, norms = [], []
    for rate, gradient in zip(case["learning_rates"], case["gradients"]):
        gradient = torch.tensor(gradient, dtype=torch.float64)
        norm = float(gradient.norm())
        if case["clip_norm"] > 0 and norm > case["clip_norm"]:
            gradient = gradient * (case["clip_norm"] / norm)
        groups[0].grad, groups[1].grad = gradient[:decayed].clone(), gradient[decayed:].clone()
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        norms.append(norm)
        after.append(torch.cat([group.detach() for group in groups]).tolist())
    return {"norms": norms, "after": after}


def draw_case(name, seed, steps, size, decayed, **options):
    rng = random.Random(seed)
    draw = lambda: [round(rng.gauss(0, 1), 4) for _ in range(size)]
    defaults = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01, "clip_norm": 0}
    return {"name": name, "decayed": decayed, **defaults, **options, "parameters": draw(),
            "learning_rates": [round(0.01 * (step + 1), 4) for step in range(steps)],
            "gradients": [draw() for _ in range(steps)]}


def draw_cases():
    return [
        draw_case("defaults", 1, 4, 6, 4),
        draw_case("other moments, strong decay", 2, 5, 5, 2, beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=0.5),
        draw_case("clipped", 3, 4, 6, 3, clip_norm=1.0, epsilon=1e-4),
    ]


if __name__ == "__main__":
    main(__doc__, Fixture(draw_cases, adamw, rtol=1e-12, atol=1e-14))
