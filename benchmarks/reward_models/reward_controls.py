"""Controls of lesson 07: the margin of one reward model, picks after 30 labels, a count of labels.

- *margin*: an ensemble of four warns where its members do not agree. Would one member have warned
  as well? Its test pairs are sorted by its own |r_A - r_B|, and as many are called sure as those on
  which the four agree; the mean over the members stands for one model.
- *picks*: four models with 30 labels each choose among twelve replies of the staff (best-of-12, by
  the mean of the four), beside a blind pick and the best on offer.
- *longer*: how many labels go to the truly better reply and how many to the longer one, for the
  hasty human and the one who likes long replies. Exact probabilities over the test pairs, and how
  often 30 labels say so.

Seeds, test pairs and training are those of `reward_models.py`.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.harness import Goal, fresh_seeds, mean_over_seeds, reported
from benchmarks.reward_models import reward_models as lesson
from course_lib.rlhf import reward_model
from course_lib.worlds import concierge

MEMBERS, OFFERED = 4, 12
ALARM, LABELS = 20, 30  # as many of 30 labels for the longer reply say that there is a bias


def margin(seed: int, members: int, steps: int) -> dict:
    """Accuracy on sure and on unsure pairs: by agreement of all, and by the margin of each."""
    models = [lesson.train("noisy", 300, seed, steps=steps, member=i) for i in range(members)]
    ensemble = reward_model.Ensemble(models)
    a, b, right = reward_model.pair_rewards(ensemble, lesson.true_order(lesson.test_pairs()))
    votes = (a > b).float().mean(0)
    agreed = (votes == 0) | (votes == 1)
    found = {
        "agreed": lesson.accuracy(a.mean(0)[agreed], b.mean(0)[agreed], right[agreed]),
        "split": lesson.accuracy(a.mean(0)[~agreed], b.mean(0)[~agreed], right[~agreed]),
        "agreed_share": round(float(agreed.float().mean()), 4),
    }
    parts = []
    for first, second in zip(a, b, strict=True):
        order = (first - second).abs().argsort(descending=True)
        sides = order[: int(agreed.sum())], order[int(agreed.sum()) :]
        parts.append([lesson.accuracy(first[k], second[k], right[k]) for k in sides])
    sure, unsure = np.mean(parts, axis=0)
    return found | {"one_sure": round(float(sure), 4), "one_unsure": round(float(unsure), 4)}


def picks(seed: int, members: int, questions: int) -> dict:
    """Mean true reward of the pick, of a blind pick and of the best, over so many questions."""
    pairs = lesson.concierge_pairs.designed_pairs(concierge.questions()[0], LABELS, seed)
    labels = lesson.Labeller(lesson.TRUE, temperature=0.5).label(pairs, seed)
    config = reward_model.Config(total_steps=30, batch_size=16, learning_rate=3e-4)
    models = [lesson.fit(pairs, labels, config, 1000 * i + seed) for i in range(members)]
    score = reward_model.scorer(reward_model.Ensemble(models))
    rng, held_out = np.random.default_rng((seed, 12)), concierge.questions()[1]
    found = []
    for number in range(questions):
        question = held_out[number % len(held_out)]
        staff = [
            concierge.EVERYBODY[i] for i in rng.integers(len(concierge.EVERYBODY), size=OFFERED)
        ]
        texts = [(question, one.reply(question, rng)) for one in staff]
        true = [lesson.TRUE(*text) for text in texts]
        found.append(
            (true[int(score(*lesson.tokens_of(texts)).argmax())], np.mean(true), max(true))
        )
    pick, blind, best = np.mean(found, axis=0).round(4)
    return {"questions": questions, "pick": pick, "blind": blind, "best": best}


def longer(name: str) -> dict:
    """Expected shares of labels for the truly better and for the longer reply."""
    labeller = lesson.LABELLERS[name]
    chance = np.array([labeller.probability(pair) for pair in lesson.test_pairs()])
    true = [lesson.TRUE(p.prompt, p.a) - lesson.TRUE(p.prompt, p.b) for p in lesson.test_pairs()]
    words = np.array([len(p.a.split()) - len(p.b.split()) for p in lesson.test_pairs()])
    to_better = np.where(np.array(true) > 0, chance, 1 - chance)
    to_longer = np.where(words > 0, chance, 1 - chance)[words != 0]
    rng = np.random.default_rng(0)
    drawn = rng.permuted(np.tile(to_longer, (10_000, 1)), axis=1)[:, :LABELS]
    counts = (rng.random(drawn.shape) < drawn).sum(axis=1)
    return {
        "better": round(float(to_better.mean()), 4),
        "longer": round(float(to_longer.mean()), 4),
        "alarms": round(float((counts >= ALARM).mean()), 4),
    }


def measure(quick: bool) -> dict:
    torch.set_num_threads(1)
    seeds, runs = fresh_seeds(1 if quick else 5), []
    members, steps, questions = (2, 10, 12) if quick else (MEMBERS, 50, 120)
    for name in ("noisy", "long-winded"):
        runs.append({"kind": "longer", "labeller": name, **longer(name)})
    for seed in seeds:
        runs.append({"kind": "margin", "seed": seed, **margin(seed, members, steps)})
        runs.append({"kind": "picks", "seed": seed, **picks(seed, members, questions)})
        print(*runs[-2:], sep="\n", flush=True)
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    def column(kind: str, name: str) -> np.ndarray:
        return np.array([run[name] for run in result["runs"] if run["kind"] == kind])

    def gap(high: str, low: str) -> tuple[np.ndarray, str]:
        high, low = column("margin", high), column("margin", low)
        return high - low, f"{mean_over_seeds(high)} and {mean_over_seeds(low)}"

    (four, by_four), (one, by_one) = gap("agreed", "split"), gap("one_sure", "one_unsure")
    pick, blind, best = (column("picks", name) for name in ("pick", "blind", "best"))
    counted = [run for run in result["runs"] if run["kind"] == "longer"]
    shares = [
        f"{run['labeller']} {run['better']:.3f} and {run['longer']:.3f}, {run['alarms']:.2f}"
        for run in counted
    ]
    return [
        reported(
            f"reward models, {MEMBERS} of 300 noisy labels: accuracy where all agree and where they"
            " do not; where the margin of one is large and where it is small, as many pairs each",
            f"{by_four}; {by_one}; gap of the {MEMBERS} less gap of the one, per seed "
            f"{mean_over_seeds(four - one, '.3f')}",
        ),
        reported(
            f"reward models, {MEMBERS} of {LABELS} labels: true reward of their pick from {OFFERED}"
            " replies, of a blind pick, of the best",
            f"{mean_over_seeds(pick)}, {mean_over_seeds(blind)}, {mean_over_seeds(best)}; pick less"
            f" blind per seed {mean_over_seeds(pick - blind)}",
        ),
        reported(
            "labels for the truly better and for the longer reply; how often at least "
            f"{ALARM} of {LABELS} go to the longer",
            "; ".join(shares),
        ),
    ]
