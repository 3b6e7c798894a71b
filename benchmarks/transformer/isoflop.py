"""Iso-FLOP curves: at a fixed amount of arithmetic, which size of model is best?

The second approach of Hoffmann et al. (arXiv 2203.15556, section 3.2): fix a budget F, train models
of several sizes N, each on the D = F / (6 N) tokens that the budget leaves it, and see where the
held-out loss is lowest. A parabola in log N through the points gives the best size of a budget; the
best sizes of several budgets give the exponent a of N = k F^a. The largest budget is held out:
`judge` fits the smaller ones, predicts the best size at the largest, and compares.

N counts all weights that are multiplied: those of the blocks and of the head, which is the
embedding as well. Six operations a weight and token: a product and a sum forward, twice that
backward; attention scores are left out, as is usual. Every point is a run of its own, whose
learning rate comes down at the end of *its* budget. Small in every way: one block, one head, 1 to
15 thousand weights, one batch size, one learning rate a width that was not tuned for each budget.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from benchmarks.harness import Goal, reported
from benchmarks.transformer.pretrain_chars import read
from benchmarks.transformer.side_by_side import train_together
from course_lib.evaluation import t_interval
from course_lib.lm import pretrain
from course_lib.lm.gpt import GPT, GPTConfig

SEEDS = (200, 201, 202)
JUDGED = 20_000
BASE = replace(pretrain.SHAKESPEARE, batch_size=8, context=64)
# width: learning rate; wide models want smaller steps
RATES = {8: 1.5e-2, 12: 1.2e-2, 16: 1e-2, 24: 8e-3, 32: 6e-3}
# operations: widths, chosen so that the best one lies among them; at 2e9 the best of these would
# be the smallest
BUDGETS = {
    4e9: (8, 12, 16, 24),
    8e9: (8, 12, 16, 24),
    1.6e10: (12, 16, 24, 32),
    3.2e10: (12, 16, 24, 32),  # held out from the fit
}


def runs_of(width: int, budget: float, seeds: tuple[int, ...] = SEEDS) -> list[dict]:
    """One size at one budget of operations, all seeds together."""
    _, train, held_out = read()
    shape, models = pretrain.SHAKESPEARE_MODEL, []
    for seed in seeds:
        torch.manual_seed(seed)
        models.append(
            GPT(GPTConfig(shape.vocab_size, shape.context, layers=1, width=width, heads=1))
        )
    parameters, window = models[0].num_parameters(), BASE.batch_size * BASE.context
    steps = round(budget / (6 * parameters * window))
    config = replace(BASE, total_steps=steps, learning_rate=RATES[width])
    train_together(models, train, [config] * len(seeds), list(seeds))
    losses = [pretrain.held_out_loss(model, held_out[:JUDGED]) for model in models]
    return [
        {
            "seed": seed,
            "budget": budget,
            "width": width,
            "parameters": parameters,
            "tokens": steps * window,
            "bits_per_character": round(loss / math.log(2), 4),
        }
        for seed, loss in zip(seeds, losses, strict=True)
    ]


def measure(quick: bool) -> dict:
    seeds = SEEDS[:1] if quick else SEEDS
    budgets = dict.fromkeys((2.5e8, 5e8, 1e9), (8, 12, 16)) if quick else BUDGETS
    points = [(width, budget) for budget, widths in budgets.items() for width in widths]
    runs = [run for width, budget in points for run in runs_of(width, budget, seeds)]
    return {"seeds": list(seeds), "fit": fit(runs), "runs": runs}


def curve(runs: list[dict], budget: float) -> tuple[np.ndarray, np.ndarray]:
    """Sizes (S,) of one budget and the mean bits over seeds, (S,)."""
    here = [run for run in runs if run["budget"] == budget]
    sizes = np.array(sorted({run["parameters"] for run in here}))
    bits = [[r["bits_per_character"] for r in here if r["parameters"] == n] for n in sizes]
    return sizes, np.array([np.mean(b) for b in bits])


def lowest(sizes: np.ndarray, bits: np.ndarray) -> float:
    """The size at the bottom of the parabola in log N through the points; nan if it has none."""
    a, b, _ = np.polyfit(np.log(sizes), bits, 2)
    return float(np.exp(-b / (2 * a))) if a > 0 else math.nan


def power_law(budgets: list[float], best: list[float]) -> tuple[float, float]:
    """(a, log k) of N = k F^a, a line through the logarithms."""
    a, log_k = np.polyfit(np.log(budgets), np.log(best), 1)
    return float(a), float(log_k)


def fit(runs: list[dict]) -> dict:
    """The best size of each budget, the law through all but the largest, and its prediction."""
    budgets = sorted({run["budget"] for run in runs})
    best = [lowest(*curve(runs, budget)) for budget in budgets]
    a, log_k = power_law(budgets[:-1], best[:-1])
    predicted = math.exp(log_k + a * math.log(budgets[-1]))
    return {"best": best, "exponent": a, "log_k": log_k, "predicted": predicted}


def judge(result: dict) -> list[Goal]:
    runs, found = result["runs"], fit(result["runs"])
    budgets = sorted({run["budget"] for run in runs})
    goals = []
    for budget, best in zip(budgets, found["best"], strict=True):
        sizes, bits = curve(runs, budget)
        goals.append(
            reported(
                f"iso-FLOP, {budget:.3g} operations: best size by a parabola in log N",
                f"{best:,.0f} weights; of the sizes trained {sizes[bits.argmin()]:,}, "
                f"{bits.min():.2f} bits",
            )
        )
    best, predicted = found["best"][-1], found["predicted"]
    parabola = np.polyfit(np.log(sizes), bits, 2)
    lost = np.polyval(parabola, np.log(predicted)) - np.polyval(parabola, np.log(best))
    each = [fit([run for run in runs if run["seed"] == seed]) for seed in result["seeds"]]
    middle, low, high = t_interval([one["exponent"] for one in each])
    goals.append(
        reported(
            f"iso-FLOP: exponent of N = k F^a through the {len(budgets) - 1} smaller budgets",
            f"{found['exponent']:.2f}; seed by seed {middle:.2f} [{low:.2f}, {high:.2f}]",
        )
    )
    goals.append(
        reported(
            f"iso-FLOP: best size at {budgets[-1]:.3g} operations, predicted and found",
            f"{predicted:,.0f} and {best:,.0f} weights: {predicted / best:.2f} times; by the "
            f"parabola there the predicted size costs {lost:.4f} bits",
        )
    )
    return goals
