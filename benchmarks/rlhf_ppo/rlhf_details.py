"""PPO for language models without one detail at a time: what the true reward, KL and length do.

The details are those that Huang et al. (arXiv 2403.17031) list. Every variant starts from the same
fine-tuned model and the same reward model of its seed (`rlhf_pipeline.py`), trains with the recipe
but for one thing, in half as many updates, and answers the same held-out questions. A difference is
called clear where the 95 % t interval of the paired differences over seeds lies on one side of 0.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import replace
from unittest import mock

import numpy as np
from torch import Tensor

from benchmarks.harness import SHARE, Goal, by, fresh_seeds, mean_over_seeds, reported
from benchmarks.rlhf_ppo.rlhf_pipeline import NUMBER, kept, numbers, stages, train_policy
from course_lib.classroom import use
from course_lib.evaluation import t_interval
from course_lib.lessons.rlhf_ppo import exercises
from course_lib.rlhf import ppo, reward_model
from course_lib.rlhf.rollouts import Rollout, collect
from course_lib.worlds import concierge, concierge_pipeline as pipeline

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


def colder_reference(logits: Tensor, tokens: Tensor, response_mask: Tensor) -> Tensor:
    """`ppo.token_logp`, the reference's logits at another temperature; it has no gradient."""
    other = logits if logits.requires_grad else logits / WRONG_TEMPERATURE
    return ppo.token_logp(other, tokens, response_mask)


MISTAKES = {
    "score in the last column": exercises.terminal_rewards.mistake("in the last column"),
    "whitening counts padding": exercises.whiten_advantages.mistake("padding counts"),
    "reference at another temperature": {ppo.token_logp: colder_reference},
}


def changed(variant: str) -> AbstractContextManager:
    """While the block lasts, PPO has what is wrong in this variant."""
    if variant == "padding taken for the end":  # in training alone: evaluation collects as well
        return mock.patch.object(ppo, "collect", without_end)
    return use(MISTAKES.get(variant, {}))


def without(variant: str, seed: int) -> dict:
    """One run; kept in ``build``, so that a measurement that was interrupted goes on."""
    file = kept(ppo) / f"{seed}_{variant.replace(' ', '_').replace(':', '')}.json"
    if not file.exists():
        model, judge, _ = stages(seed)
        config = replace(pipeline.PPO, total_steps=UPDATES, **CHANGED[variant])
        with changed(variant):
            policy, _, curves = train_policy(model, judge, config, seed, 10)
        scores = pipeline.evaluate(policy, model, reward_model.scorer(judge), NUMBER, seed)
        samples = list(zip(scores.questions, scores.replies, strict=True))[:6]
        run = {"variant": variant, "seed": seed, **numbers(scores)}
        print(run, flush=True)
        file.write_text(json.dumps(run | {"curves": curves, "samples": samples}), "utf-8")
    return json.loads(file.read_text("utf-8"))


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 5)
    variants = list(CHANGED)[:2] if quick else list(CHANGED)
    runs = [without(variant, seed) for variant in variants for seed in seeds]
    return {"seeds": seeds, "updates": UPDATES, "replies": NUMBER, "runs": runs}


NAMED = {"proxy": "reward model", "kl": "KL", "length": "tokens", "finished": "finished"}


def judge(result: dict) -> list[Goal]:
    goals, variants = [], by(result["runs"], "variant")
    recipe = {run["seed"]: run for run in variants[RECIPE]}
    for variant, mine in variants.items():
        parts = [f"true reward {mean_over_seeds([run['true'] for run in mine])}"]
        if variant != RECIPE:
            change = [run["true"] - recipe[run["seed"]]["true"] for run in mine]
            _, low, high = t_interval(change)
            clear = "worse" if high < 0 else "better" if low > 0 else "no clear difference"
            parts.append(f"against the recipe {mean_over_seeds(change)}: {clear}")
        for key, label in NAMED.items():
            within = SHARE if key == "finished" else (-np.inf, np.inf)
            parts.append(f"{label} {mean_over_seeds([run[key] for run in mine], within=within)}")
        goals.append(reported(f"PPO: {variant}", "; ".join(parts)))
    return goals
