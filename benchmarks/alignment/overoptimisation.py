"""The over-optimisation curve: proxy and true reward against the square root of the KL.

As in Gao, Schulman and Hilton (arXiv 2210.10760, figure 1), on the concierge, whose true reward is
known. Reward models differ in labels and in size. Each is optimised by PPO without any penalty for
the KL, and by best-of-n up to n = 256 on held-out questions. Proxy and truth are measured on the
same responses; those of PPO are its training batches, 48 responses per update.

A seed draws the replies, the labels, the reward models and PPO's run; the model after fine-tuning
is the committed one. The recipe was chosen on seeds below 4.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.harness import Goal
from course_lib.evaluation import bootstrap_interval
from course_lib.lessons.alignment import goodhart
from course_lib.rlhf import best_of_n, reward_model
from course_lib.rlhf.constraints import mean_of_last
from course_lib.worlds import concierge
from course_lib.worlds import concierge_pipeline as pipeline

SEEDS = (200, 201, 202, 203, 204)
JUDGES = {  # name: labels, width of the body (None: that of the language model)
    "500 labels": (500, None),
    "2,000 labels": (2_000, None),
    "6,000 labels": (6_000, None),
    "2,000 labels, small": (2_000, 24),
}
NS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WINDOW = 3  # updates whose means are judged


def one_seed(seed: int, quick: bool) -> list[dict]:
    """All reward models of one seed, each optimised in both ways."""
    sft = concierge.sft_model()
    truth = concierge.true_rewards()
    pairs, labels = pipeline.labelled(sft, 500 if quick else 6_000, seed)
    questions = concierge.questions()[1]
    each = 64 if quick else NS[-1]
    replies = pipeline.write_replies(sft, questions, each, seed + 1_000)
    prompts = [concierge.prompt_tokens(q) for q in questions for _ in range(each)]
    responses = [concierge.reply_tokens(text) for texts in replies for text in texts]
    true = truth(prompts, responses).view(-1, each)
    runs = []
    for name, (count, width) in JUDGES.items():
        if count > len(pairs):
            continue
        start = time.process_time()
        steps = goodhart.STEPS[count]
        judge = goodhart.judge(sft, pairs[:count], labels[:count], seed, steps=steps, width=width)
        proxy = reward_model.rewards(judge, prompts, responses).view(-1, each)
        policy = copy.deepcopy(sft)
        score = reward_model.scorer(judge)
        rows = list(goodhart.train(policy, score, {"true": truth}, seed=seed))
        spread = float(np.corrcoef(proxy.flatten(), true.flatten())[0, 1])
        runs.append(
            {
                "judge": name,
                "seed": seed,
                "accuracy": round(accuracy(proxy, true), 4),
                "correlation": round(spread, 4),
                "best_of_n": [
                    {key: round(value, 4) for key, value in row.items()}
                    for row in best_of_n.curve(proxy, true, [n for n in NS if n <= each])
                ],
                **{key: [round(row[key], 4) for row in rows] for key in ("kl", "reward", "true")},
                "cpu_seconds": round(time.process_time() - start, 1),
            }
        )
        last = {k: v[-1] for k, v in runs[-1].items() if isinstance(v, list)}
        print(name, seed, runs[-1]["accuracy"], max(runs[-1]["true"]), last, flush=True)
    return runs


def accuracy(proxy: torch.Tensor, true: torch.Tensor) -> float:
    """Share of neighbouring pairs (of one question) that the proxy orders as the truth does."""
    a, b = (x[:, ::2] - x[:, 1::2] for x in (proxy, true))
    differ = b != 0
    return float(((a > 0) == (b > 0))[differ].float().mean())


def measure(quick: bool) -> dict:
    seeds = SEEDS[:1] if quick else SEEDS
    runs = [run for seed in seeds for run in one_seed(seed, quick)]
    return {"seeds": list(seeds), "updates": goodhart.PPO.total_steps, "runs": runs}


def gains(run: dict) -> tuple[float, float, float, float]:
    """Of one run: the rise to the peak, the fall after it, and the proxy's rise before and after.

    On means of three updates. The start is the first update.
    """
    true, proxy = (mean_of_last(run[key], WINDOW)[WINDOW - 1 :] for key in ("true", "reward"))
    peak = int(np.argmax(true))
    return (
        true[peak] - run["true"][0],
        true[-1] - true[peak],
        proxy[peak] - run["reward"][0],
        proxy[-1] - proxy[peak],
    )


def interval(values: Sequence[float]) -> str:
    low, high = bootstrap_interval(values)
    return f"{np.mean(values):+.2f} [{low:+.2f}, {high:+.2f}]"


def judge(result: dict) -> list[Goal]:
    goals = []
    for name in JUDGES:
        runs = [run for run in result["runs"] if run["judge"] == name]
        if not runs:
            continue
        found = np.array([gains(run) for run in runs])
        shape = int(((found[:, 0] > 0) & (found[:, 1] < 0) & (found[:, 3] > 0)).sum())
        promised = name == "2,000 labels"
        accuracy = np.mean([run["accuracy"] for run in runs])
        lows = [bootstrap_interval(column) for column in found.T]
        clear = len(runs) > 1 and lows[0][0] > 0 and lows[1][1] < 0 and lows[3][0] > 0
        goals.append(
            Goal(
                f"over-optimisation by PPO, {name} (accuracy {accuracy:.2f}), {len(runs)} seeds "
                "[95 % intervals]",
                "true reward rises, then falls while the proxy rises: every interval off 0"
                if promised
                else "reported",
                f"true {interval(found[:, 0])} to its peak, {interval(found[:, 1])} after it, "
                f"proxy {interval(found[:, 2])} and {interval(found[:, 3])}; "
                f"{shape} of {len(runs)} runs have this shape",
                bool(clear) if promised else True,
            )
        )
    for name in JUDGES:
        runs = [run for run in result["runs"] if run["judge"] == name]
        if not runs:
            continue
        curves = [[row["true"] for row in run["best_of_n"]] for run in runs]
        best = int(np.argmax(np.mean(curves, axis=0)))
        rise = [curve[best] - curve[0] for curve in curves]
        fall = [curve[-1] - curve[best] for curve in curves]
        n = [row["n"] for row in runs[0]["best_of_n"]]
        goals.append(
            Goal(
                f"over-optimisation by best-of-n, {name}",
                "reported",
                f"true reward {interval(rise)} up to n = {n[best]}"
                + (f", {interval(fall)} from there to n = {n[-1]}" if best < len(n) - 1 else ""),
                True,
            )
        )
    return goals
