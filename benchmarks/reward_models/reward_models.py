"""What labels do to a reward model: their number, noise, carelessness and bias.

The concierge's true reward is known, so a simulated human can give the labels, and a reward model
can be held against the truth. Each run trains on pairs of replies by the hotel's staff, from the
fine-tuned language model of `notebooks/checkpoints/concierge`. Test pairs ask other questions.

- *accuracy*: share of test pairs put in the order of the true reward;
- *agreement*: the same against fresh labels by the same human, which nobody can predict better
  than that human's *ceiling*: the share that goes to the reply it values more;
- *per word*: how many points of true reward the model pays for one more word, by least squares of
  its rewards on true reward and length;
- *calibration*: expected error of its probabilities, against fresh labels;
- *paid*: how much more it gives to replies that have one thing, all else equal;
- *padding*: accuracy of a model that reads its reward in the last column of a batch;
- *spread*: standard deviation over the members of an ensemble, on replies like those it was
  trained on and on others.

Settings were tried on seeds below 100, with another set of test pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import SHARE, Goal, fresh_seeds, mean_over_seeds, reported
from course_lib.classroom import use
from course_lib.evaluation import t_interval
from course_lib.lessons.reward_models import exercises
from course_lib.rlhf import pairwise, reward_model
from course_lib.rlhf.preferences import Labeller, Pair
from course_lib.rlhf.reward_model import Config, RewardModel
from course_lib.worlds import concierge, concierge_pairs, concierge_pipeline as pipeline

TRUE = concierge.true_reward
LABELLERS = {
    "careful": Labeller(TRUE, temperature=0.0),
    "noisy": Labeller(TRUE, temperature=1.0),
    "careless": Labeller(TRUE, temperature=1.0, flip=0.2),
    "long-winded": Labeller(TRUE, temperature=1.0, length_bias=0.3),
}
# Labels: updates of a run.
STEPS = {30: 10, 100: 20, 300: 50, 1000: 150, 3000: 300}
MOST = max(STEPS)  # labels; by the noisy labeller only
FEW, MANY = 100, 1000
ABOVE = "95 % t interval of the difference above 0"
TWICE = "one sentence six times"
Text = tuple[str, str]  # a question and a reply


@cache
def language_model():
    return pipeline.sft_model()


@cache
def test_pairs() -> list[Pair]:
    """Pairs on held-out questions whose true rewards differ."""
    pairs = concierge_pairs.staff_pairs(concierge.questions()[1], 600, seed=200)
    return [pair for pair in pairs if TRUE(pair.prompt, pair.a) != TRUE(pair.prompt, pair.b)]


@cache
def contrasts() -> dict[str, list[Pair]]:
    return concierge_pairs.contrasts(concierge.questions()[1])


def true_order(pairs: Sequence[Pair]) -> list[reward_model.Comparison]:
    return pipeline.compare(pairs, LABELLERS["careful"].label(pairs, 0))


def tokens_of(texts: Sequence[Text]) -> tuple[list[list[int]], list[list[int]]]:
    prompts = [concierge.prompt_tokens(question) for question, _ in texts]
    return prompts, [concierge.reply_tokens(reply) for _, reply in texts]


def ceiling(labeller: Labeller) -> float:
    """The share of its own fresh labels that the labeller's own values predict."""
    chances = [labeller.probability(pair) for pair in test_pairs()]
    return float(np.mean([max(p, 1 - p) for p in chances]))


def fit(pairs: Sequence[Pair], labels: Sequence[float], config: Config, seed: int) -> RewardModel:
    model = RewardModel.from_lm(language_model(), seed)
    for _ in reward_model.train(model, pipeline.compare(pairs, labels), config, seed):
        pass
    return model


def train(
    name: str, labels: int, seed: int, flip: float = 0.0, steps: int | None = None, member: int = 0
) -> RewardModel:
    """A reward model from so many labels; ``flip`` is the carelessness that its loss corrects."""
    pairs = concierge_pairs.staff_pairs(concierge.questions()[0], labels, seed)
    config = Config(total_steps=steps or STEPS[labels], learning_rate=1e-3, flip=flip)
    return fit(pairs, LABELLERS[name].label(pairs, seed), config, 1000 * member + seed)


def thirty(seed: int) -> RewardModel:
    """The lesson's model: 30 designed pairs, labelled by a calm human who values what is true."""
    pairs = concierge_pairs.designed_pairs(concierge.questions()[0], 30, seed)
    labels = Labeller(TRUE, temperature=0.5).label(pairs, seed)
    return fit(pairs, labels, Config(total_steps=30, batch_size=16, learning_rate=3e-4), seed)


# --- What is measured of a model ---------------------------------------------------------------


def judge_model(model: RewardModel, name: str, seed: int) -> dict:
    """Its accuracy, its agreement with new labels, the calibration of its probabilities."""
    a, b, right = reward_model.pair_rewards(model, true_order(test_pairs()))
    labelled = torch.tensor(LABELLERS[name].label(test_pairs(), seed + 10_000))
    found = pairwise.calibration(a, b, labelled)
    return {
        "accuracy": accuracy(a, b, right),
        "agreement": accuracy(a, b, labelled),
        "surprise": round(float(pairwise.pairwise_loss(a, b, labelled)[0]), 4),
        "calibration_error": round(found.error, 4),
        "predicted": [round(float(x), 3) for x in found.predicted],
        "observed": [round(float(x), 3) for x in found.observed],
        "count": found.count.tolist(),
    }


def accuracy(a: Tensor, b: Tensor, share: Tensor) -> float:
    return round(float(pairwise.accuracy(a, b, share)), 4)


def per_word(model: RewardModel) -> dict:
    """What it pays for a word, in points of true reward; and the reply that it likes best."""
    texts = list({(p.prompt, reply) for p in test_pairs() for reply in (p.a, p.b)})
    scores = reward_model.rewards(model, *tokens_of(texts)).double()
    true = np.array([TRUE(*text) for text in texts])
    words = np.array([len(reply.split()) for _, reply in texts])
    columns = np.stack([true, words, np.ones(len(texts))], axis=1)
    (points, length, _), *_ = np.linalg.lstsq(columns, scores.numpy(), rcond=None)
    best = {texts[i][0]: i for i in scores.argsort().tolist()}  # of each question, the last stays
    chosen = list(best.values())
    return {
        "per_word": round(float(length / points), 4),
        "favourite_words": round(float(words[chosen].mean()), 2),
        "favourite_true_reward": round(float(true[chosen].mean()), 3),
    }


def values_of(model: RewardModel) -> dict[str, float]:
    """What it pays for one thing, all else equal: the mean over held-out questions."""
    paid = concierge_pairs.paid_for(reward_model.scorer(model), contrasts())
    return {name: round(float(x.mean()), 4) for name, x in paid.items()}


def reads_padding(seed: int, labels: int, right: RewardModel) -> dict:
    """A model that reads its reward in the last column of a batch, beside the right one."""
    found = {"right": alone_and_together(right)}
    with use(exercises.last_token.mistake("reads the last column")):
        found["last column"] = alone_and_together(train("noisy", labels, seed))
    return found


def alone_and_together(model: RewardModel) -> dict[str, float]:
    """Accuracy in batches and one at a time, and how far a reward moves between the two."""
    true = true_order(test_pairs()[:200])
    prompts, first, second, share = zip(*true, strict=True)
    together, alone = (reward_model.rewards(model, prompts, first, n) for n in (256, 1))
    other = reward_model.rewards(model, prompts, second, 1)
    return {
        "in_batches": accuracy(*reward_model.pair_rewards(model, true)),
        "one_at_a_time": accuracy(alone, other, torch.tensor(share)),
        "moved": round(float((together - alone).abs().mean() / together.std()), 4),
    }


def far_replies(seed: int) -> dict[str, list[Text]]:
    """Questions with replies like those of the staff, and with replies that nobody wrote."""
    rng = np.random.default_rng((seed, 9))
    near = [(pair.prompt, pair.a) for pair in test_pairs()[:200]]
    first = lambda reply: reply.split(" . ")[0].removesuffix(" .") + " ."  # noqa: E731
    return {
        "staff": near,
        TWICE: [(question, " ".join([first(reply)] * 6)) for question, reply in near],
        "words shuffled": [(q, " ".join(rng.permutation(reply.split()))) for q, reply in near],
    }


def ensemble_run(seed: int, members: int, steps: int) -> dict:
    """Spread of an ensemble, and its accuracy where all members agree and where they do not."""
    models = [train("noisy", 300, seed, steps=steps, member=i) for i in range(members)]
    ensemble = reward_model.Ensemble(models)
    spread, rewards, truth = {}, {}, {}
    for name, texts in far_replies(seed).items():
        if name == "staff":  # each member has a zero of its own: that is no disagreement
            reward_model.center(ensemble, *tokens_of(texts))
        found = reward_model.rewards(ensemble, *tokens_of(texts))
        spread[name] = round(float(found.std(0).mean()), 4)
        rewards[name] = round(float(found.mean()), 4)
        truth[name] = round(float(np.mean([TRUE(*text) for text in texts])), 4)
    a, b, right = reward_model.pair_rewards(ensemble, true_order(test_pairs()))
    votes = (a > b).float().mean(0)
    agreed = (votes == 0) | (votes == 1)
    parts = {"agreed": agreed, "split": ~agreed, "all": agreed | ~agreed}
    both = {k: accuracy(a.mean(0)[keep], b.mean(0)[keep], right[keep]) for k, keep in parts.items()}
    alone = [float(pairwise.accuracy(a[i], b[i], right)) for i in range(members)]
    return {
        "spread": spread,
        "rewards": rewards,
        "true_rewards": truth,
        "accuracy": both,
        "agreed_share": round(float(agreed.float().mean()), 4),
        "one_member": round(float(np.mean(alone)), 4),
    }


# --- All of it, and the goals ------------------------------------------------------------------


def one_seed(seed: int, quick: bool) -> list[dict]:
    """Every run of one seed."""
    runs: list[dict] = []

    def keep(**run) -> None:
        runs.append({"seed": seed, **run})
        print({k: v for k, v in runs[-1].items() if not isinstance(v, list)}, flush=True)

    many = FEW if quick else MANY
    for name in ("careful", "noisy", "careless", "corrected"):
        source, flip = ("careless", 0.2) if name == "corrected" else (name, 0.0)
        most = MOST if name == "noisy" and not quick else many
        for labels in [n for n in STEPS if n <= most]:
            model = train(source, labels, seed, flip)
            found = judge_model(model, source, seed)
            keep(kind="curve", labeller=name, labels=labels, **found)
            if name == "noisy" and labels == many:
                keep(kind="length", labeller=name, **per_word(model))
                keep(kind="calibration", steps=STEPS[many], **found)
                keep(kind="values", labels=many, paid=values_of(model))
                keep(kind="padding", **reads_padding(seed, many, model))
    keep(kind="length", labeller="long-winded", **per_word(train("long-winded", many, seed)))
    for steps in (10, 60) if quick else (50, 400):
        found = judge_model(train("noisy", many, seed, steps=steps), "noisy", seed)
        keep(kind="calibration", steps=steps, **found)
    keep(kind="values", labels=30, paid=values_of(thirty(seed)))
    keep(kind="ensemble", **ensemble_run(seed, *((2, 10) if quick else (4, 50))))
    return runs


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 5)
    runs = [run for seed in seeds for run in one_seed(seed, quick)]
    return {
        "seeds": seeds,
        "test_pairs": len(test_pairs()),
        "ceilings": {name: round(ceiling(one), 4) for name, one in LABELLERS.items()},
        "runs": runs,
    }


def truly_signed(paid: Sequence[dict[str, float]]) -> list[float]:
    """Per run: the share of traits whose price has the sign of the true one."""
    truth = concierge_pairs.truly_paid_for(TRUE, contrasts())
    return [float(np.mean([x[n] * truth[n].mean() > 0 for n in truth])) for x in paid]


def label_error(run: dict, flip: float = 0.0) -> float:
    """Calibration error against the labels, of q = (1 - flip) p + flip (1 - p), from the bins."""
    predicted, observed, count = (np.array(run[k]) for k in ("predicted", "observed", "count"))
    q = flip + (1 - 2 * flip) * predicted
    return float(np.average(np.abs(q - observed), weights=count))


def certainty(run: dict) -> float:
    """How far the probabilities lie from one half, on average, from the bins."""
    return float(np.average(np.abs(np.array(run["predicted"]) - 0.5), weights=run["count"]))


def slope(run: dict) -> float:
    """Slope of a reliability curve through (1/2, 1/2), least squares: below 1 is too sure."""
    predicted, observed = np.array(run["predicted"]) - 0.5, np.array(run["observed"]) - 0.5
    return float(np.average(predicted * observed, weights=run["count"])) / float(
        np.average(predicted**2, weights=run["count"])
    )


def chance_error(run: dict) -> float:
    """Mean calibration error of perfect probabilities in the same bins, from the draw of labels."""
    predicted, count = np.array(run["predicted"]), np.array(run["count"])
    observed = np.random.default_rng(0).binomial(count, predicted, size=(2000, len(count))) / count
    return float(np.average(np.abs(observed - predicted), weights=count, axis=1).mean())


def judge(result: dict) -> list[Goal]:
    seeds = len(result["seeds"])
    many = FEW if seeds == 1 else MANY

    def rows(kind: str, **wanted) -> list[dict]:
        wanted["kind"] = kind
        return [r for r in result["runs"] if all(r.get(k) == v for k, v in wanted.items())]

    def column(name: str, kind: str, **wanted) -> list:
        return [row[name] for row in rows(kind, **wanted)]

    def curve(labeller: str, labels: int, name: str = "accuracy") -> list[float]:
        return column(name, "curve", labeller=labeller, labels=labels)

    def more(lower: list[float], higher: list[float], form: str = ".2f") -> tuple[str, bool]:
        """Both and what the second has more, seed by seed; whether its interval is above 0."""
        gain = np.subtract(higher, lower)
        words = f"{mean_over_seeds(lower, form)} and {mean_over_seeds(higher, form)}, "
        _, low, _ = t_interval(gain)
        return words + f"difference per seed {mean_over_seeds(gain, form)}", bool(low > 0)

    few, lots = curve("noisy", 30), curve("noisy", many)
    goals = [
        Goal(
            f"reward model, noisy labels: accuracy against the truth with 30 and with {many}",
            ABOVE,
            *more(few, lots),
        )
    ]
    if agreement := curve("noisy", MOST, "agreement"):
        top, right = result["ceilings"]["noisy"], curve("noisy", MOST)
        two = [curve(name, many) for name in ("careless", "corrected")]
        three = [
            rows("curve", labeller=name, labels=many) for name in ("noisy", "careless", "corrected")
        ]
        wrong = [label_error(r) for r in three[1]], [label_error(r, 0.2) for r in three[2]]
        size = [[certainty(r) for r in runs] for runs in three]
        steep = [slope(r) for r in three[1]], [slope(r) / 0.6 for r in three[2]]
        slopes = [mean_over_seeds([slope(r) for r in runs]) for runs in three]
        lost = mean_over_seeds(np.subtract(two[0], lots), ".3f")
        goals += [
            Goal(
                f"reward model, {MOST} noisy labels: agreement with fresh labels; its accuracy "
                "against the truth",
                f"at most the ceiling of {top:.3f} + 0.03; accuracy above agreement",
                f"{mean_over_seeds(agreement)}; {mean_over_seeds(right)}",
                bool(np.mean(agreement) <= top + 0.03 and np.mean(right) > np.mean(agreement)),
            ),
            reported(
                f"reward model, {many} labels of which a fifth is turned round: accuracy without "
                "and with correction",
                f"{more(*two, '.3f')[0]}; the former less none turned round {lost}",
            ),
            reported(
                f"reward model, {many} labels of which a fifth is turned round: calibration error "
                "against such labels, of p without and of q with correction",
                more(*wrong, ".3f")[0],
            ),
            reported(
                f"reward model, {many} labels of which a fifth is turned round: slope of such "
                "labels on p, as a share of the right one, 1 without and 0.6 with correction",
                more(*steep)[0],
            ),
            reported(
                f"reward model, {many} labels, none turned round, a fifth, a fifth and corrected: "
                "mean distance of p from 1/2; slope of observed on predicted",
                f"{', '.join(mean_over_seeds(x) for x in size)}, corrected less a fifth per seed "
                f"{mean_over_seeds(np.subtract(size[2], size[1]), '.3f')}, none less corrected "
                f"{mean_over_seeds(np.subtract(size[0], size[2]), '.3f')}; {', '.join(slopes)}",
            ),
        ]
    noisy, biased = (column("per_word", "length", labeller=n) for n in ("noisy", "long-winded"))
    bias = LABELLERS["long-winded"].length_bias
    steps = sorted(set(column("steps", "calibration")))
    errors = [column("calibration_error", "calibration", steps=n) for n in steps]
    words, grows = more(errors[-2], errors[-1])
    spreads, rewards, truth, parts = (
        column(name, "ensemble") for name in ("spread", "rewards", "true_rewards", "accuracy")
    )
    ratios = {n: [s[n] / s["staff"] for s in spreads] for n in spreads[0] if n != "staff"}
    liked = [r[TWICE] - r["staff"] for r in rewards]
    moved = [run["moved"] for run in column("last column", "padding")]
    agreed, split = ([part[name] for part in parts] for name in ("agreed", "split"))
    return [
        *goals,
        Goal(
            "reward model: points it pays per word, trained on unbiased labels and on those of a "
            f"labeller who adds {bias:g} points per word",
            ABOVE,
            *more(noisy, biased),
        ),
        Goal(
            f"reward model, {many} noisy labels: calibration error after "
            f"{', '.join(map(str, steps))} updates",
            f"last less middle: {ABOVE}",
            f"{mean_over_seeds(errors[0])}, {words}",
            grows,
        ),
        reported(
            f"reward model, {many} noisy labels: slope of observed on predicted after "
            f"{', '.join(map(str, steps))} updates",
            ", ".join(
                mean_over_seeds([slope(r) for r in rows("calibration", steps=n)]) for n in steps
            ),
        ),
        reported(
            f"reward model, {many} noisy labels: calibration error that perfect probabilities "
            f"would show by chance after {', '.join(map(str, steps))} updates",
            ", ".join(
                f"{np.mean([chance_error(r) for r in rows('calibration', steps=n)]):.3f}"
                for n in steps
            ),
        ),
        reported(
            "ensemble of reward models: spread on replies that nobody wrote, over the spread on "
            "those of the staff",
            "; ".join(f"{name} {mean_over_seeds(x)}" for name, x in ratios.items()),
        ),
        reported(
            "ensemble of reward models: mean reward of one sentence six times, above that of the "
            "staff; the true one",
            f"{mean_over_seeds(liked)}; {np.mean([t[TWICE] - t['staff'] for t in truth]):.2f}",
        ),
        *(
            reported(
                f"reward model, {labels} labels: share of seven traits paid for with the sign of "
                "the true reward",
                mean_over_seeds(
                    truly_signed(column("paid", "values", labels=labels)), within=SHARE
                ),
            )
            for labels in (30, many)
        ),
        Goal(
            "reward model that reads the last column: a reward's move when the reply stands alone",
            "at least 0.1 standard deviations on every seed",
            mean_over_seeds(moved),
            all(x >= 0.1 for x in moved),
        ),
        Goal(
            "ensemble of reward models: accuracy where its members do not agree and where all do",
            ABOVE,
            *more(split, agreed),
        ),
    ]
