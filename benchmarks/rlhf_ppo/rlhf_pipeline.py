"""The whole of RLHF on the concierge: pretrain, fine-tune, label, reward model, PPO; fresh seeds.

Everything is drawn anew for each seed: the corpus, the demonstrations, the replies and the labels,
the models. The fine-tuned model and the final policy then answer the same held-out questions, and
the true reward, which no stage has seen, judges both. The recipe (`worlds/concierge_pipeline.py`)
was chosen on the seeds 0 to 2.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmarks.harness import ROOT, Clock, Goal, fresh_seeds, mean_over_seeds, reported
from course_lib.evaluation import bootstrap_interval
from course_lib.lm import gpt
from course_lib.lm.gpt import GPT
from course_lib.rlhf import pairwise, ppo, reward_model
from course_lib.rlhf.reward_model import RewardModel
from course_lib.worlds import concierge, concierge_pipeline as pipeline

NUMBER = 400  # replies per evaluation
EVERY = 4  # updates between two points of the curves
BUDGET = 5.0  # nats by which a reply may be more probable than under the reference, on average


def stages(seed: int) -> tuple[GPT, RewardModel, dict[str, float]]:
    """Stages 1 and 2 for one seed, and their CPU seconds; kept in ``build`` while the code stays.

    Timings are those of the first time.
    """
    folder = kept()
    files = [folder / f"{seed}_{name}.safetensors" for name in ("sft", "reward")]
    if all(file.exists() for file in files):
        return gpt.load(files[0]), reward_model.load(files[1]), {}
    clocks = {name: Clock() for name in ("supervised", "labels", "reward_model")}
    with clocks["supervised"]:
        model = pipeline.supervised(seed)
    with clocks["labels"]:
        pairs, labels = pipeline.labelled(model, pipeline.PAIRS, seed)
    with clocks["reward_model"]:
        judge = pipeline.learned_reward(model, pairs, labels, seed)
    gpt.save(model, files[0])
    reward_model.save(judge, files[1])
    return model, judge, {name: round(clock.cpu, 1) for name, clock in clocks.items()}


def kept(*more: ModuleType) -> Path:
    """A folder for what these modules made; another one as soon as their code changes."""
    modules = (pipeline, concierge, reward_model, *more)
    text = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in modules)
    folder = ROOT / "build" / "rlhf" / hashlib.sha256(text.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def judged(judge: RewardModel, model: GPT, seed: int) -> dict[str, float]:
    """How good the reward model is on held-out questions: against guests and against the truth."""
    questions = concierge.questions()[1]
    pairs, labels = pipeline.labelled(model, 600, seed + 1, questions)
    truth = [
        concierge.true_reward(p.prompt, p.a) - concierge.true_reward(p.prompt, p.b) for p in pairs
    ]
    a, b, shares = reward_model.pair_rewards(judge, pipeline.compare(pairs, labels))
    margin, truth = (a - b).numpy(), np.array(truth)
    differ = truth != 0
    return {
        "accuracy_guest": round(float(pairwise.accuracy(a, b, shares)), 4),
        "accuracy_true": round(float(((margin > 0) == (truth > 0))[differ].mean()), 4),
    }


def numbers(scores: pipeline.Scores) -> dict[str, float]:
    """Means over replies, and the interval of the true reward."""
    low, high = bootstrap_interval(scores.true, resamples=2000)
    means = {name: float(getattr(scores, name).mean()) for name in ("true", "proxy", "kl")}
    means |= {"length": float(scores.length.mean()), "finished": float(scores.finished.mean())}
    return {name: round(x, 4) for name, x in (means | {"low": low, "high": high}).items()}


def train_policy(
    model: GPT, judge: RewardModel, config: ppo.Config, seed: int, every: int = EVERY
) -> tuple[GPT, ppo.Critic, dict[str, list[float]]]:
    """PPO from ``model`` on the rewards of ``judge``: the policy, its critic, and curves."""
    reward = reward_model.scorer(judge)
    policy, critic = copy.deepcopy(model), ppo.Critic(model)
    prompts = pipeline.training_prompts()
    names = ("true", "proxy", "kl", "length")
    curves: dict[str, list[float]] = {name: [] for name in ("steps", *names)}

    def look(step: int) -> None:
        scores = pipeline.evaluate(policy, model, reward, 120, seed + 1)
        curves["steps"].append(step)
        for name in names:
            curves[name].append(round(float(getattr(scores, name).mean()), 3))

    look(0)
    end = concierge.END_TOKEN
    for row in ppo.train(policy, critic, model, prompts, reward, end, config, seed):
        if row["steps"] % every == 0:
            look(int(row["steps"]))
    return policy, critic, curves


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    runs = []
    for seed in seeds:
        model, judge, seconds = stages(seed)
        reward = reward_model.scorer(judge)
        with Clock() as clock:
            policy, _, curves = train_policy(model, judge, pipeline.PPO, seed)
        seconds["ppo"] = round(clock.cpu, 1)
        before, after = (pipeline.evaluate(m, model, reward, NUMBER, seed) for m in (model, policy))
        run = {
            "seed": seed,
            **judged(judge, model, seed),
            "sft": numbers(before),
            "policy": numbers(after),
            "cpu_seconds": seconds,
            "curves": curves,
            "samples": list(zip(before.questions, before.replies, after.replies, strict=True))[:12],
        }
        print({k: v for k, v in run.items() if k not in ("curves", "samples")}, flush=True)
        runs.append(run)
    return {"seeds": seeds, "replies": NUMBER, "kl_budget": BUDGET, "runs": runs}


def judge(result: dict) -> list[Goal]:
    runs = result["runs"]
    apart = sum(run["policy"]["low"] > run["sft"]["high"] for run in runs)
    kls = [run["policy"]["kl"] for run in runs]
    true = {k: [run[k]["true"] for run in runs] for k in ("sft", "policy")}
    words = {k: mean_over_seeds(x) for k, x in true.items()}
    seconds = [sum(run["cpu_seconds"].values()) for run in runs if len(run["cpu_seconds"]) > 1]
    right = [run["accuracy_true"] for run in runs]
    needed = 9 * len(runs) // 10
    goals = [
        Goal(
            f"pipeline on the concierge, {result['replies']} replies to held-out questions: true "
            "reward above that of fine-tuning, 95 % intervals apart",
            f"on at least {needed} of {len(runs)} seeds",
            f"{apart}; from {words['sft']} to {words['policy']} of at most 4 [95 % t interval over "
            "seeds]",
            apart >= needed,
        ),
        Goal(
            "the policy's divergence from its reference, nats per reply",
            f"at most {result['kl_budget']:g} on every seed",
            f"{np.mean(kls):.2f} on average, {max(kls):.2f} at most",
            max(kls) <= result["kl_budget"],
        ),
        reported(
            "reward model: held-out pairs in the order of the true reward", mean_over_seeds(right)
        ),
    ]
    if seconds:
        goals.append(
            Goal(
                "CPU seconds of the whole pipeline, one thread",
                "at most 150",
                f"{np.mean(seconds):.0f} on average, {max(seconds):.0f} at most",
                max(seconds) <= 150,
            )
        )
    return goals
