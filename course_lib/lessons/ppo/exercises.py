"""Exercises of lesson 04: PPO's loss part by part, and the density of a continuous action."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.check import Case, Exercise
from course_lib.lessons.ppo import build
from course_lib.rl import distributions, losses


def _row(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32)


def _logs(*numbers: float) -> Tensor:
    return _row(*(math.log(x) for x in numbers))


def _ratio_cases(rng: np.random.Generator) -> list[Case]:
    # Ground truth: divide probabilities drawn at random, and take logarithms only for the question.
    new, old = rng.uniform(0.1, 0.9, size=(2, 5))
    return [
        Case("nothing has changed", (_row(-0.7, -2.0), _row(-0.7, -2.0)), _row(1.0, 1.0)),
        Case(
            "from 0.5 to 0.25, and from 0.2 to 0.6",
            (_logs(0.25, 0.6), _logs(0.5, 0.2)),
            _row(0.5, 3.0),
        ),
        Case(
            "log-probabilities of -200, as those of a long sentence",
            (_row(-200.0), _row(-200.5)),
            _row(1.6487213),
        ),
        Case("densities may exceed 1", (_logs(6.0), _logs(4.0)), _row(1.5)),
        Case("five random actions", (_logs(*new), _logs(*old)), _row(*(new / old))),
    ]


probability_ratio = Exercise(
    reference=losses.probability_ratio,
    differentiated="logp",
    cases=_ratio_cases,
    edits="""
        divides the logarithms: `torch.exp(logp - old_logp)` becomes `logp / old_logp`. You divided
            one logarithm by the other. The logarithm of a quotient is a *difference* of logarithms:
            subtract them, then take `exp`.

        upside down: `logp - old_logp` becomes `old_logp - logp`. Your ratio is upside down. The
            present policy stands above the line: an action that has become more probable has a
            ratio above 1.

        stops at the logarithm: `torch.exp(logp - old_logp)` becomes `logp - old_logp`. That is the
            logarithm of the ratio: an unchanged action gets 0 where the ratio is 1. Take `exp` of
            it.

        divides the probabilities: `logp - old_logp` becomes `logp) / torch.exp(old_logp`. You took
            `exp` of each logarithm before dividing. With log-probabilities of -200 both are 0 in
            float32, and 0/0 is NaN. Subtract first, take `exp` once.

        subtracts the probabilities: `logp - old_logp` becomes `logp) - torch.exp(old_logp`. You
            subtracted the probabilities. The ratio says how many *times* as probable the action is.
    """,
    hints=(
        "You get logarithms: log pi and log pi_old. What is the logarithm of pi / pi_old?",
        "log(pi / pi_old) = log pi - log pi_old. `torch.exp` takes the logarithm away.",
        "`torch.exp(logp - old_logp)`",
    ),
)


def _surrogate_by_hand(ratio: float, advantage: float, clip: float) -> float:
    """The two branches written out: a good action stops counting above, a bad one below."""
    if advantage >= 0:
        return -advantage * (ratio if ratio < 1 + clip else 1 + clip)
    return -advantage * (ratio if ratio > 1 - clip else 1 - clip)


def _surrogate_cases(rng: np.random.Generator) -> list[Case]:
    ratio, advantages = rng.uniform(0.3, 1.8, size=6), rng.normal(size=6)
    clip = float(rng.uniform(0.1, 0.3))
    expected = [_surrogate_by_hand(r, a, clip) for r, a in zip(ratio, advantages, strict=True)]
    return [
        Case("just chosen: every ratio is 1", (_row(1.0, 1.0), _row(2.0, -3.0), 0.2), _row(-2, 3)),
        Case("good, and within the clip", (_row(1.1), _row(2.0), 0.2), _row(-2.2)),
        Case("good, and already much more probable", (_row(1.5), _row(2.0), 0.2), _row(-2.4)),
        Case("good, but less probable: all wrong", (_row(0.5), _row(2.0), 0.2), _row(-1.0)),
        Case("bad, and already much less probable", (_row(0.5), _row(-2.0), 0.2), _row(1.6)),
        Case("bad, but more probable: all wrong", (_row(1.5), _row(-2.0), 0.2), _row(3.0)),
        Case("a wider clip", (_row(1.4, 2.0), _row(2.0, 2.0), 0.5), _row(-2.8, -3.0)),
        Case("six random rows", (_row(*ratio), _row(*advantages), clip), _row(*expected)),
    ]


clipped_surrogate = Exercise(
    reference=losses.clipped_surrogate,
    differentiated="ratio",
    cases=_surrogate_cases,
    edits="""
        forgets the sign: `-torch.min` becomes `torch.min`. That is the objective, which should
            grow. A loss is *minimised*: put a minus before it, or training makes good actions
            rarer.

        takes the larger: `torch.min` becomes `torch.max`. You let the larger of the two objectives
            count. Then the clip never takes a reward away, and it removes the gradient where the
            ratio has moved in the *wrong* direction. Take the smaller objective (or the larger of
            the two losses).

        clips everywhere: `-torch.min(ratio * advantages,` becomes `-(`. You kept only the clipped
            objective. A row whose ratio has moved far in the wrong direction then has no gradient
            to bring it back. Take the minimum of both.

        never clips: `ratio.clamp(1 - clip, 1 + clip)` becomes `ratio`. Nothing is clipped: the
            further a ratio moves, the more it pays. Compare with
            `ratio.clamp(1 - clip, 1 + clip) * advantages` and take the smaller.

        takes the smaller ratio: `ratio * advantages,` becomes `ratio,`, `1 + clip) * advantages)`
            becomes `1 + clip)) * advantages`. You took the smaller *ratio*. With a negative
            advantage the smaller ratio gives the larger objective. Multiply both by the advantage
            first, then take the minimum.

        clips the product: `ratio.clamp(1 - clip, 1 + clip) * advantages` becomes
            `(ratio * advantages).clamp(1 - clip, 1 + clip)`. You clipped ratio times advantage.
            Only the ratio lives around 1: clip it, and multiply by the advantage afterwards.

        clips only above: `1 - clip, 1 + clip` becomes `max=1 + clip`. You limited the ratio only
            from above. A bad action pays by becoming rarer: there the lower limit, `1 - clip`, is
            the one that counts.

        clips only below: `1 - clip, 1 + clip` becomes `min=1 - clip`. You limited the ratio only
            from below. A good action pays by becoming more probable: there the upper limit,
            `1 + clip`, is the one that counts.

        clips around zero: `1 - clip, 1 + clip` becomes `-clip, clip`. You clipped the ratio to
            ±clip. An unchanged policy has ratio 1, so the limits are `1 - clip` and `1 + clip`.

        zero beyond the clip: `1 + clip) * advantages)` becomes
            `1 + clip) * advantages) * ((ratio - 1) * advantages.sign() <= clip)`. Beyond the clip
            you return 0. The *gradient* is 0 there; the objective stays at its limit,
            (1 ± clip) * advantages.

        averages: `1 + clip) * advantages)` becomes `1 + clip) * advantages).mean()`. You averaged
            over the rows. Return one number per row: `ppo_loss` takes the mean, since it knows
            which rows count.
    """,
    hints=(
        "Compute two objectives per row: `ratio * advantages`, and the same with the ratio kept "
        "between `1 - clip` and `1 + clip`.",
        "`ratio.clamp(low, high)` keeps a tensor within limits; `torch.min(a, b)` takes the "
        "smaller of two tensors row by row. The smaller objective counts.",
        "`-torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)`",
    ),
)


def _value_cases(rng: np.random.Generator) -> list[Case]:
    two, one = _row(2.0), _row(1.0)
    values, targets, old = rng.normal(size=(3, 6))
    old[:3] = values[:3] + rng.uniform(0.5, 1.0, size=3)  # moved beyond any clip drawn below
    targets[0], targets[1] = values[0] - 1, old[1] + 1  # one moved towards its target, one away
    clip = float(rng.uniform(0.1, 0.4))
    expected = []
    for v, t, o in zip(values, targets, old, strict=True):  # number by number, without tensors
        kept = min(max(v, o - clip), o + clip)
        expected.append(max(abs(v - t), abs(kept - t)) ** 2 / 2)
    drawn = (_row(*values), _row(*targets), _row(*old), clip)
    return [
        Case("without a clip", (_row(3.0, 0.0), _row(1.0, 1.0), None, None), _row(2.0, 0.5)),
        Case(
            "without a clip, though the old values are known",
            (_row(3.0, 0.0), _row(1.0, 1.0), _row(1.0, 2.0), None),
            _row(2.0, 0.5),
        ),
        Case("moved a little", (_row(1.1), two, one, 0.2), _row(0.405)),
        Case("moved far, towards its target", (_row(1.5), two, one, 0.2), _row(0.32)),
        Case("moved far, away from its target", (_row(0.5), two, one, 0.2), _row(1.125)),
        Case("moved far, through its target", (_row(4.0), two, one, 0.2), _row(2.0)),
        Case("six random rows", drawn, _row(*expected)),
    ]


value_loss = Exercise(
    reference=losses.value_loss,
    differentiated="values",
    cases=_value_cases,
    edits="""
        forgets the half: `0.5 * squared` becomes `squared`. Your loss is twice as large. With the
            factor 0.5 the gradient is the error itself, and `value_coef` means what it means
            elsewhere.

        takes the smaller: `torch.max` becomes `torch.min`. You let the smaller of the two errors
            count. A value that has moved away from its target then has no gradient to bring it
            back. Take the *larger* error.

        only the clipped error: `torch.max(squared, (near - targets) ** 2)` becomes
            `(near - targets) ** 2`. You kept only the error of the clipped value. Once a value has
            moved further than `clip`, it has no gradient at all, even where it moved away from its
            target. Compare with the plain error and take the larger.

        never clips: `torch.max(squared, (near - targets) ** 2)` becomes `squared`. `clip` changes
            nothing in your version. With a clip, compare with the error of
            `old_values + (values - old_values).clamp(-clip, clip)`: the value kept near the *old
            value*, not near the target.

        clips the error: `torch.max(squared, (near - targets) ** 2)` becomes
            `(values - targets).clamp(-clip, clip) ** 2`. You clipped the error. What is clipped is
            how far a value has moved from its *old* value:
            `old_values + (values - old_values).clamp(-clip, clip)`.

        keeps the value near zero: `old_values + (values - old_values).clamp` becomes
            `values.clamp`. You kept the value itself within ±clip. What is limited is how far it
            moves: `old_values + (values - old_values).clamp(-clip, clip)`.

        learns from the old values: `torch.max(squared, (near - targets) ** 2)` becomes
            `(values - old_values) ** 2`. You drew the values towards `old_values`, what the network
            used to say. They should learn from `targets`, what really came.

        averages: `0.5 * squared` becomes `0.5 * squared.mean()`. You averaged over the rows. Return
            one number per row: `ppo_loss` takes the mean, since it knows which rows count.
    """,
    hints=(
        "Without a clip this is half the squared error: `0.5 * (values - targets) ** 2`.",
        "With a clip, a second candidate is the value kept near its old one: "
        "`near = old_values + (values - old_values).clamp(-clip, clip)`.",
        "`squared = (values - targets) ** 2`; with a clip, "
        "`squared = torch.max(squared, (near - targets) ** 2)`; return `0.5 * squared`.",
    ),
)


def _kl_cases(rng: np.random.Generator) -> list[Case]:
    # Ground truth from the probabilities themselves, in double precision.
    new, old = rng.uniform(0.05, 0.95, size=(2, 6))
    expected = new / old - 1 - np.log(new / old)
    return [
        Case("nothing has changed", (_row(-0.3, -4.0), _row(-0.3, -4.0)), _row(0.0, 0.0)),
        Case("twice as probable: 2 - 1 - log 2", (_logs(1.0), _logs(0.5)), _row(0.3068528)),
        Case("half as probable: 1/2 - 1 + log 2", (_logs(0.5), _logs(1.0)), _row(0.1931472)),
        Case(
            "log-probabilities of -200, as those of a long sentence",
            (_row(-200.0), _row(-200.5)),
            _row(0.1487213),
        ),
        Case("six random actions", (_logs(*new), _logs(*old)), _row(*expected), atol=1e-5),
    ]


approx_kl = Exercise(
    reference=losses.approx_kl,
    cases=_kl_cases,
    edits="""
        the plain estimate: `torch.expm1(log_ratio) - log_ratio` becomes `-log_ratio`. That is -log
            r, also an unbiased estimate (k1), but a noisy one: it is negative for every action that
            became more probable. Add `r - 1`, whose mean is 0: the mean stays and the noise goes.

        weighs by the probability: `torch.expm1(log_ratio) - log_ratio` becomes
            `-torch.exp(old_logp) * log_ratio`. You multiplied by the probability, as in the sum
            over *all* actions. These actions were drawn: likely ones come up more often already.

        divides the probabilities: `logp - old_logp` becomes
            `torch.log(torch.exp(logp) / torch.exp(old_logp))`. You took `exp` of each logarithm
            before dividing. With log-probabilities of -200 both are 0 in float32, and 0/0 is NaN.
            Subtract first: `log_ratio = logp - old_logp`.

        measures the other way round: `logp - old_logp` becomes `old_logp - logp`. Your r is upside
            down. The actions were drawn from the old policy, so the ratio is pi / pi_old:
            `torch.exp(logp - old_logp)`.

        the mean over the new policy: `torch.expm1(log_ratio) - log_ratio` becomes
            `torch.exp(log_ratio) * log_ratio`. That is r log r, whose mean is the KL the other way
            round, KL(pi || pi_old), and it is negative where r < 1. Start from -log r and add
            something whose mean is 0.

        turns the sign: `torch.expm1(log_ratio) - log_ratio` becomes
            `log_ratio - torch.expm1(log_ratio)`. Your estimate is never positive; a distance is
            never negative. Turn the sign: `(r - 1) - log r`.

        half the square: `torch.expm1(log_ratio) - log_ratio` becomes `0.5 * log_ratio**2`. That is
            half the squared log-ratio (k2). It is close while the policies are close, but its mean
            is not the KL. Use `(r - 1) - log r`.

        leaves out the logarithm: ` - log_ratio` goes. You returned `r - 1`. Its mean over actions
            of the old policy is 0 however far the policies are apart. Subtract `log r`.

        averages: `torch.expm1(log_ratio) - log_ratio` becomes
            `(torch.expm1(log_ratio) - log_ratio).mean()`. You averaged over the rows. Return one
            number per row: `ppo_loss` takes the mean, since it knows which rows count.
    """,
    hints=(
        "Start with the logarithm of the ratio, `log_ratio = logp - old_logp`, and r = exp of it. "
        "At r = 1 the estimate is 0 for every c; to stay above 0 on both sides, it needs a slope "
        "of 0 there.",
        "The slope of -log r + c (r - 1) at r = 1 is c - 1, so c is 1: k3 is `(r - 1) - log r`. It "
        "is never negative, since log r <= r - 1.",
        "`torch.exp(log_ratio) - 1 - log_ratio`; `torch.expm1` does the first two in one, without "
        "losing digits near 0.",
    ),
)


def _gaussian_cases(rng: np.random.Generator) -> list[Case]:
    actions, mean = rng.normal(size=(2, 4, 3))
    std = np.exp(rng.uniform(-0.7, 0.5, size=3))
    # Independent numbers: multiply the densities, and take the logarithm at the very end.
    densities = [
        [NormalDist(*bell).pdf(a) for a, *bell in zip(row, centre, std, strict=True)]
        for row, centre in zip(actions, mean, strict=True)
    ]
    drawn = (*(torch.tensor(x, dtype=torch.float32) for x in (actions, mean)), _logs(*std))
    # The density of a standard normal at its mean is 1 / sqrt(2 pi): its logarithm is -0.9189385.
    return [
        Case("one number, at the mean", (_row(0)[None], _row(0)[None], _row(0)), _row(-0.9189385)),
        Case(
            "two numbers, each one standard deviation away",
            (_row(3, 0)[None], _row(2, 1)[None], _row(0, 0)),
            _row(-2 * 0.9189385 - 1.0),
        ),
        Case(
            "twenty standard deviations away: its density is too small for float32",
            (_row(20)[None], _row(0)[None], _row(0)),
            _row(-0.9189385 - 200.0),
        ),
        Case(
            "narrow: standard deviation 0.1, density above 1",
            (_row(0.1)[None], _row(0)[None], _logs(0.1)),
            _row(-0.9189385 - 0.5 + math.log(10)),
        ),
        Case(
            "wide: standard deviations 2 and 4",
            (_row(2, 4)[None], _row(0, 0)[None], _logs(2, 4)),
            _row(-2 * 0.9189385 - 1.0 - math.log(8)),
        ),
        Case(
            "four random actions of three numbers",
            drawn,
            _logs(*(math.prod(factors) for factors in densities)),
            atol=1e-5,
        ),
    ]


gaussian_logp = Exercise(
    reference=distributions.gaussian_logp,
    differentiated="mean log_std",
    cases=_gaussian_cases,
    edits="""
        one per dimension: `.sum(-1)` goes. You returned one number per dimension, (B, D). One
            action is D numbers drawn together: add their log-densities up with `.sum(-1)` and
            return (B,).

        averages the dimensions: `.sum(-1)` becomes `.mean(-1)`. You averaged over the dimensions.
            Densities of independent numbers multiply, so their logarithms *add*: `.sum(-1)`. With
            the mean, each ratio would be its own D-th root.

        sums the whole batch: `.sum(-1)` becomes `.sum()`. You added all rows of the batch into one
            number. Add over the last axis alone: `.sum(-1)`.

        sums the wrong axis: `.sum(-1)` becomes `.sum(0)`. You added over the rows of the batch, and
            one number per dimension is left, (D,). The numbers of one action stand along the last
            axis: `.sum(-1)` returns (B,).

        forgets to square the width: `(actions - mean) * torch.exp(-log_std)` becomes
            `(actions - mean) * torch.exp(-0.5 * log_std)`. The variance is the *square* of the
            standard deviation: (a - mean)^2 is divided by exp(log_std) squared. Divide by
            exp(log_std) before you square, and it takes care of itself.

        takes log_std for the log-variance: `torch.exp(-log_std)` becomes
            `torch.exp(-0.5 * log_std)`, `- log_std)` becomes `- 0.5 * log_std)`. You took
            `exp(log_std)` for the variance. It is the standard deviation: divide by it *before*
            squaring, and subtract the whole `log_std`.

        multiplies by the width: `torch.exp(-log_std)` becomes `torch.exp(log_std)`. You multiplied
            by the standard deviation. A distance is counted *in* standard deviations: divide by
            `torch.exp(log_std)`.

        adds the width: `) - log_std)` becomes `) + log_std)`. The sign of `log_std` is wrong: a
            wide bell is low, so it is subtracted.

        divides by log_std: `* torch.exp(-log_std)` becomes `/ log_std`. You divided by `log_std`, a
            logarithm, which may be 0 or negative. The standard deviation is `torch.exp(log_std)`.

        forgets the constant: ` + math.log(2 * math.pi)` goes. The constant is missing: each
            dimension also has `-0.5 * log(2 * pi)`. Ratios would survive that; the log-probability
            itself is wrong.

        one constant for all dimensions: `scaled**2 + math.log(2 * math.pi)` becomes `scaled**2`,
            `.sum(-1)` becomes `.sum(-1) - 0.5 * math.log(2 * math.pi)`. You subtracted the constant
            once. Each of the D dimensions has one: add it before the sum.

        forgets the width: `) - log_std)` becomes `))`. A wide bell is low: `- log_std` is missing.
            Without it, widening the bell would make every action more probable.

        takes the logarithm of a density: `.sum(-1)` becomes `.exp().prod(-1).log()`. You took the
            logarithm of a finished density. Far from the mean the density is 0 in float32, whose
            logarithm is minus infinity. Take the logarithm on paper first; what is a product of
            densities becomes a sum.

        forgets the logarithm: `.sum(-1)` becomes `.sum(-1).exp()`. You returned the density. Its
            *logarithm* is asked for.
    """,
    hints=(
        "How many standard deviations is each number from its mean? "
        "`(actions - mean) / torch.exp(log_std)`.",
        "The log-density of one dimension is `-0.5 * scaled**2 - log_std - 0.5 * log(2 * pi)`.",
        "Add the dimensions up: `.sum(-1)` over all three terms. "
        "`math.log(2 * math.pi)` gives the constant.",
    ),
)

learn_from_rollout = build.learn_from_rollout
