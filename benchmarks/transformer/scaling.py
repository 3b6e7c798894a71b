"""A small scaling experiment: held-out loss against parameters and tokens.

Kaplan et al. (arXiv 2001.08361) found that the loss of language models falls like a power of the
number of parameters and of the number of tokens; Hoffmann et al. (arXiv 2203.15556, equation 10)
fitted L(N, D) = E + A / N^alpha + B / D^beta. Here the same is asked of four character models and
four budgets, three to four powers of ten below theirs. Every cell is a run of its own, whose
learning rate comes down at the end of *its* budget; no run is read off on the way of a longer one.

N counts the weights of the blocks and the last norm, without the embedding, as in Kaplan et al. D
counts tokens (characters) read: at most 0.8 of the 4.7 million, so hardly anything is read twice.
Judged on the first 100,000 held-out characters, all of *Macbeth* but its end. `judge` fits
Hoffmann's form to the means over seeds and reports how far a fitted curve is off, also when it has
to predict the largest budget, which it then was not fitted to.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import least_squares

from benchmarks.harness import Goal
from benchmarks.transformer.pretrain_chars import read
from course_lib.lm import pretrain
from course_lib.lm.gpt import GPT, GPTConfig

SEEDS = (200, 201, 202)
JUDGED = 100_000
TOKENS = (100_000, 200_000, 400_000, 800_000)
BASE = replace(pretrain.SHAKESPEARE, batch_size=8, context=64)
# (layers, width, heads, learning rate): wide models want smaller steps
SIZES = ((2, 32, 1, 6e-3), (3, 48, 2, 5e-3), (3, 64, 2, 4e-3), (4, 96, 3, 3e-3))


def train_and_test(
    train: torch.Tensor, held_out: torch.Tensor, size: tuple, budget: int, seed: int
) -> dict:
    """One cell of the grid: texts as tokens (N,), (layers, width, heads, rate), tokens to read."""
    layers, width, heads, rate = size
    torch.manual_seed(seed)
    model = GPT(
        GPTConfig(
            vocab_size=pretrain.SHAKESPEARE_MODEL.vocab_size,
            context=BASE.context,
            layers=layers,
            width=width,
            heads=heads,
        )
    )
    steps = round(budget / (BASE.batch_size * BASE.context))
    config = replace(BASE, total_steps=steps, learning_rate=rate)
    cpu = time.process_time()
    for row in pretrain.train(model, train, config, seed):
        last = row
    cpu = time.process_time() - cpu
    loss = pretrain.held_out_loss(model, held_out)
    return {
        "seed": seed,
        "layers": layers,
        "width": width,
        "parameters": sum(p.numel() for p in model.transformer.parameters()),
        "tokens": last["tokens"],
        "bits_per_character": round(loss / math.log(2), 4),
        "cpu_seconds": round(cpu, 1),
    }


def measure(quick: bool) -> dict:
    seeds = SEEDS[:1] if quick else SEEDS
    sizes, budgets = (SIZES[:2], TOKENS[:2]) if quick else (SIZES, TOKENS)
    _, train, held_out = read()
    runs = [
        train_and_test(train, held_out[:JUDGED], size, budget, seed)
        for seed in seeds
        for size in sizes
        for budget in budgets
    ]
    return {"seeds": list(seeds), "runs": runs}


def cell(run: dict) -> tuple[int, int]:
    """Where in the grid a run belongs: parameters, tokens."""
    return run["parameters"], run["tokens"]


def grid(result: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters (S,), tokens (D,) and the mean bits over seeds (S, D)."""
    runs = result["runs"]
    sizes = np.array(sorted({run["parameters"] for run in runs}))
    budgets = np.array(sorted({run["tokens"] for run in runs}))
    means = np.array(
        [
            [np.mean([r["bits_per_character"] for r in runs if cell(r) == (n, d)]) for d in budgets]
            for n in sizes
        ]
    )
    return sizes, budgets, means


def predict(fit: np.ndarray, sizes: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """Hoffmann's form: bits (S, D) of ``fit`` = (E, log A, alpha, log B, beta)."""
    floor, log_a, alpha, log_b, beta = fit
    of_size = np.exp(log_a - alpha * np.log(sizes / 1e5))
    of_data = np.exp(log_b - beta * np.log(budgets / 1e6))
    return floor + of_size[:, None] + of_data[None, :]


def fit(sizes: np.ndarray, budgets: np.ndarray, means: np.ndarray) -> np.ndarray:
    """(E, log A, alpha, log B, beta) with the least squared error; A at N = 1e5, B at D = 1e6."""
    start = np.array([1.5, math.log(0.3), 0.3, math.log(0.5), 0.3])
    bounds = ([0, -10, 0, -10, 0], [3, 5, 3, 5, 3])
    found = least_squares(
        lambda x: (predict(x, sizes, budgets) - means).ravel(), start, bounds=bounds
    )
    return found.x


def judge(result: dict) -> list[Goal]:
    sizes, budgets, means = grid(result)
    ordered = np.all(np.diff(means, axis=1) < 0)
    goals = [
        Goal(
            "scaling: held-out bits fall with every doubling of tokens, at every size",
            "all",
            f"{int((np.diff(means, axis=1) < 0).sum())} of {np.diff(means, axis=1).size} steps",
            bool(ordered),
        )
    ]
    best = [int(sizes[i]) for i in means.argmin(axis=0)]
    goals.append(
        Goal(
            "scaling: which size is best at each budget of tokens",
            "reported",
            ", ".join(f"{d / 1e6:.1f}M: {n:,}" for d, n in zip(budgets, best, strict=True)),
            True,
        )
    )
    spread = [
        max(
            np.ptp([run["bits_per_character"] for run in result["runs"] if cell(run) == (n, d)])
            for n in sizes
        )
        for d in budgets
    ]
    goals.append(
        Goal(
            "scaling: largest difference between two seeds, bits, at each budget of tokens",
            "reported",
            ", ".join(f"{d / 1e6:.1f}M: {x:.2f}" for d, x in zip(budgets, spread, strict=True)),
            True,
        )
    )
    if means.size >= 8:
        # (size, budget): less arithmetic, which grows like N times D, and the longer reading
        small, large = (1, -1), (-1, 1)
        work = [sizes[i] * budgets[j] for i, j in (small, large)]
        goals.append(
            Goal(
                "scaling: a smaller model that reads more, against a larger one that reads less",
                "reported",
                f"{sizes[1] / 1e3:.0f}k weights, {budgets[-1] / 1e6:.1f}M tokens: "
                f"{means[small]:.2f} bits; {sizes[-1] / 1e3:.0f}k weights, "
                f"{budgets[1] / 1e6:.1f}M tokens: {means[large]:.2f} bits, with "
                f"{work[1] / work[0]:.2f} times the arithmetic (N D)",
                True,
            )
        )
        whole = fit(sizes, budgets, means)
        error = np.abs(predict(whole, sizes, budgets) - means)
        part = fit(sizes, budgets[:-1], means[:, :-1])
        ahead = predict(part, sizes, budgets)[:, -1] - means[:, -1]
        floor, _, alpha, _, beta = whole
        goals.append(
            Goal(
                "scaling: a power law E + A/N^α + B/D^β, fitted to all cells",
                "reported",
                f"E {floor:.2f} bits, α {alpha:.2f}, β {beta:.2f}; off by {error.max():.3f} bits "
                "at most",
                True,
            )
        )
        goals.append(
            Goal(
                "scaling: the same fitted without the largest budget, predicting it",
                "reported",
                "off by "
                + ", ".join(f"{e:+.3f}" for e in ahead)
                + " bits, smallest size to largest",
                True,
            )
        )
    return goals
