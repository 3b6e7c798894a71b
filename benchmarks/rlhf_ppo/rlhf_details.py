"""PPO for language models without one detail at a time: what the true reward, KL and length do.

The details are those that Huang et al. (arXiv 2403.17031) list. Every variant starts from the same
fine-tuned model and the same reward model of its seed (`rlhf_pipeline.py`), trains with the recipe
but for one thing, in half as many updates, and answers the same held-out questions. A difference is
called clear where the 95 % interval of the paired differences over seeds lies on one side of 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
from torch import Tensor

from benchmarks.harness import Goal
from benchmarks.rlhf_ppo.rlhf_pipeline import NUMBER, kept, numbers, stages, train_policy
from course_lib.evaluation import bootstrap_interval
from course_lib.lessons.rlhf_ppo import exercises
from course_lib.lm import losses
from course_lib.lm.gpt import GPT
from course_lib.rlhf import ppo, reward_model
from course_lib.rlhf.rollouts import Rollout, collect
from course_lib.worlds import concierge
from course_lib.worlds import concierge_pipeline as pipeline

RECIPE = "the recipe"
UPDATES = 20
WRONG_TEMPERATURE = 0.7  # of the reference's log-probabilities, while the policy samples at 1
CHANGED = {  # name: changes in the settings
    RECIPE: {},
    "no leash: beta 0": {"beta": 0.0},
    "score in the last column": {},
    "padding taken for the end": {},
    "whitening counts padding": {},
    "reference at another temperature": {},
    "no whitening": {"whiten": False},
    "a missing end costs nothing": {"missing_end": 0.0},
    "no value clipping": {"value_clip": None},
    "adaptive beta, target 3 nats": {"kl_target": 3.0},
}


def without_end(*args, **settings) -> Rollout:
    """A rollout whose response mask was made by "everything that is not padding", PAD being EOS."""
    rollout = collect(*args, **settings)
    mask = rollout.response_mask & (rollout.tokens != concierge.END_TOKEN)
    return rollout._replace(response_mask=mask, logp=rollout.logp.masked_fill(~mask, 0.0))


@contextmanager
def hooks(variant: str, reference: GPT) -> Iterator[dict]:
    """The replaced parts of PPO; what no argument of `ppo.train` reaches is patched meanwhile."""

    def colder(model: GPT, *args) -> Tensor:
        *args, temperature = args
        other = WRONG_TEMPERATURE if model is reference else temperature
        return losses.response_logp(model, *args, other)

    mistakes = {
        "score in the last column": {
            "terminal_rewards": exercises.terminal_rewards.mistake("in the last column")
        },
        "whitening counts padding": {
            "whiten_advantages": exercises.whiten_advantages.mistake("padding counts")
        },
        "reference at another temperature": {"response_logp": colder},
    }
    collecting = without_end if variant == "padding taken for the end" else collect
    with mock.patch.object(ppo, "collect", collecting):
        yield mistakes.get(variant, {})


def without(variant: str, seed: int) -> dict:
    """One run; kept in ``build``, so that a measurement that was interrupted goes on."""
    file = kept(ppo) / f"{seed}_{variant.replace(' ', '_').replace(':', '')}.json"
    if not file.exists():
        model, judge, _ = stages(seed)
        config = replace(pipeline.PPO, total_steps=UPDATES, **CHANGED[variant])
        with hooks(variant, model) as changed:
            policy, _, curves = train_policy(model, judge, config, seed, 10, **changed)
        scores = pipeline.evaluate(policy, model, reward_model.scorer(judge), NUMBER, seed)
        samples = list(zip(scores.questions, scores.replies, strict=True))[:6]
        run = {"variant": variant, "seed": seed, **numbers(scores)}
        print(run, flush=True)
        file.write_text(json.dumps(run | {"curves": curves, "samples": samples}), "utf-8")
    return json.loads(file.read_text("utf-8"))


def measure(quick: bool) -> dict:
    seeds = [200] if quick else list(range(200, 205))
    variants = list(CHANGED)[:2] if quick else list(CHANGED)
    runs = [without(variant, seed) for variant in variants for seed in seeds]
    return {"seeds": seeds, "updates": UPDATES, "replies": NUMBER, "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    recipe = {run["seed"]: run for run in result["runs"] if run["variant"] == RECIPE}
    for variant in dict.fromkeys(run["variant"] for run in result["runs"]):
        mine = [run for run in result["runs"] if run["variant"] == variant]
        parts = [f"true reward {_words([run['true'] for run in mine])}"]
        if variant != RECIPE:
            change = [run["true"] - recipe[run["seed"]]["true"] for run in mine]
            low, high = bootstrap_interval(change)
            clear = "worse" if high < 0 else "better" if low > 0 else "no clear difference"
            parts.append(f"against the recipe {_words(change)}: {clear}")
        parts += [f"{label} {_words([r[k] for r in mine])}" for k, label in NAMED.items()]
        goals.append(Goal(f"PPO: {variant}", "reported", "; ".join(parts), True))
    return goals


NAMED = {"proxy": "reward model", "kl": "KL", "length": "tokens", "finished": "finished"}


def _words(values: list[float]) -> str:
    low, high = bootstrap_interval(values)
    return f"{np.mean(values):.2f} [{low:.2f}, {high:.2f}]"
