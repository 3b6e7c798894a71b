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

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Goal
from course_lib.evaluation import bootstrap_interval
from course_lib.lessons.reward_models import exercises
from course_lib.rlhf import pairwise, reward_model
from course_lib.rlhf.preferences import Labeller, Pair
from course_lib.rlhf.reward_model import Config, RewardModel
from course_lib.worlds import concierge, concierge_pairs

LABELLERS = {
    "careful": Labeller(concierge.true_reward, temperature=0.0),
    "noisy": Labeller(concierge.true_reward, temperature=1.0),
    "careless": Labeller(concierge.true_reward, temperature=1.0, flip=0.2),
    "long-winded": Labeller(concierge.true_reward, temperature=1.0, length_bias=0.3),
}
# Labels: updates of a run.
STEPS = {30: 10, 100: 20, 300: 50, 1000: 150, 3000: 300}
RATE = 1e-3
FEW, MANY = 100, 1000
CURVES = {
    "careful": (30, 100, 300, 1000),
    "noisy": (30, 100, 300, 1000, 3000),
    "careless": (30, 100, 300, 1000),
    "corrected": (30, 100, 300, 1000),
}


@cache
def language_model():
    return concierge.sft_model()


@cache
def test_pairs() -> list[Pair]:
    """Pairs on held-out questions whose true rewards differ."""
    pairs = concierge_pairs.staff_pairs(concierge.questions()[1], 600, seed=200)
    true = concierge.true_reward
    return [pair for pair in pairs if true(pair.prompt, pair.a) != true(pair.prompt, pair.b)]


def comparisons(pairs: Sequence[Pair], shares: Sequence[float]) -> list[reward_model.Comparison]:
    return reward_model.comparisons(pairs, shares, concierge.prompt_tokens, concierge.reply_tokens)


def ceiling(labeller: Labeller) -> float:
    """The share of its own fresh labels that the labeller's own values predict."""
    chances = [labeller.probability(pair) for pair in test_pairs()]
    return float(np.mean([max(p, 1 - p) for p in chances]))


def train(
    name: str,
    labels: int,
    seed: int,
    flip: float = 0.0,
    steps: int | None = None,
    member: int = 0,
    last_token: Callable[[Tensor, Tensor], Tensor] = reward_model.last_token,
) -> RewardModel:
    """A reward model from so many labels; ``flip`` is the carelessness that its loss corrects."""
    pairs = concierge_pairs.staff_pairs(concierge.questions()[0], labels, seed)
    examples = comparisons(pairs, LABELLERS[name].label(pairs, seed))
    model = RewardModel.from_lm(language_model(), 1000 * member + seed, last_token)
    loss = pairwise.pairwise_loss
    if flip:
        loss = partial(loss, pairwise_nll=partial(pairwise.noisy_nll, flip=flip))
    config = Config(total_steps=steps or STEPS[labels], learning_rate=RATE)
    for _ in reward_model.train(
        model, examples, config, seed=1000 * member + seed, pairwise_loss=loss
    ):
        pass
    return model


def judge_model(model: RewardModel, name: str, seed: int) -> dict:
    """Its accuracy, its agreement with new labels, the calibration of its probabilities."""
    true = comparisons(test_pairs(), LABELLERS["careful"].label(test_pairs(), seed))
    fresh = LABELLERS[name].label(test_pairs(), seed + 10_000)
    a, b, right = reward_model.pair_rewards(model, true)
    labelled = torch.tensor(fresh)
    found = pairwise.calibration(a, b, labelled)
    return {
        "accuracy": round(float(pairwise.accuracy(a, b, right)), 4),
        "agreement": round(float(pairwise.accuracy(a, b, labelled)), 4),
        "surprise": round(float(pairwise.pairwise_loss(a, b, labelled)[0]), 4),
        "calibration_error": round(found.error, 4),
        "predicted": [round(float(x), 3) for x in found.predicted],
        "observed": [round(float(x), 3) for x in found.observed],
        "count": found.count.tolist(),
    }


def per_word(model: RewardModel) -> dict:
    """What it pays for a word, in points of true reward; and the reply that it likes best."""
    texts = list({(p.prompt, reply) for p in test_pairs() for reply in (p.a, p.b)})
    scores = reward_model.rewards(
        model,
        [concierge.prompt_tokens(prompt) for prompt, _ in texts],
        [concierge.reply_tokens(reply) for _, reply in texts],
    ).double()
    true = np.array([concierge.true_reward(*text) for text in texts])
    words = np.array([len(reply.split()) for _, reply in texts])
    columns = np.stack([true, words, np.ones(len(texts))], axis=1)
    (points, length, _), *_ = np.linalg.lstsq(columns, scores.numpy(), rcond=None)
    best: dict[str, int] = {}
    for i, (prompt, _) in enumerate(texts):
        if prompt not in best or scores[i] > scores[best[prompt]]:
            best[prompt] = i
    chosen = list(best.values())
    return {
        "per_word": round(float(length / points), 4),
        "favourite_words": round(float(words[chosen].mean()), 2),
        "favourite_true_reward": round(float(true[chosen].mean()), 3),
    }


def far_replies(seed: int) -> dict[str, list[tuple[str, str]]]:
    """Questions with replies like those of the staff, and with replies that nobody wrote."""
    rng = np.random.default_rng((seed, 9))
    near = [(pair.prompt, pair.a) for pair in test_pairs()[:200]]
    repeated = [(q, " ".join([reply.split(" . ")[0].removesuffix(" .") + " ."] * 6))
                for q, reply in near]  # fmt: skip
    shuffled = [(q, " ".join(rng.permutation(reply.split()))) for q, reply in near]
    return {"staff": near, "one sentence six times": repeated, "words shuffled": shuffled}


def ensemble_run(seed: int, members: int, steps: int) -> dict:
    """Spread of an ensemble, and its accuracy where all members agree and where they do not."""
    models = [train("noisy", 300, seed, steps=steps, member=i) for i in range(members)]
    ensemble = reward_model.Ensemble(models)
    spread, rewards, truth = {}, {}, {}
    for name, texts in far_replies(seed).items():
        prompts = [concierge.prompt_tokens(q) for q, _ in texts]
        replies = [concierge.reply_tokens(r) for _, r in texts]
        if name == "staff":  # each member has a zero of its own: that is no disagreement
            reward_model.center(ensemble, prompts, replies)
        found = reward_model.rewards(ensemble, prompts, replies)
        spread[name] = round(float(found.std(0).mean()), 4)
        rewards[name] = round(float(found.mean()), 4)
        truth[name] = round(float(np.mean([concierge.true_reward(*text) for text in texts])), 4)
    true = comparisons(test_pairs(), LABELLERS["careful"].label(test_pairs(), seed))
    a, b, right = reward_model.pair_rewards(ensemble, true)
    votes = (a > b).float().mean(0)
    agreed = (votes == 0) | (votes == 1)
    both = {}
    for name, keep in (("agreed", agreed), ("split", ~agreed), ("all", agreed | ~agreed)):
        mean = a.mean(0)[keep], b.mean(0)[keep]
        both[name] = round(float(pairwise.accuracy(*mean, right[keep])), 4)
    alone = [float(pairwise.accuracy(a[i], b[i], right)) for i in range(members)]
    return {
        "spread": spread,
        "rewards": rewards,
        "true_rewards": truth,
        "accuracy": both,
        "agreed_share": round(float(agreed.float().mean()), 4),
        "one_member": round(float(np.mean(alone)), 4),
    }


def values_of(model: RewardModel) -> dict[str, float]:
    """What it pays for one thing, all else equal: the mean over held-out questions."""
    asked = concierge_pairs.contrasts(concierge.questions()[1])
    paid = concierge_pairs.paid_for(reward_model.scorer(model), asked)
    return {name: round(float(x.mean()), 4) for name, x in paid.items()}


def thirty(seed: int) -> RewardModel:
    """The lesson's model: 30 designed pairs, labelled by a calm human who values what is true."""
    pairs = concierge_pairs.designed_pairs(concierge.questions()[0], 30, seed)
    calm = Labeller(concierge.true_reward, temperature=0.5)
    model = RewardModel.from_lm(language_model(), seed)
    config = Config(total_steps=30, batch_size=16, learning_rate=3e-4)
    for _ in reward_model.train(model, comparisons(pairs, calm.label(pairs, seed)), config, seed):
        pass
    return model


def reads_padding(seed: int, labels: int, right: RewardModel) -> dict:
    """A model that reads its reward in the last column of a batch, beside the right one."""
    wrong = exercises.last_token.mistake("reads the last column")
    found = {}
    broken = train("noisy", labels, seed, last_token=wrong)
    for name, model in (("right", right), ("last column", broken)):
        pairs = test_pairs()[:200]
        true = comparisons(pairs, LABELLERS["careful"].label(pairs, seed))
        prompts, first = [x.prompt for x in true], [x.a for x in true]
        together, alone = (reward_model.rewards(model, prompts, first, n) for n in (256, 1))
        other = reward_model.rewards(model, prompts, [x.b for x in true], 1)
        share = torch.tensor([x.share for x in true])
        batch = pairwise.accuracy(*reward_model.pair_rewards(model, true)[:2], share)
        found[name] = {
            "in_batches": round(float(batch), 4),
            "one_at_a_time": round(float(pairwise.accuracy(alone, other, share)), 4),
            "moved": round(float((together - alone).abs().mean() / together.std()), 4),
        }
    return found


def one_seed(seed: int, quick: bool) -> list[dict]:
    """Every run of one seed."""
    runs: list[dict] = []

    def keep(**run) -> None:
        runs.append({"seed": seed, **run})
        print({k: v for k, v in runs[-1].items() if not isinstance(v, list)}, flush=True)

    many = FEW if quick else MANY
    for name, numbers in CURVES.items():
        source, flip = ("careless", 0.2) if name == "corrected" else (name, 0.0)
        for labels in [n for n in numbers if n <= many or not quick]:
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
    seeds = [200] if quick else list(range(200, 205))
    runs = [run for seed in seeds for run in one_seed(seed, quick)]
    return {
        "seeds": seeds,
        "test_pairs": len(test_pairs()),
        "ceilings": {name: round(ceiling(one), 4) for name, one in LABELLERS.items()},
        "runs": runs,
    }


def truly_signed(paid: Sequence[dict[str, float]]) -> list[float]:
    """Per run: the share of traits whose price has the sign of the true one."""
    asked = concierge_pairs.contrasts(concierge.questions()[1])
    truth = concierge_pairs.truly_paid_for(concierge.true_reward, asked)
    return [float(np.mean([x[n] * truth[n].mean() > 0 for n in truth])) for x in paid]


def judge(result: dict) -> list[Goal]:
    quick = len(result["seeds"]) == 1
    many = FEW if quick else MANY

    def column(name: str, **wanted) -> list[float]:
        rows = [r for r in result["runs"] if all(r.get(k) == v for k, v in wanted.items())]
        return [row[name] for row in rows]

    def told(values: list[float], digits: int = 2) -> str:
        low, high = bootstrap_interval(values)
        return f"{np.mean(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    goals = []
    curve = partial(column, "accuracy", kind="curve")
    few, lots = curve(labeller="noisy", labels=30), curve(labeller="noisy", labels=many)
    goals.append(
        Goal(
            f"reward model, noisy labels: accuracy against the truth with 30 and with {many}",
            "95 % intervals apart",
            f"{told(few)} and {told(lots)}",
            bool(bootstrap_interval(few)[1] < bootstrap_interval(lots)[0]),
        )
    )
    agreement = column("agreement", kind="curve", labeller="noisy", labels=max(STEPS))
    if agreement:
        top = result["ceilings"]["noisy"]
        goals.append(
            Goal(
                f"reward model, {max(STEPS)} noisy labels: agreement with fresh labels; its "
                "accuracy against the truth",
                f"at most the ceiling of {top:.3f} + 0.03; accuracy above agreement",
                f"{told(agreement)}; {told(curve(labeller='noisy', labels=max(STEPS)))}",
                np.mean(agreement) <= top + 0.03
                and np.mean(curve(labeller="noisy", labels=max(STEPS))) > np.mean(agreement),
            )
        )
        plain, mended = (curve(labeller=n, labels=many) for n in ("careless", "corrected"))
        surprise = [
            column("calibration_error", kind="curve", labeller=n, labels=many)
            for n in ("careless", "corrected")
        ]
        goals.append(
            Goal(
                f"reward model, {many} labels of which a fifth is turned round: accuracy without "
                "and with correction",
                "reported",
                f"{told(plain)} and {told(mended)}; calibration error against careless labels "
                f"{told(surprise[0])} and {told(surprise[1])}",
                True,
            )
        )
    pays = {n: column("per_word", kind="length", labeller=n) for n in ("noisy", "long-winded")}
    above = sum(x > y for x, y in zip(pays["long-winded"], pays["noisy"], strict=True))
    bias = LABELLERS["long-winded"].length_bias
    goals.append(
        Goal(
            f"reward model, labeller who adds {bias:g} points per word: points it pays per word, "
            "beside one trained on unbiased labels",
            "intervals apart",
            f"{told(pays['long-winded'])} beside {told(pays['noisy'])}, more on {above} of "
            f"{len(result['seeds'])} seeds",
            bool(bootstrap_interval(pays["noisy"])[1] < bootstrap_interval(pays["long-winded"])[0]),
        )
    )
    steps = sorted({r["steps"] for r in result["runs"] if r["kind"] == "calibration"})
    errors = [column("calibration_error", kind="calibration", steps=n) for n in steps]
    goals.append(
        Goal(
            f"reward model, {many} noisy labels: calibration error after "
            f"{', '.join(map(str, steps))} updates",
            "larger at the end than in the middle, intervals apart",
            ", ".join(told(x) for x in errors),
            bool(bootstrap_interval(errors[-2])[1] < bootstrap_interval(errors[-1])[0]),
        )
    )
    spreads = column("spread", kind="ensemble")
    ratios = {
        name: [s[name] / s["staff"] for s in spreads] for name in spreads[0] if name != "staff"
    }
    goals.append(
        Goal(
            "ensemble of reward models: spread on replies that nobody wrote, over the spread on "
            "those of the staff",
            "reported",
            "; ".join(f"{name} {told(x)}" for name, x in ratios.items()),
            True,
        )
    )
    twice = "one sentence six times"
    rewards, truth = (column(name, kind="ensemble") for name in ("rewards", "true_rewards"))
    goals.append(
        Goal(
            "ensemble of reward models: mean reward of one sentence six times, above that of the "
            "staff; the true one",
            "reported",
            f"{told([r[twice] - r['staff'] for r in rewards])}; "
            f"{np.mean([t[twice] - t['staff'] for t in truth]):.2f}",
            True,
        )
    )
    for labels in (30, many):
        paid = column("paid", kind="values", labels=labels)
        signs = truly_signed(paid)
        goals.append(
            Goal(
                f"reward model, {labels} labels: share of seven traits paid for with the sign of "
                "the true reward",
                "reported",
                told(signs),
                True,
            )
        )
    bug = [run["last column"] for run in result["runs"] if run["kind"] == "padding"]
    goals.append(
        Goal(
            "reward model that reads the last column: a reward's move when the reply stands alone",
            "at least 0.1 standard deviations on every seed",
            told([run["moved"] for run in bug]),
            all(run["moved"] >= 0.1 for run in bug),
        )
    )
    parts = column("accuracy", kind="ensemble")
    goals.append(
        Goal(
            "ensemble of reward models: accuracy where all members agree and where they do not",
            "intervals apart",
            " and ".join(told([p[name] for p in parts]) for name in ("agreed", "split")),
            bool(
                bootstrap_interval([p["split"] for p in parts])[1]
                < bootstrap_interval([p["agreed"] for p in parts])[0]
            ),
        )
    )
    return goals
