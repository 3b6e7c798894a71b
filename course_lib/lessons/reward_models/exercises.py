"""Exercises of lesson 07: the last token, pairs, accuracy with ties, all of it, label noise."""

from __future__ import annotations

import math

import numpy as np

from course_lib.classroom.cases import bits, floats
from course_lib.classroom.check import Case, Exercise
from course_lib.lessons.reward_models import build
from course_lib.rlhf import pairwise, reward_model

# --- The last real token -----------------------------------------------------------------------


def _last_cases(rng: np.random.Generator) -> list[Case]:
    values = floats([[1, 2, 3, 4], [5, 6, 7, 8]])
    by_hand = [
        ("padding on the right", values, ("xx..", "xxxx"), [2, 8]),
        ("padding on the left", values, ("..xx", "...x"), [4, 8]),
        ("a row of padding alone is worth 0", values, ("....", "xxx."), [0, 7]),
        ("one token at the start", values, ("x...", "x..."), [1, 5]),
        ("padding on both sides", values, (".xx.", ".x.."), [3, 6]),
        ("a value of exactly 0 is one", floats([[5, 0, 7, 7]]), ("xx..",), [0]),
        ("the last value need not be the largest", -values, ("xxx.", ".xxx"), [-3, -8]),
    ]
    drawn = rng.normal(size=(5, 6))
    starts = rng.integers(0, 4, size=5)
    ends = starts + rng.integers(1, 3, size=5)  # the token behind the last one
    rows = ["." * s + "x" * (e - s) + "." * (6 - e) for s, e in zip(starts, ends, strict=True)]
    expected = [drawn[i, end - 1] for i, end in enumerate(ends)]
    by_hand.append(("five random rows", floats(drawn), rows, expected))
    return [Case(name, (x, bits(*rows)), floats(found)) for name, x, rows, found in by_hand]


last_token = Exercise(
    reference=reward_model.last_token,
    differentiated="values",
    cases=_last_cases,
    edits="""
    reads the last column: `torch.where(last >= 0, picked, 0.0)` becomes `values[:, -1]`. You read
        the last column. In a row with padding on the right that is a padding position, where the
        model has been told nothing. Look at `valid_mask`.

    counts the tokens: `torch.where(valid_mask.bool(), column, -1).amax(dim=1)` becomes
        `valid_mask.sum(dim=1) - 1`. You used the *number* of tokens as their place. That is right
        with padding on the right only; with padding on the left the last token stands further to
        the right.

    one too far: `last.clamp(min=0)` becomes `(last + 1).clamp(max=len(column) - 1)`. You read one
        column behind the last token. Columns count from 0.

    reads the first token: `last.clamp(min=0)` becomes `valid_mask.int().argmax(dim=1)`. You read
        the first real token. At that place the model has seen nothing of the reply. (`argmax`
        gives the first of several equal values.)

    takes the mean: `torch.where(last >= 0, picked, 0.0)` becomes
        `(values * valid_mask).sum(1) / valid_mask.sum(1).clamp(min=1)`. You averaged over all real
        tokens. The reward is read at one place, the last token, the only one that has seen the
        whole reply.

    an empty row reads something: `torch.where(last >= 0, picked, 0.0)` becomes `picked`. A row
        without any real token gets the value of some column. Return 0 there:
        `torch.where(valid_mask.any(1), picked, 0.0)`.

    an empty row reads its end: `last.clamp(min=0)` becomes `(last % len(column))`,
        `torch.where(last >= 0, picked, 0.0)` becomes `picked`. A row without any real token gets
        the value of its last column. Return 0 there, for instance by
        `torch.where(valid_mask.any(1), picked, 0.0)`.

    keeps a dimension: `picked, 0.0)` becomes `picked, 0.0)[:, None]`. The numbers are right, in
        the shape (B, 1). `gather` keeps the dimension that it reads: take it away with `[:, 0]`,
        or a later difference of (B, 1) and (B,) is (B, B).
    """,
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
    a, b = rng.normal(scale=2, size=(2, 6))
    share = np.array([1, 0, 0.5, 1, 0, 0.5])
    p = 1 / (1 + np.exp(b - a))
    nll = -share * np.log(p) - (1 - share) * np.log(1 - p)
    mixed = [win, lose, (win + lose) / 2]
    rows = [
        ("the first preferred, the second, a tie", [2, 2, 2], [0, 0, 0], [1, 0, 0.5], mixed),
        ("only the difference counts", [102, -8], [100, -10], [1, 1], [win, win]),
        ("very sure and wrong: large, not infinite", [-200, 200], [0, 0], [1, 0], [200, 200]),
        ("six random pairs", a, b, share, nll),
    ]
    return [Case(row[0], tuple(map(floats, row[1:4])), floats(row[4]), rtol=1e-4) for row in rows]


pairwise_nll = Exercise(
    reference=pairwise.pairwise_nll,
    differentiated="chosen rejected",
    cases=_nll_cases,
    edits="""
    turns the pair round: `chosen - rejected` becomes `rejected - chosen`. Your sign is turned
        round: this loss is small where the *rejected* reply has the higher reward. The difference
        is `chosen - rejected`.

    forgets the minus: `-share * F.logsigmoid(difference) -` becomes
        `share * F.logsigmoid(difference) +`. You returned the log-probability itself. Training
        goes *down* the loss, so it would make the labels as improbable as it can. Put a minus
        before it.

    ignores the share: `-share * F.logsigmoid(difference) - (1 - share) * F.logsigmoid(-difference)`
        becomes `-F.logsigmoid(difference)`. You took every pair as a win of the first. `share` is
        0 where the second was preferred and 0.5 for a tie.

    only wins count: `- (1 - share) * F.logsigmoid(-difference)` goes. Where the second was
        preferred your loss is 0, so those labels teach nothing. Add `(1 - share)` times the
        negative log-likelihood that the second wins.

    log of a sigmoid: `F.logsigmoid(difference)` becomes `torch.sigmoid(difference).log()`,
        `F.logsigmoid(-difference)` becomes `(1 - torch.sigmoid(difference)).log()`. Right on paper.
        But a sigmoid of -200 is rounded to 0 (and exp(200) to infinity): the loss is infinite, and
        after one such pair all weights are nan. Use `F.logsigmoid` on the difference.

    a label is plus or minus: `-share * F.logsigmoid(difference) -
        (1 - share) * F.logsigmoid(-difference)` becomes
        `-F.logsigmoid((2 * share - 1) * difference)`. You let the label choose the sign of the
        difference. For a tie that leaves nothing of the pair: the loss is log 2, whatever the
        rewards are. Weigh both sides, `share` and `1 - share`.

    a tie is a defeat: `-share * F.logsigmoid(difference) -
        (1 - share) * F.logsigmoid(-difference)` becomes
        `-torch.where(share > 0.5, F.logsigmoid(difference), F.logsigmoid(-difference))`. You count
        a tie as a win of the second. At 0.5 both sides count half.

    no logarithm: `-share * F.logsigmoid(difference) - (1 - share) * F.logsigmoid(-difference)`
        becomes `share * torch.sigmoid(-difference) + (1 - share) * torch.sigmoid(difference)`.
        This is the probability of the other choice, not its negative logarithm. The likelihood of
        many labels is a product, so its logarithm is what adds up: -log p.

    takes the mean: `-share * F.logsigmoid(difference) - (1 - share) * F.logsigmoid(-difference)`
        becomes `F.binary_cross_entropy_with_logits(difference, share)`. You averaged over the
        pairs. Return one number per pair, (B,); the mean comes later.
    """,
    hints=(
        "The probability that the first wins is a sigmoid of one number. Which?",
        "With d = chosen - rejected: log p is `F.logsigmoid(d)`, and log (1 - p) is "
        "`F.logsigmoid(-d)`.",
        "`-share * F.logsigmoid(d) - (1 - share) * F.logsigmoid(-d)`",
    ),
)


# --- Accuracy ----------------------------------------------------------------------------------


def _accuracy_cases(rng: np.random.Generator) -> list[Case]:
    a, b = rng.integers(0, 3, size=(2, 12)).astype(float)
    share = rng.choice([0.0, 0.5, 1.0], size=12)
    a[:4], b[:4], share[:4] = [2, 2, 2, 1], [1, 1, 1, 1], [1, 1, 0.5, 0]
    each = [  # ground truth: pair by pair
        0.5 if s == 0.5 or x == y else float((x > y) == (s == 1))
        for x, y, s in zip(a, b, share, strict=True)
    ]
    same, tie = [7, 7, 7, 7], "labels for the second, and a label that says tie"
    coin = "a model that gives everything the same reward throws a coin"
    rows = [
        ("two right, one wrong", [3, 2, 0], [1, 0, 4], [1, 1, 1], 2 / 3),
        (coin, same, same, [1, 0, 1, 1], 0.5),
        (tie, [1, 1, 5], [2, 0, 0], [0, 0, 0.5], 0.5),
        ("small differences count, too", [0.2, 0.4, -0.1], [0.1, 0.3, 9], [1, 1, 1], 2 / 3),
        ("two right, and a label that says tie", [3, 2, 5], [1, 0, 0], [1, 1, 0.5], 2.5 / 3),
        ("equal rewards and a label that says tie: half", [4, 3], [4, 1], [0.5, 1], 0.75),
        ("twelve random pairs", a, b, share, sum(each) / 12),
    ]
    return [Case(row[0], tuple(map(floats, row[1:4])), floats(row[4])) for row in rows]


accuracy = Exercise(
    reference=pairwise.accuracy,
    cases=_accuracy_cases,
    edits="""
    equal rewards are a mistake: `share * first + (1 - share) * (1 - first)` becomes
        `share * (chosen > rejected) + (1 - share) * (chosen < rejected)`. Equal rewards count as
        wrong in your version. A model that has no opinion is not wrong, it throws a coin: count
        half.

    equal rewards are right: `share * first + (1 - share) * (1 - first)` becomes
        `share * (chosen >= rejected) + (1 - share) * (chosen <= rejected)`. Equal rewards count as
        right in your version: a model that gives everything the same reward would get 1.0. Count
        half.

    equal rewards prefer the second: `(torch.sign(chosen - rejected) + 1) / 2` becomes
        `(chosen > rejected).float()`. With `>` equal rewards count as a choice of the second. They
        are none: count half, as `(torch.sign(d) + 1) / 2` does.

    two truth values: `(share * first + (1 - share) * (1 - first))` becomes
        `((chosen > rejected) == (share > 0.5)).float()`. You compare two truth values, and neither
        knows a third case: equal rewards and a tied label both pass for "the second". Count half
        where there is a tie on either side.

    a tie has to be hit: `(share * first + (1 - share) * (1 - first))` becomes
        `(first == share).float()`. You ask whether rewards and label say the same, ties included. A
        tie on either side has no right answer: count half, also where both are ties.

    distance to the label: `(share * first + (1 - share) * (1 - first))` becomes
        `(1 - (first - share).abs())`. Right but for one case: equal rewards *and* a tied label
        count 1 in your version. A tie counts half, also there.

    ignores the share: `(share * first + (1 - share) * (1 - first))` becomes `first`. You counted
        how often the first wins. Whether that is right depends on `share`: where it is 0, the
        second should win.

    leaves tied labels out: `.mean()` becomes `[share != 0.5].mean()`. You left out the pairs whose
        label is a tie. Here they count half, so that numbers on different sets of labels are
        shares of *all* pairs.

    adds up: `.mean()` becomes `.sum()`. You returned the number of right pairs. Accuracy is their
        share: take the mean.

    one number per pair: `.mean()` goes. You returned one number per pair. Accuracy is one number:
        their mean.
    """,
    hints=(
        "Give each pair a number: 1 if the first has the higher reward, 0 if the second, 0.5 if "
        "they are equal.",
        "`first = (torch.sign(chosen - rejected) + 1) / 2`",
        "Where `share` is 1 the pair counts `first`, where it is 0 it counts `1 - first`: "
        "`(share * first + (1 - share) * (1 - first)).mean()`.",
    ),
)


fit_reward_model = build.fit_reward_model


# --- Careless labels ---------------------------------------------------------------------------


def _noisy_cases(rng: np.random.Generator) -> list[Case]:
    # p = 3/4 and 1/2; with a fifth turned round, q = 0.8 * 0.75 + 0.2 * 0.25 = 0.65 and 1/2.
    # A hundredth: q = 0.99 * 0.75 + 0.01 * 0.25 = 0.745.
    rewards = [math.log(3), 0, math.log(3)], [0, 0, 0]
    few = -np.log([0.745, 0.5, 0.255])
    sure = "very sure, and the label says otherwise: it may be one of the turned ones"
    a, b = rng.normal(scale=2, size=(2, 5))
    share, flip = np.array([1, 0, 0.5, 1, 0]), float(rng.uniform(0.1, 0.4))
    p = 1 / (1 + np.exp(b - a))
    # Ground truth: the two ways in which a label can come about.
    first, second = p * (1 - flip) + (1 - p) * flip, (1 - p) * (1 - flip) + p * flip
    nll = -share * np.log(first) - (1 - share) * np.log(second)
    rows = [
        (
            "a fifth of the labels turned round",
            *rewards,
            [1, 1, 0],
            0.2,
            -np.log([0.65, 0.5, 0.35]),
        ),
        ("a hundredth: nearly the plain loss", *rewards, [1, 0, 0], 0.01, few),
        (sure, [300], [0], [0], 0.2, [-math.log(0.2)]),
        ("five random pairs", a, b, share, flip, nll),
    ]
    return [
        Case(row[0], (*map(floats, row[1:4]), row[4]), floats(row[5]), rtol=1e-4) for row in rows
    ]


noisy_nll = Exercise(
    reference=pairwise.noisy_nll,
    differentiated="chosen rejected",
    cases=_noisy_cases,
    edits="""
    ignores the carelessness: `-share * q.log() - (1 - share) * (1 - q).log()` becomes
        `pairwise_nll(chosen, rejected, share)`. `flip` changes nothing in your version. A label for
        the first comes about in two ways: it was preferred and written down, or it was not and the
        label was turned round.

    smooths the labels: `-share * q.log() - (1 - share) * (1 - q).log()` becomes
        `pairwise_nll(chosen, rejected, (1 - flip) * share + flip * (1 - share))`. You mixed the
        *labels* (label smoothing): the loss is then lowest at p = 1 - flip, and pulls every reward
        towards its rival's. Mix the *probabilities*: q = (1 - flip) p + flip (1 - p), and take
        -log q.

    weighs the losses: `-share * q.log() - (1 - share) * (1 - q).log()` becomes
        `((1 - flip) * pairwise_nll(chosen, rejected, share)
        - flip * pairwise_nll(chosen, rejected, 1 - share)) / (1 - 2 * flip)`. This is the backward
        correction: right on average, but a single loss may be negative and without bound. Here
        q = (1 - flip) p + flip (1 - p) goes into the logarithm.

    turns the wrong share round: `(1 - flip) * p + flip * (1 - p)` becomes
        `flip * p + (1 - flip) * (1 - p)`. You exchanged the two: `flip` is the share of labels that
        is turned round, so p is weighed by 1 - flip.

    a coin instead of the other side: `flip * (1 - p)` becomes `flip * 0.5`. You let the careless
        throw a coin: flip / 2. Here a careless label is the *other* one for certain, so what comes
        from that side is flip times its probability, 1 - p.

    ignores the share: `-share * q.log() - (1 - share) * (1 - q).log()` becomes `-q.log()`. You took
        every label as one for the first. Where `share` is 0 the label says the second, and its
        probability is 1 - q.

    forgets who was turned to it: `+ flip * (1 - p)` goes, `(1 - q).log()` becomes
        `((1 - flip) * (1 - p)).log()`. You took away the labels that are turned round, but not
        added those that come from the other side: q = (1 - flip) p + flip (1 - p). The two must
        add up to 1.

    takes the mean: `-share * q.log() - (1 - share) * (1 - q).log()` becomes
        `(-share * q.log() - (1 - share) * (1 - q).log()).mean()`. You averaged over the pairs.
        Return one number per pair, (B,).
    """,
    hints=(
        "First without carelessness: p = sigmoid(chosen - rejected). With which probability does "
        "the *label* say that the first is better?",
        "q = (1 - flip) p + flip (1 - p): it was preferred and not turned round, or the other way "
        "round.",
        "Then the loss as before, with q for p: "
        "`-share * q.log() - (1 - share) * (1 - q).log()`. With flip above 0, q is never 0.",
    ),
)
