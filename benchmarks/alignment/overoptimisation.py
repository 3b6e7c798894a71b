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

import numpy as np
import torch

from benchmarks.harness import Goal, by, mean_over_seeds, reported
from course_lib.evaluation import t_interval
from course_lib.lessons.alignment import goodhart
from course_lib.rlhf import best_of_n, reward_model
from course_lib.rlhf.constraints import mean_of_last
from course_lib.worlds import concierge, concierge_pipeline as pipeline

SEEDS = (200, 201, 202, 203, 204)
JUDGES = {  # name: labels, width of the body (None: that of the language model)
    "500 labels": (500, None),
    "2,000 labels": (2_000, None),
    "6,000 labels": (6_000, None),
    "2,000 labels, small": (2_000, 24),
}
STEPS = {500: 60, 2_000: 150, 6_000: 300}  # of training a reward model on so many labels
NS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WINDOW = 3  # updates whose means are judged


def one_seed(seed: int, quick: bool) -> list[dict]:
    """All reward models of one seed, each optimised in both ways."""
    sft = pipeline.sft_model()
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
        own = pairs[:count], labels[:count]
        judge = goodhart.judge(sft, *own, seed, steps=STEPS[count], width=width)
        proxy = reward_model.rewards(judge, prompts, responses).view(-1, each)
        policy = copy.deepcopy(sft)
        score = reward_model.scorer(judge)
        rows = list(goodhart.train(policy, score, {"true": truth}, seed=seed))
        correlation = float(np.corrcoef(proxy.flatten(), true.flatten())[0, 1])
        runs.append(
            {
                "judge": name,
                "seed": seed,
                "accuracy": round(accuracy(proxy, true), 4),
                "correlation": round(correlation, 4),
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


def judge(result: dict) -> list[Goal]:
    judges = by(result["runs"], "judge")
    goals = []
    for name, runs in judges.items():
        found = np.array([gains(run) for run in runs])
        rise, fall, proxy_before, proxy_after = (
            mean_over_seeds(column, "+.2f") for column in found.T
        )
        shape = int(((found[:, 0] > 0) & (found[:, 1] < 0) & (found[:, 3] > 0)).sum())
        accuracy = np.mean([run["accuracy"] for run in runs])
        what = f"over-optimisation by PPO, {name} (accuracy {accuracy:.2f}), {len(runs)} seeds "
        what += "[95 % t intervals]"
        measured = f"true {rise} to its peak, {fall} after it, proxy {proxy_before} and "
        measured += f"{proxy_after}; {shape} of {len(runs)} runs have this shape"
        if name != "2,000 labels":
            goals.append(reported(what, measured))
            continue
        promise = "true reward rises, then falls while the proxy rises: every interval off 0"
        _, low, high = t_interval(found)
        met = len(runs) > 1 and low[0] > 0 and high[1] < 0 and low[3] > 0
        goals.append(Goal(what, promise, measured, bool(met)))
    if {"500 labels", "2,000 labels", "6,000 labels"} <= judges.keys():
        rises = {name: np.array([gains(run)[0] for run in runs]) for name, runs in judges.items()}
        more = (rises["6,000 labels"] - rises[name] for name in ("2,000 labels", "500 labels"))
        what = "over-optimisation by PPO: rise of the truth to each run's own peak, 6,000 labels "
        what += "less 2,000, and less 500, per seed"
        goals.append(reported(what, "; ".join(mean_over_seeds(x, "+.2f") for x in more)))
    for name, runs in judges.items():
        curves = np.array([[row["true"] for row in run["best_of_n"]] for run in runs])
        best, n = int(np.argmax(curves.mean(axis=0))), [r["n"] for r in runs[0]["best_of_n"]]
        measured = f"true reward {mean_over_seeds(curves[:, best] - curves[:, 0], '+.2f')} up to "
        measured += f"n = {n[best]}"
        if best < len(n) - 1:
            fall = mean_over_seeds(curves[:, -1] - curves[:, best], "+.2f")
            measured += f", {fall} from there to n = {n[-1]}"
        goals.append(reported(f"over-optimisation by best-of-n, {name}", measured))
    return goals
