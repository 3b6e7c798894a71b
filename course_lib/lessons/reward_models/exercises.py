"""Exercises of lesson 07: the last token, the loss on pairs, accuracy with ties, label noise."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.rlhf import pairwise, reward_model


def _float(numbers) -> Tensor:
    return torch.as_tensor(np.asarray(numbers), dtype=torch.float32)


def _bits(rows: list[str]) -> Tensor:
    """A mask as a picture: "x" where it keeps."""
    return torch.tensor([[sign == "x" for sign in row] for row in rows])


# --- The last real token -----------------------------------------------------------------------


def _last_cases(rng: np.random.Generator) -> list[Case]:
    values = _float([[1, 2, 3, 4], [5, 6, 7, 8]])
    hand = [
        Case("padding on the right", (values, _bits(["xx..", "xxxx"])), _float([2, 8])),
        Case("padding on the left", (values, _bits(["..xx", "...x"])), _float([4, 8])),
        Case(
            "a row of padding alone is worth 0", (values, _bits(["....", "xxx."])), _float([0, 7])
        ),
        Case("one token at the start", (values, _bits(["x...", "x..."])), _float([1, 5])),
        Case(
            "the last value need not be the largest",
            (-values, _bits(["xxx.", ".xxx"])),
            _float([-3, -8]),
        ),
    ]
    drawn = rng.normal(size=(5, 6))
    starts = rng.integers(0, 4, size=5)
    ends = starts + rng.integers(1, 3, size=5)  # the token behind the last one
    rows = ["." * s + "x" * (e - s) + "." * (6 - e) for s, e in zip(starts, ends, strict=True)]
    expected = [drawn[i, end - 1] for i, end in enumerate(ends)]
    return [*hand, Case("five random rows", (_float(drawn), _bits(rows)), _float(expected))]


def _at(values: Tensor, column: Tensor) -> Tensor:
    return values.gather(1, column.clamp(0, values.shape[1] - 1)[:, None])[:, 0]


def _final_column(valid_mask: Tensor) -> Tensor:
    column = torch.arange(valid_mask.shape[1])
    return torch.where(valid_mask, column, -1).amax(dim=1)


def _or_zero(picked: Tensor, valid_mask: Tensor) -> Tensor:
    return torch.where(valid_mask.any(1), picked, 0.0)


last_token = Exercise(
    reference=reward_model.last_token,
    cases=_last_cases,
    mistakes=(
        Mistake(
            "reads the last column",
            lambda values, valid_mask: values[:, -1],
            "You read the last column. In a row with padding on the right that is a padding "
            "position, where the model has been told nothing. Look at `valid_mask`.",
        ),
        Mistake(
            "counts the tokens",
            lambda values, valid_mask: _or_zero(_at(values, valid_mask.sum(1) - 1), valid_mask),
            "You used the *number* of tokens as their place. That is right with padding on the "
            "right only; with padding on the left the last token stands further to the right.",
        ),
        Mistake(
            "one too far",
            lambda values, valid_mask: _or_zero(
                _at(values, _final_column(valid_mask) + 1), valid_mask
            ),
            "You read one column behind the last token. Columns count from 0.",
        ),
        Mistake(
            "reads the first token",
            lambda values, valid_mask: _or_zero(
                _at(values, valid_mask.int().argmax(1)), valid_mask
            ),
            "You read the first real token. At that place the model has seen nothing of the reply. "
            "(`argmax` gives the first of several equal values.)",
        ),
        Mistake(
            "takes the mean",
            lambda values, valid_mask: (
                (values * valid_mask).sum(1) / valid_mask.sum(1).clamp(min=1)
            ),
            "You averaged over all real tokens. The reward is read at one place, the last token, "
            "the only one that has seen the whole reply.",
        ),
        Mistake(
            "an empty row reads something",
            lambda values, valid_mask: _at(values, _final_column(valid_mask)),
            "A row without any real token gets the value of some column. Return 0 there: "
            "`torch.where(valid_mask.any(1), picked, 0.0)`.",
        ),
        Mistake(
            "keeps a dimension",
            lambda values, valid_mask: reward_model.last_token(values, valid_mask)[:, None],
            "The numbers are right, in the shape (B, 1). `gather` keeps the dimension that it "
            "reads: take it away with `[:, 0]`, or a later difference of (B, 1) and (B,) is "
            "(B, B).",
        ),
    ),
    hints=(
        "First find the column of the last True of each row, as a tensor (B,). Then pick.",
        "`column = torch.arange(T)`; the largest column where the mask is True: "
        "`torch.where(valid_mask, column, -1).amax(dim=1)`. It is -1 where a row has none.",
        "Pick with `values.gather(1, last.clamp(min=0)[:, None])[:, 0]`, and put 0 where `last` "
        "is -1.",
    ),
)


# --- The loss on pairs -------------------------------------------------------------------------


def _nll_cases(rng: np.random.Generator) -> list[Case]:
    win = math.log(1 + math.exp(-2))  # -log sigmoid(2)
    lose = 2 + win
    two = (_float([2, 2, 2]), _float([0, 0, 0]))
    hand = [
        Case(
            "the first preferred, the second, a tie",
            (*two, _float([1, 0, 0.5])),
            _float([win, lose, (win + lose) / 2]),
        ),
        Case(
            "only the difference counts",
            (_float([102, -8]), _float([100, -10]), _float([1, 1])),
            _float([win, win]),
        ),
        Case(
            "very sure and wrong: large, not infinite",
            (_float([-200]), _float([0]), _float([1])),
            _float([200]),
        ),
    ]
    a, b = rng.normal(scale=2, size=(2, 6))
    share = np.array([1, 0, 0.5, 1, 0, 0.5])
    p = 1 / (1 + np.exp(b - a))
    expected = -share * np.log(p) - (1 - share) * np.log(1 - p)
    args = tuple(map(_float, (a, b, share)))
    return [*hand, Case("six random pairs", args, _float(expected), rtol=1e-4)]


def _nll(difference: Tensor, share: Tensor) -> Tensor:
    return -share * F.logsigmoid(difference) - (1 - share) * F.logsigmoid(-difference)


def _log_of_sigmoid(chosen: Tensor, rejected: Tensor, share: Tensor) -> Tensor:
    p = torch.sigmoid(chosen - rejected)
    return -share * p.log() - (1 - share) * (1 - p).log()


pairwise_nll = Exercise(
    reference=pairwise.pairwise_nll,
    cases=_nll_cases,
    mistakes=(
        Mistake(
            "turns the pair round",
            lambda chosen, rejected, share: _nll(rejected - chosen, share),
            "Your sign is turned round: this loss is small where the *rejected* reply has the "
            "higher reward. The difference is `chosen - rejected`.",
        ),
        Mistake(
            "forgets the minus",
            lambda chosen, rejected, share: -_nll(chosen - rejected, share),
            "You returned the log-probability itself. Training goes *down* the loss, so it would "
            "make the labels as improbable as it can. Put a minus before it.",
        ),
        Mistake(
            "ignores the share",
            lambda chosen, rejected, share: F.softplus(rejected - chosen),
            "You took every pair as a win of the first. `share` is 0 where the second was "
            "preferred and 0.5 for a tie.",
        ),
        Mistake(
            "only wins count",
            lambda chosen, rejected, share: share * F.softplus(rejected - chosen),
            "Where the second was preferred your loss is 0, so those labels teach nothing. Add "
            "`(1 - share)` times the surprise that the second wins.",
        ),
        Mistake(
            "log of a sigmoid",
            _log_of_sigmoid,
            "Right on paper. But a sigmoid of -200 is rounded to 0, and its logarithm is -inf: one "
            "such pair and all weights are nan. Use `F.logsigmoid` on the difference.",
        ),
        Mistake(
            "no logarithm",
            lambda chosen, rejected, share: (
                share * torch.sigmoid(rejected - chosen)
                + (1 - share) * torch.sigmoid(chosen - rejected)
            ),
            "This is the probability of the other choice, not the surprise. The likelihood of many "
            "labels is a product, so its logarithm is what adds up: -log p.",
        ),
        Mistake(
            "takes the mean",
            lambda chosen, rejected, share: _nll(chosen - rejected, share).mean(),
            "You averaged over the pairs. Return one number per pair, (B,); the mean comes later.",
        ),
    ),
    hints=(
        "The probability that the first wins is a sigmoid of one number. Which?",
        "With d = chosen - rejected: log p is `F.logsigmoid(d)`, and log (1 - p) is "
        "`F.logsigmoid(-d)`.",
        "`-share * F.logsigmoid(d) - (1 - share) * F.logsigmoid(-d)`",
    ),
)


# --- Accuracy ----------------------------------------------------------------------------------


def _accuracy_cases(rng: np.random.Generator) -> list[Case]:
    one = _float([1, 1, 1])
    hand = [
        Case(
            "two right, one wrong",
            (_float([3, 2, 0]), _float([1, 0, 4]), one),
            _float(2 / 3),
        ),
        Case(
            "a model that gives everything the same reward throws a coin",
            (_float([7, 7, 7, 7]), _float([7, 7, 7, 7]), _float([1, 0, 1, 1])),
            _float(0.5),
        ),
        Case(
            "labels for the second, and a label that says tie",
            (_float([1, 1, 5]), _float([2, 0, 0]), _float([0, 0, 0.5])),
            _float(0.5),
        ),
        Case(
            "small differences count like large ones",
            (_float([0.2, 0.4, -0.1]), _float([0.1, 0.3, 9]), one),
            _float(2 / 3),
        ),
        Case(
            "two right, and a label that says tie",
            (_float([3, 2, 5]), _float([1, 0, 0]), _float([1, 1, 0.5])),
            _float(2.5 / 3),
        ),
    ]
    a, b = rng.integers(0, 3, size=(2, 12)).astype(float)
    share = rng.choice([0.0, 0.5, 1.0], size=12)
    a[:4], b[:4], share[:4] = [2, 2, 2, 1], [1, 1, 1, 1], [1, 1, 0.5, 0]
    total = 0.0  # ground truth: pair by pair
    for x, y, s in zip(a, b, share, strict=True):
        if s == 0.5 or x == y:
            total += 0.5
        else:
            total += float((x > y) == (s == 1))
    args = tuple(map(_float, (a, b, share)))
    return [*hand, Case("twelve random pairs", args, _float(total / 12))]


def _by_share(first: Tensor, share: Tensor) -> Tensor:
    return share * first + (1 - share) * (1 - first)


accuracy = Exercise(
    reference=pairwise.accuracy,
    cases=_accuracy_cases,
    mistakes=(
        Mistake(
            "equal rewards are a mistake",
            lambda chosen, rejected, share: (
                share * (chosen > rejected).float() + (1 - share) * (chosen < rejected).float()
            ).mean(),
            "Equal rewards count as wrong in your version. A model that has no opinion is not "
            "wrong, it throws a coin: count half.",
        ),
        Mistake(
            "equal rewards are right",
            lambda chosen, rejected, share: (
                share * (chosen >= rejected).float() + (1 - share) * (chosen <= rejected).float()
            ).mean(),
            "Equal rewards count as right in your version: a model that gives everything the same "
            "reward would get 1.0. Count half.",
        ),
        Mistake(
            "equal rewards prefer the second",
            lambda chosen, rejected, share: _by_share((chosen > rejected).float(), share).mean(),
            "With `>` equal rewards count as a choice of the second. They are none: count half, as "
            "`(torch.sign(d) + 1) / 2` does.",
        ),
        Mistake(
            "ignores the share",
            lambda chosen, rejected, share: ((torch.sign(chosen - rejected) + 1) / 2).mean(),
            "You counted how often the first wins. Whether that is right depends on `share`: where "
            "it is 0, the second should win.",
        ),
        Mistake(
            "leaves tied labels out",
            lambda chosen, rejected, share: _by_share(
                (torch.sign(chosen - rejected) + 1) / 2, share
            )[share != 0.5].mean(),
            "You left out the pairs whose label is a tie. Here they count half, so that numbers on "
            "different sets of labels are shares of *all* pairs.",
        ),
        Mistake(
            "adds up",
            lambda chosen, rejected, share: _by_share(
                (torch.sign(chosen - rejected) + 1) / 2, share
            ).sum(),
            "You returned the number of right pairs. Accuracy is their share: take the mean.",
        ),
        Mistake(
            "one number per pair",
            lambda chosen, rejected, share: _by_share(
                (torch.sign(chosen - rejected) + 1) / 2, share
            ),
            "You returned one number per pair. Accuracy is one number: their mean.",
        ),
    ),
    hints=(
        "Give each pair a number: 1 if the first has the higher reward, 0 if the second, 0.5 if "
        "they are equal.",
        "`first = (torch.sign(chosen - rejected) + 1) / 2`",
        "Where `share` is 1 the pair counts `first`, where it is 0 it counts `1 - first`: "
        "`(share * first + (1 - share) * (1 - first)).mean()`.",
    ),
)


# --- Careless labels ---------------------------------------------------------------------------


def _noisy_cases(rng: np.random.Generator) -> list[Case]:
    # p = 3/4 and 1/2; with a fifth turned round, q = 0.8 * 0.75 + 0.2 * 0.25 = 0.65 and 1/2.
    rewards = (_float([math.log(3), 0, math.log(3)]), _float([0, 0, 0]))
    hand = [
        Case(
            "a fifth of the labels turned round",
            (*rewards, _float([1, 1, 0]), 0.2),
            _float([-math.log(0.65), -math.log(0.5), -math.log(0.35)]),
        ),
        Case(
            "nobody careless: the plain loss",
            (*rewards, _float([1, 0, 0]), 0.0),
            _float([-math.log(0.75), -math.log(0.5), -math.log(0.25)]),
        ),
        Case(
            "very sure, and the label says otherwise: it may be one of the turned ones",
            (_float([300]), _float([0]), _float([0]), 0.2),
            _float([-math.log(0.2)]),
        ),
    ]
    a, b = rng.normal(scale=2, size=(2, 5))
    share, flip = np.array([1, 0, 0.5, 1, 0]), float(rng.uniform(0.1, 0.4))
    p = 1 / (1 + np.exp(b - a))
    # Ground truth: the two ways in which a label can come about.
    first = p * (1 - flip) + (1 - p) * flip
    second = (1 - p) * (1 - flip) + p * flip
    expected = -share * np.log(first) - (1 - share) * np.log(second)
    args = (*map(_float, (a, b, share)), flip)
    return [*hand, Case("five random pairs", args, _float(expected), rtol=1e-4)]


def _smoothed(chosen: Tensor, rejected: Tensor, share: Tensor, flip: float) -> Tensor:
    return _nll(chosen - rejected, (1 - flip) * share + flip * (1 - share))


def _backward(chosen: Tensor, rejected: Tensor, share: Tensor, flip: float) -> Tensor:
    d = chosen - rejected
    return ((1 - flip) * _nll(d, share) - flip * _nll(d, 1 - share)) / (1 - 2 * flip)


def _at_q(q: Tensor, share: Tensor) -> Tensor:
    return -share * q.log() - (1 - share) * (1 - q).log()


noisy_nll = Exercise(
    reference=pairwise.noisy_nll,
    cases=_noisy_cases,
    mistakes=(
        Mistake(
            "ignores the carelessness",
            lambda chosen, rejected, share, flip: _nll(chosen - rejected, share),
            "`flip` changes nothing in your version. A label for the first comes about in two "
            "ways: it was preferred and written down, or it was not and the label was turned "
            "round.",
        ),
        Mistake(
            "smooths the labels",
            _smoothed,
            "You mixed the *labels* (label smoothing): the loss is then lowest at p = 1 - flip, "
            "and pulls every reward towards its rival's. Mix the *probabilities*: "
            "q = (1 - flip) p + flip (1 - p), and take -log q.",
        ),
        Mistake(
            "weighs the losses",
            _backward,
            "This is the backward correction: right on average, but a single loss may be negative "
            "and without bound. Here q = (1 - flip) p + flip (1 - p) goes into the logarithm.",
        ),
        Mistake(
            "turns the wrong share round",
            lambda chosen, rejected, share, flip: _at_q(
                flip * torch.sigmoid(chosen - rejected)
                + (1 - flip) * torch.sigmoid(rejected - chosen),
                share,
            ),
            "You exchanged the two: `flip` is the share of labels that is turned round, so p is "
            "weighed by 1 - flip.",
        ),
        Mistake(
            "forgets who was turned to it",
            lambda chosen, rejected, share, flip: (
                -share * ((1 - flip) * torch.sigmoid(chosen - rejected)).log()
                - (1 - share) * ((1 - flip) * torch.sigmoid(rejected - chosen)).log()
            ),
            "You took away the labels that are turned round, but not added those that come from "
            "the other side: q = (1 - flip) p + flip (1 - p). The two must add up to 1.",
        ),
        Mistake(
            "takes the mean",
            lambda chosen, rejected, share, flip: _at_q(
                (1 - flip) * torch.sigmoid(chosen - rejected)
                + flip * torch.sigmoid(rejected - chosen),
                share,
            ).mean(),
            "You averaged over the pairs. Return one number per pair, (B,).",
        ),
    ),
    hints=(
        "First without carelessness: p = sigmoid(chosen - rejected). With which probability does "
        "the *label* say that the first is better?",
        "q = (1 - flip) p + flip (1 - p): it was preferred and not turned round, or the other way "
        "round.",
        "Then the loss as before, with q for p: "
        "`-share * q.log() - (1 - share) * (1 - q).log()`. With flip above 0, q is never 0.",
    ),
)
