"""More labels, longer training, and both; designed pairs against staff pairs; word counts.

Three controls of lesson 07:

- *recipe*: designed pairs and a calm human, as for the lesson's thirty labels, with one change
  each, and with both: 1,000 labels with the training of the thirty (30 updates of 16 pairs, a rate
  of 3e-4, so that only 480 of the labels are read), 30 labels with a longer one (100 updates,
  1e-3), 1,000 labels with the longer one. What does the model pay for each trait?
- *designed*: 100 hasty labels on designed pairs, beside the committed run on pairs of the staff.
- *counts*: the simplest reward model, a price for each word, by Bradley and Terry with a ridge of
  1 (Newton's method, no randomness). It reads the reply alone, not the question. Its accuracy on
  hasty labels of staff pairs, and what it pays after the same thirty labels as the lesson's model.

Seeds and test pairs are those of `reward_models.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.harness import SHARE, Goal, fresh_seeds, mean_over_seeds, reported
from benchmarks.reward_models import reward_models as lesson
from course_lib.evaluation import committed_result
from course_lib.rlhf import reward_model
from course_lib.rlhf.preferences import Labeller, Pair
from course_lib.rlhf.reward_model import Config
from course_lib.worlds import concierge, concierge_pairs

SHORT = Config(total_steps=30, batch_size=16, learning_rate=3e-4)
LONGER = Config(total_steps=100, batch_size=16, learning_rate=1e-3)
RECIPES = {(1000, "as thirty"): SHORT, (30, "longer"): LONGER, (1000, "longer"): LONGER}
COUNTED = (30, 100, 300, 1000)
RIDGE = 1.0
PLACE = "the right place, not a wrong one"


def designed(labels: int, seed: int, temperature: float) -> tuple[list[Pair], list[float]]:
    pairs = concierge_pairs.designed_pairs(concierge.questions()[0], labels, seed)
    return pairs, Labeller(lesson.TRUE, temperature=temperature).label(pairs, seed)


def right(model: reward_model.RewardModel) -> float:
    return lesson.accuracy(
        *reward_model.pair_rewards(model, lesson.true_order(lesson.test_pairs()))
    )


# --- A price for each word -----------------------------------------------------------------------


def counts(pairs: Sequence[Pair]) -> np.ndarray:
    """How often A has each token, less how often B has it: (pairs, tokens)."""
    size = concierge.TOKENIZER.vocab_size
    both = [[concierge.reply_tokens(reply) for reply in (p.a, p.b)] for p in pairs]
    count = [[np.bincount(tokens, minlength=size) for tokens in two] for two in both]
    return np.array([a - b for a, b in count], float)


def prices(pairs: Sequence[Pair], labels: Sequence[float]) -> np.ndarray:
    """A price per token, (tokens,): the minimum of the summed NLL and a ridge, by Newton."""
    x, found = counts(pairs), np.zeros(concierge.TOKENIZER.vocab_size)
    for _ in range(60):
        p = 1 / (1 + np.exp(-x @ found))
        slope = x.T @ (p - np.array(labels)) + RIDGE * found
        bend = (x.T * (p * (1 - p))) @ x + RIDGE * np.eye(len(found))
        found -= np.linalg.solve(bend, slope)
    return found


def counted(seed: int) -> dict:
    """Accuracy on the test pairs after so many hasty labels, and what thirty calm ones teach."""
    test = lesson.test_pairs()
    better = np.array([lesson.TRUE(p.prompt, p.a) > lesson.TRUE(p.prompt, p.b) for p in test])
    accuracy = {}
    for labels in COUNTED:
        pairs = concierge_pairs.staff_pairs(concierge.questions()[0], labels, seed)
        gap = counts(test) @ prices(pairs, lesson.LABELLERS["noisy"].label(pairs, seed))
        hits = np.where(gap == 0, 0.5, (gap > 0) == better)
        accuracy[str(labels)] = round(float(hits.mean()), 4)
    price = prices(*designed(30, seed, 0.5))
    paid = {n: float((counts(p) @ price).mean()) for n, p in lesson.contrasts().items()}
    return {"accuracy": accuracy, "paid": {name: round(x, 4) for name, x in paid.items()}}


# --- All of it -----------------------------------------------------------------------------------


def measure(quick: bool) -> dict:
    seeds, runs = fresh_seeds(1 if quick else 5), []

    def keep(**run) -> None:
        runs.append(run)
        print(run, flush=True)

    for seed in seeds:
        keep(kind="counts", seed=seed, **counted(seed))
    for (number, training), config in RECIPES.items():
        for seed in seeds:
            paid = lesson.values_of(lesson.fit(*designed(number, seed, 0.5), config, seed))
            keep(kind="recipe", seed=seed, labels=number, training=training, paid=paid)
    config = Config(total_steps=lesson.STEPS[lesson.FEW], learning_rate=1e-3)
    for seed in seeds:
        accuracy = right(lesson.fit(*designed(lesson.FEW, seed, 1.0), config, seed))
        keep(kind="designed", seed=seed, labels=lesson.FEW, accuracy=accuracy)
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    def rows(kind: str, **wanted) -> list[dict]:
        wanted["kind"] = kind
        return [r for r in result["runs"] if all(r.get(k) == v for k, v in wanted.items())]

    recipes = {
        f"{labels:,} labels, {training}": [
            run["paid"] for run in rows("recipe", labels=labels, training=training)
        ]
        for labels, training in RECIPES
    }
    place = [
        f"{name}: {' '.join(f'{paid[PLACE]:+.2f}' for paid in runs)}"
        for name, runs in recipes.items()
    ]
    signs = [
        f"{name} {mean_over_seeds(lesson.truly_signed(runs), within=SHARE)}"
        for name, runs in recipes.items()
    ]
    simple = rows("counts")
    accuracy = {n: [run["accuracy"][str(n)] for run in simple] for n in COUNTED}
    paid = [run["paid"] for run in simple]
    truth = concierge_pairs.truly_paid_for(lesson.TRUE, lesson.contrasts())
    agreed = [f"{n} {sum(x[n] * truth[n].mean() > 0 for x in paid)}" for n in truth]
    other = [run["accuracy"] for run in rows("designed")]
    staff = [
        run["accuracy"]
        for run in committed_result("reward_models")["runs"]
        if run["kind"] == "curve"
        and run["labeller"] == "noisy"
        and run["labels"] == lesson.FEW
        and run["seed"] in result["seeds"]
    ]
    return [
        reported(
            "reward model, designed pairs by a calm human, 1,000 with the training of thirty, 30 "
            "and longer, or both: points for the right place, seed by seed",
            "; ".join(place),
        ),
        reported(
            "reward model, the same: share of seven traits paid for with the sign of the true "
            "reward",
            "; ".join(signs),
        ),
        reported(
            f"a price for each word, by Bradley and Terry: accuracy with {COUNTED} hasty labels",
            ", ".join(mean_over_seeds(x) for x in accuracy.values()),
        ),
        reported(
            "a price for each word, 30 designed pairs by a calm human: of how many seeds has each "
            f"trait the true sign ({len(simple)} seeds)",
            ", ".join(agreed),
        ),
        reported(
            f"reward model, {lesson.FEW} hasty labels: accuracy on designed pairs and on pairs of "
            "the staff",
            f"{mean_over_seeds(other)} and {mean_over_seeds(staff)}, difference per seed "
            f"{mean_over_seeds(np.subtract(other, staff), '.3f')}",
        ),
    ]
