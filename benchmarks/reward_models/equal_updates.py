"""30 labels against 1,000 in the same number of updates: is it the labels or the training?

In `reward_models.py` more labels come with more updates. Here both numbers of labels get as many as
300 labels get there; the model at the start, the size of the batches, the rate and the noisy
labeller are the same. Both models of a seed are judged on the same test pairs, so differences are
taken seed by seed.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Goal, by, fresh_seeds, mean_over_seeds
from benchmarks.reward_models import reward_models
from course_lib.evaluation import t_interval

LABELS = (30, 1000)
UPDATES = 50


def measure(quick: bool) -> dict:
    seeds, runs = fresh_seeds(1 if quick else 5), []
    for seed in seeds:
        for labels in LABELS:
            model = reward_models.train("noisy", labels, seed, steps=UPDATES)
            accuracy = reward_models.judge_model(model, "noisy", seed)["accuracy"]
            runs.append({"updates": UPDATES, "labels": labels, "seed": seed, "accuracy": accuracy})
            print(runs[-1], flush=True)
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    few, many = (
        np.array([run["accuracy"] for run in runs])
        for runs in by(result["runs"], "labels").values()
    )
    what = (
        f"reward model, {UPDATES} updates: accuracy against the truth with {LABELS[0]} and with "
        f"{LABELS[1]:,} noisy labels [95 % t interval over {len(few)} seeds]"
    )
    measured = f"{mean_over_seeds(few)} and {mean_over_seeds(many)}, difference per seed "
    measured += mean_over_seeds(many - few)
    _, low, _ = t_interval(many - few)
    return [Goal(what, reward_models.ABOVE, measured, bool(low > 0))]
