"""Exercises of lesson 04: PPO's loss part by part, and the density of a continuous action."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.rl import distributions, losses


def _row(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32)


# --- How much more probable an action has become -----------------------------------------------


def _ratio_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        Case("nothing has changed", (_row(-0.7, -2.0), _row(-0.7, -2.0)), _row(1.0, 1.0)),
        Case(
            "from 0.5 to 0.25, and from 0.2 to 0.6",
            (_row(math.log(0.25), math.log(0.6)), _row(math.log(0.5), math.log(0.2))),
            _row(0.5, 3.0),
        ),
        Case(
            "log-probabilities of -200, as those of a long sentence",
            (_row(-200.0), _row(-200.5)),
            _row(1.6487213),
        ),
        Case("densities may exceed 1", (_row(math.log(6.0)), _row(math.log(4.0))), _row(1.5)),
    ]
    # Ground truth: divide probabilities drawn at random, and take logarithms only for the question.
    new, old = rng.uniform(0.1, 0.9, size=(2, 5))
    args = tuple(_row(*(math.log(p) for p in side)) for side in (new, old))
    return [*hand, Case("five random actions", args, _row(*(new / old)))]


probability_ratio = Exercise(
    reference=losses.probability_ratio,
    cases=_ratio_cases,
    mistakes=(
        Mistake(
            "divides the logarithms",
            lambda logp, old_logp: logp / old_logp,
            "You divided one logarithm by the other. The logarithm of a quotient is a *difference* "
            "of logarithms: subtract them, then take `exp`.",
        ),
        Mistake(
            "upside down",
            lambda logp, old_logp: torch.exp(old_logp - logp),
            "Your ratio is upside down. The present policy stands above the line: an action that "
            "has become more probable has a ratio above 1.",
        ),
        Mistake(
            "stops at the logarithm",
            lambda logp, old_logp: logp - old_logp,
            "That is the logarithm of the ratio: an unchanged action gets 0 where the ratio is 1. "
            "Take `exp` of it.",
        ),
        Mistake(
            "divides the probabilities",
            lambda logp, old_logp: torch.exp(logp) / torch.exp(old_logp),
            "You took `exp` of each logarithm before dividing. With log-probabilities of -200 both "
            "are 0 in float32, and 0/0 is NaN. Subtract first, take `exp` once.",
        ),
        Mistake(
            "subtracts the probabilities",
            lambda logp, old_logp: torch.exp(logp) - torch.exp(old_logp),
            "You subtracted the probabilities. The ratio says how many *times* as probable the "
            "action is.",
        ),
    ),
    hints=(
        "You get logarithms: log pi and log pi_old. What is the logarithm of pi / pi_old?",
        "log(pi / pi_old) = log pi - log pi_old. `torch.exp` takes the logarithm away.",
        "`torch.exp(logp - old_logp)`",
    ),
)


# --- The clipped objective ---------------------------------------------------------------------


def _surrogate_by_hand(ratio: float, advantage: float, clip: float) -> float:
    """The two branches written out: a good action stops counting above, a bad one below."""
    if advantage >= 0:
        return -advantage * (ratio if ratio < 1 + clip else 1 + clip)
    return -advantage * (ratio if ratio > 1 - clip else 1 - clip)


def _surrogate_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        Case("just chosen: every ratio is 1", (_row(1.0, 1.0), _row(2.0, -3.0), 0.2), _row(-2, 3)),
        Case("good, and within the clip", (_row(1.1), _row(2.0), 0.2), _row(-2.2)),
        Case("good, and already much more probable", (_row(1.5), _row(2.0), 0.2), _row(-2.4)),
        Case("good, but less probable: all wrong", (_row(0.5), _row(2.0), 0.2), _row(-1.0)),
        Case("bad, and already much less probable", (_row(0.5), _row(-2.0), 0.2), _row(1.6)),
        Case("bad, but more probable: all wrong", (_row(1.5), _row(-2.0), 0.2), _row(3.0)),
    ]
    ratio, advantages = rng.uniform(0.3, 1.8, size=6), rng.normal(size=6)
    clip = float(rng.uniform(0.1, 0.3))
    expected = [_surrogate_by_hand(r, a, clip) for r, a in zip(ratio, advantages, strict=True)]
    drawn = Case("six random rows", (_row(*ratio), _row(*advantages), clip), _row(*expected))
    return [*hand, drawn]


clipped_surrogate = Exercise(
    reference=losses.clipped_surrogate,
    cases=_surrogate_cases,
    mistakes=(
        Mistake(
            "forgets the sign",
            lambda ratio, advantages, clip: torch.min(
                ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
            ),
            "That is the objective, which should grow. A loss is *minimised*: put a minus before "
            "it, or training makes good actions rarer.",
        ),
        Mistake(
            "takes the larger",
            lambda ratio, advantages, clip: (
                -torch.max(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
            ),
            "You let the larger of the two objectives count. Then the clip never takes a reward "
            "away, and it removes the gradient where the ratio has moved in the *wrong* direction. "
            "Take the smaller objective (or the larger of the two losses).",
        ),
        Mistake(
            "clips everywhere",
            lambda ratio, advantages, clip: -ratio.clamp(1 - clip, 1 + clip) * advantages,
            "You kept only the clipped objective. A row whose ratio has moved far in the wrong "
            "direction then has no gradient to bring it back. Take the minimum of both.",
        ),
        Mistake(
            "never clips",
            lambda ratio, advantages, clip: -ratio * advantages,
            "Nothing is clipped: the further a ratio moves, the more it pays. Compare with "
            "`ratio.clamp(1 - clip, 1 + clip) * advantages` and take the smaller.",
        ),
        Mistake(
            "takes the smaller ratio",
            lambda ratio, advantages, clip: (
                -torch.min(ratio, ratio.clamp(1 - clip, 1 + clip)) * advantages
            ),
            "You took the smaller *ratio*. With a negative advantage the smaller ratio gives the "
            "larger objective. Multiply both by the advantage first, then take the minimum.",
        ),
        Mistake(
            "clips the product",
            lambda ratio, advantages, clip: (
                -torch.min(ratio * advantages, (ratio * advantages).clamp(1 - clip, 1 + clip))
            ),
            "You clipped ratio times advantage. Only the ratio lives around 1: clip it, and "
            "multiply by the advantage afterwards.",
        ),
        Mistake(
            "clips around zero",
            lambda ratio, advantages, clip: (
                -torch.min(ratio * advantages, ratio.clamp(-clip, clip) * advantages)
            ),
            "You clipped the ratio to ±clip. An unchanged policy has ratio 1, so the limits are "
            "`1 - clip` and `1 + clip`.",
        ),
        Mistake(
            "averages",
            lambda ratio, advantages, clip: (
                -torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()
            ),
            "You averaged over the rows. Return one number per row: `ppo_loss` takes the mean, "
            "since it knows which rows count.",
        ),
    ),
    hints=(
        "Compute two objectives per row: `ratio * advantages`, and the same with the ratio kept "
        "between `1 - clip` and `1 + clip`.",
        "`ratio.clamp(low, high)` keeps a tensor within limits; `torch.min(a, b)` takes the "
        "smaller of two tensors row by row. The smaller objective counts.",
        "`-torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)`",
    ),
)


# --- What the values learn from ----------------------------------------------------------------


def _value_cases(rng: np.random.Generator) -> list[Case]:
    two, one = _row(2.0), _row(1.0)
    hand = [
        Case("without a clip", (_row(3.0, 0.0), _row(1.0, 1.0), None, None), _row(2.0, 0.5)),
        Case("moved a little", (_row(1.1), two, one, 0.2), _row(0.405)),
        Case("moved far, towards its target", (_row(1.5), two, one, 0.2), _row(0.32)),
        Case("moved far, away from its target", (_row(0.5), two, one, 0.2), _row(1.125)),
        Case("moved far, through its target", (_row(4.0), two, one, 0.2), _row(2.0)),
    ]
    values, targets, old = rng.normal(size=(3, 6))
    old[:3] = values[:3] + rng.uniform(0.5, 1.0, size=3)  # moved beyond any clip drawn below
    targets[0], targets[1] = values[0] - 1, old[1] + 1  # one moved towards its target, one away
    clip = float(rng.uniform(0.1, 0.4))
    expected = []
    for v, t, o in zip(values, targets, old, strict=True):  # number by number, without tensors
        kept = min(max(v, o - clip), o + clip)
        expected.append(max(abs(v - t), abs(kept - t)) ** 2 / 2)
    args = (_row(*values), _row(*targets), _row(*old), clip)
    return [*hand, Case("six random rows", args, _row(*expected))]


def _near(values: Tensor, old_values: Tensor, clip: float) -> Tensor:
    return old_values + (values - old_values).clamp(-clip, clip)


def _takes_the_smaller(values, targets, old_values, clip):
    squared = (values - targets) ** 2
    if clip is not None:
        squared = torch.min(squared, (_near(values, old_values, clip) - targets) ** 2)
    return 0.5 * squared


def _only_the_clipped(values, targets, old_values, clip):
    near = values if clip is None else _near(values, old_values, clip)
    return 0.5 * (near - targets) ** 2


def _clips_the_error(values, targets, old_values, clip):
    error = values - targets
    return 0.5 * (error if clip is None else error.clamp(-clip, clip)) ** 2


def _forgets_the_half(values, targets, old_values, clip):
    squared = (values - targets) ** 2
    if clip is None:
        return squared
    return torch.max(squared, (_near(values, old_values, clip) - targets) ** 2)


def _learns_from_the_old(values, targets, old_values, clip):
    return 0.5 * (values - (targets if old_values is None else old_values)) ** 2


value_loss = Exercise(
    reference=losses.value_loss,
    cases=_value_cases,
    mistakes=(
        Mistake(
            "forgets the half",
            _forgets_the_half,
            "Your loss is twice as large. With the factor 0.5 the gradient is the error itself, "
            "and `value_coef` means what it means elsewhere.",
        ),
        Mistake(
            "takes the smaller",
            _takes_the_smaller,
            "You let the smaller of the two errors count. A value that has moved away from its "
            "target then has no gradient to bring it back. Take the *larger* error.",
        ),
        Mistake(
            "only the clipped error",
            _only_the_clipped,
            "You kept only the error of the clipped value. Once a value has moved further than "
            "`clip`, it has no gradient at all, even where it moved away from its target. "
            "Compare with the plain error and take the larger.",
        ),
        Mistake(
            "never clips",
            lambda values, targets, old_values, clip: 0.5 * (values - targets) ** 2,
            "`clip` changes nothing in your version. With a clip, compare with the error of "
            "`old_values + (values - old_values).clamp(-clip, clip)`: the value kept near the "
            "*old value*, not near the target.",
        ),
        Mistake(
            "clips the error",
            _clips_the_error,
            "You clipped the error. What is clipped is how far a value has moved from its *old* "
            "value: `old_values + (values - old_values).clamp(-clip, clip)`.",
        ),
        Mistake(
            "learns from the old values",
            _learns_from_the_old,
            "You drew the values towards `old_values`, what the network used to say. They should "
            "learn from `targets`, what really came.",
        ),
        Mistake(
            "averages",
            lambda values, targets, old_values, clip: (
                _forgets_the_half(values, targets, old_values, clip).mean() / 2
            ),
            "You averaged over the rows. Return one number per row: `ppo_loss` takes the mean, "
            "since it knows which rows count.",
        ),
    ),
    hints=(
        "Without a clip this is half the squared error: `0.5 * (values - targets) ** 2`.",
        "With a clip, a second candidate is the value kept near its old one: "
        "`near = old_values + (values - old_values).clamp(-clip, clip)`.",
        "`squared = (values - targets) ** 2`; with a clip, "
        "`squared = torch.max(squared, (near - targets) ** 2)`; return `0.5 * squared`.",
    ),
)


# --- How far the policy has moved --------------------------------------------------------------


def _kl_cases(rng: np.random.Generator) -> list[Case]:
    half, whole = math.log(0.5), 0.0
    hand = [
        Case("nothing has changed", (_row(-0.3, -4.0), _row(-0.3, -4.0)), _row(0.0, 0.0)),
        Case("twice as probable: 2 - 1 - log 2", (_row(whole), _row(half)), _row(0.3068528)),
        Case("half as probable: 1/2 - 1 + log 2", (_row(half), _row(whole)), _row(0.1931472)),
    ]
    # Ground truth from the probabilities themselves, in double precision.
    new, old = rng.uniform(0.05, 0.95, size=(2, 6))
    args = tuple(_row(*(math.log(p) for p in side)) for side in (new, old))
    expected = [n / o - 1 - math.log(n / o) for n, o in zip(new, old, strict=True)]
    return [*hand, Case("six random actions", args, _row(*expected), atol=1e-5)]


approx_kl = Exercise(
    reference=losses.approx_kl,
    cases=_kl_cases,
    mistakes=(
        Mistake(
            "the plain estimate",
            lambda logp, old_logp: old_logp - logp,
            "That is -log r, also an unbiased estimate (k1), but a noisy one: it is negative for "
            "every action that became more probable. Add `r - 1`, whose mean is 0: the mean stays "
            "and the noise goes.",
        ),
        Mistake(
            "measures the other way round",
            lambda logp, old_logp: torch.exp(old_logp - logp) - 1 - (old_logp - logp),
            "Your r is upside down. The actions were drawn from the old policy, so the ratio is "
            "pi / pi_old: `torch.exp(logp - old_logp)`.",
        ),
        Mistake(
            "turns the sign",
            lambda logp, old_logp: (logp - old_logp) - (torch.exp(logp - old_logp) - 1),
            "Your estimate is never positive; a distance is never negative. Turn the sign: "
            "`(r - 1) - log r`.",
        ),
        Mistake(
            "half the square",
            lambda logp, old_logp: 0.5 * (logp - old_logp) ** 2,
            "That is half the squared log-ratio (k2). It is close while the policies are close, "
            "but its mean is not the KL. Use `(r - 1) - log r`.",
        ),
        Mistake(
            "leaves out the logarithm",
            lambda logp, old_logp: torch.exp(logp - old_logp) - 1,
            "You returned `r - 1`. Its mean over actions of the old policy is 0 however far the "
            "policies are apart. Subtract `log r`.",
        ),
        Mistake(
            "averages",
            lambda logp, old_logp: (torch.exp(logp - old_logp) - 1 - (logp - old_logp)).mean(),
            "You averaged over the rows. Return one number per row: `ppo_loss` takes the mean, "
            "since it knows which rows count.",
        ),
    ),
    hints=(
        "Start with the logarithm of the ratio, `log_ratio = logp - old_logp`, and r = exp of it.",
        "k3 is `(r - 1) - log r`: 0 at r = 1 and positive on both sides.",
        "`torch.exp(log_ratio) - 1 - log_ratio`; `torch.expm1` does the first two in one, without "
        "losing digits near 0.",
    ),
)


# --- The log-density of a continuous action ----------------------------------------------------


def _gaussian_cases(rng: np.random.Generator) -> list[Case]:
    # The density of a standard normal at its mean is 1 / sqrt(2 pi): its logarithm is -0.9189385.
    hand = [
        Case(
            "one number, at the mean",
            (_row(0.0)[None], _row(0.0)[None], _row(0.0)),
            _row(-0.9189385),
        ),
        Case(
            "two numbers, each one standard deviation away",
            (_row(3.0, 0.0)[None], _row(2.0, 1.0)[None], _row(0.0, 0.0)),
            _row(-2 * 0.9189385 - 1.0),
        ),
        Case(
            "narrow: standard deviation 0.1, density above 1",
            (_row(0.1)[None], _row(0.0)[None], _row(math.log(0.1))),
            _row(-0.9189385 - 0.5 + math.log(10)),
        ),
        Case(
            "wide: standard deviations 2 and 4",
            (_row(2.0, 4.0)[None], _row(0.0, 0.0)[None], _row(math.log(2), math.log(4))),
            _row(-2 * 0.9189385 - 1.0 - math.log(8)),
        ),
    ]
    actions, mean = rng.normal(size=(2, 4, 3))
    log_std = rng.uniform(-0.7, 0.5, size=3)
    expected = []
    for row, centre in zip(actions, mean, strict=True):
        # Independent numbers: multiply the densities, and take the logarithm at the very end.
        factors = (
            NormalDist(c, math.exp(s)).pdf(a) for a, c, s in zip(row, centre, log_std, strict=True)
        )
        expected.append(math.log(math.prod(factors)))
    args = (*(torch.tensor(x, dtype=torch.float32) for x in (actions, mean)), _row(*log_std))
    return [*hand, Case("four random actions of three numbers", args, _row(*expected), atol=1e-5)]


_LOG_2PI = math.log(2 * math.pi)


def _per_dimension(actions: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    return -0.5 * (((actions - mean) / log_std.exp()) ** 2 + _LOG_2PI) - log_std


gaussian_logp = Exercise(
    reference=distributions.gaussian_logp,
    cases=_gaussian_cases,
    mistakes=(
        Mistake(
            "one per dimension",
            _per_dimension,
            "You returned one number per dimension, (B, D). One action is D numbers drawn "
            "together: add their log-densities up with `.sum(-1)` and return (B,).",
        ),
        Mistake(
            "averages the dimensions",
            lambda actions, mean, log_std: _per_dimension(actions, mean, log_std).mean(-1),
            "You averaged over the dimensions. Densities of independent numbers multiply, so their "
            "logarithms *add*: `.sum(-1)`. With the mean, each ratio would be its own D-th root.",
        ),
        Mistake(
            "sums the whole batch",
            lambda actions, mean, log_std: _per_dimension(actions, mean, log_std).sum(),
            "You added all rows of the batch into one number. Add over the last axis alone: "
            "`.sum(-1)`.",
        ),
        Mistake(
            "takes log_std for the log-variance",
            lambda actions, mean, log_std: (
                -0.5 * ((actions - mean) ** 2 / log_std.exp() + _LOG_2PI + log_std)
            ).sum(-1),
            "You took `exp(log_std)` for the variance. It is the standard deviation: divide by it "
            "*before* squaring, and subtract the whole `log_std`.",
        ),
        Mistake(
            "divides by log_std",
            lambda actions, mean, log_std: (
                -0.5 * (((actions - mean) / log_std) ** 2 + _LOG_2PI) - log_std
            ).sum(-1),
            "You divided by `log_std`, a logarithm, which may be 0 or negative. The standard "
            "deviation is `torch.exp(log_std)`.",
        ),
        Mistake(
            "forgets the constant",
            lambda actions, mean, log_std: (
                -0.5 * ((actions - mean) / log_std.exp()) ** 2 - log_std
            ).sum(-1),
            "The constant is missing: each dimension also has `-0.5 * log(2 * pi)`. Ratios would "
            "survive that; the log-probability itself is wrong.",
        ),
        Mistake(
            "forgets the width",
            lambda actions, mean, log_std: (
                -0.5 * (((actions - mean) / log_std.exp()) ** 2 + _LOG_2PI)
            ).sum(-1),
            "A wide bell is low: `- log_std` is missing. Without it, widening the bell would make "
            "every action more probable.",
        ),
        Mistake(
            "forgets the logarithm",
            lambda actions, mean, log_std: _per_dimension(actions, mean, log_std).sum(-1).exp(),
            "You returned the density. Its *logarithm* is asked for.",
        ),
    ),
    hints=(
        "How many standard deviations is each number from its mean? "
        "`(actions - mean) / torch.exp(log_std)`.",
        "The log-density of one dimension is `-0.5 * scaled**2 - log_std - 0.5 * log(2 * pi)`.",
        "Add the dimensions up: `.sum(-1)` over all three terms. "
        "`math.log(2 * math.pi)` gives the constant.",
    ),
)
