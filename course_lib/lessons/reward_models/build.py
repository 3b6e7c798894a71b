"""What lesson 07 asks to build: the training of a reward model, judged in probes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.cases import floats
from course_lib.classroom.check import Case, Exercise
from course_lib.rlhf import pairwise


def _fit_reward_model(
    first: Tensor,
    second: Tensor,
    share: Tensor,
    held_out: tuple[Tensor, Tensor, Tensor],
    vocab_size: int,
    batches: list[list[int]],
    lr: float,
) -> Tensor:
    """Return a weight per token, (vocab_size,), learned from pairs by gradient descent.

    ``first`` and ``second`` (N, T) are token numbers, 0 is padding on either side; ``share`` (N,)
    says how far the first was preferred; ``held_out`` are three such tensors of other pairs. The
    reward of a reply is the sum of the weights of its tokens. Each of ``batches``, lists of rows,
    makes one update by the mean NLL of Bradley and Terry. Of the weights at the start, all 0, and
    those after each update, the ones with the lowest mean NLL on ``held_out`` are returned.
    """
    weights = torch.zeros(vocab_size, requires_grad=True)

    def reward(text: Tensor) -> Tensor:
        return (weights[text] * (text != 0)).sum(dim=1)

    def loss(a: Tensor, b: Tensor, label: Tensor) -> Tensor:
        return pairwise.pairwise_nll(reward(a), reward(b), label).mean()

    best, lowest = weights.detach().clone(), loss(*held_out).item()
    for batch in batches:
        weights.grad = None
        loss(first[batch], second[batch], share[batch]).backward()
        with torch.no_grad():
            weights -= lr * weights.grad
        surprise = loss(*held_out).item()
        if surprise < lowest:
            best, lowest = weights.detach().clone(), surprise
    return best


def course_of(pairs: tuple, held_out: tuple, size: int, batches: list, lr: float) -> tuple:
    """The same from counts of words: the weights after each update, and their held-out NLL."""

    def differences(first: Tensor, second: Tensor) -> np.ndarray:
        two = [np.stack([np.bincount(x, minlength=size) for x in side]) for side in (first, second)]
        return (two[0] - two[1]) * (np.arange(size) > 0.0)

    x, s = differences(*pairs[:2]), pairs[2].double().numpy()
    y, t = differences(*held_out[:2]), held_out[2].double().numpy()
    course = [np.zeros(size)]
    for rows in batches:
        p = 1 / (1 + np.exp(-x[rows] @ course[-1]))
        course.append(course[-1] - lr * ((p - s[rows]) @ x[rows]) / len(rows))
    nll = [np.mean(np.logaddexp(0, y @ w) - t * (y @ w)) for w in course]
    return course, nll


def _three(pairs: list) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs (tokens of the first, of the second, share) as three tensors."""
    first, second, share = zip(*pairs, strict=True)
    return torch.tensor(first), torch.tensor(second), floats(share)


def _by_chance(rng: np.random.Generator, size: int) -> tuple[list, list]:
    """Replies of three to five words among padding on both sides; some labels are ties."""

    def reply() -> list[int]:
        words, before = int(rng.integers(3, 6)), int(rng.integers(0, 3))
        row = [0] * before + [int(x) for x in rng.integers(1, size, size=words)]
        return row + [0] * (7 - len(row))

    pairs = [(reply(), reply(), float(rng.choice([1.0, 0.5, 0.0]))) for _ in range(14)]
    return pairs[:8], pairs[8:]


def _probes(rng: np.random.Generator) -> list[Case]:
    """In the order in which they are tried: each adds one thing that can go wrong."""
    size = 7
    a, b, c, d, e, f = (int(x) for x in 1 + rng.permutation(size - 1))
    won, lost, tie = ([a], [b], 1.0), ([a], [b], 0.0), ([a], [b], 0.5)
    other, thrice = ([c], [d], 1.0), ([a, a, a], [b, b, b], 1.0)
    right_padded = [([a, 0, 0], [b, c, d], 1.0), ([a, e, e], [f, 0, 0], 1.0)]
    left_padded = [([0, 0, a], [b, c, d], 1.0), ([a, e, e], [0, 0, f], 1.0)]
    twice = [([a, a], [b, b], 1.0), ([c, c], [d, d], 1.0)]
    most = [won, won, won, won, lost]  # four of five labels for the first
    rows = [
        # name, the mistake that it isolates, pairs, held-out pairs, batches
        ("one pair, one update", "goes up the loss", [won], [won], [[0]]),
        ("the second won", "ignores the label", [lost], [lost], [[0]]),
        ("two pairs in one batch", "adds up the losses", [won, other], [won, other], [[0, 1]]),
        ("a pair waits", "trains on all pairs", [won, other], [won], [[0]]),
        ("the same pair twice", "adds to the old gradient", [won], [won], [[0], [0]]),
        ("two words against one", "averages over words", *[[([a, c], [b], 1.0)]] * 2, [[0]]),
        ("each word three times", "counts a word once", [thrice], [thrice], [[0]]),
        (
            *("padding on the right", "pays for padding"),
            *(right_padded, right_padded, [[0], [1]]),
        ),
        (
            *("padding on the left", "stops at the first padding"),
            *(left_padded, left_padded, [[0], [1]]),
        ),
        (
            *("at first better, then worse", "returns the last weights"),
            *([won, lost, won, won, won], [won], [[0], [1], [1]]),
        ),
        (
            *("a label that the held-out pairs contradict", "chooses by the training pairs"),
            *(twice, [won, ([c], [d], 0.0)], [[0], [1]]),
        ),
        ("worse than none", "forgets the start", [won, other], [lost], [[0], [1]]),
        (
            *("a tie after a win", "a tie is a defeat"),
            *([won, tie, won, lost, tie], [won] * 3 + [lost] * 2, [[0], [1]]),
        ),
        ("too sure", "chooses by accuracy", [won], most, [[0]] * 5),
        ("very sure, and wrong", "takes the log of a sigmoid", [won, lost], [lost], [[0], [1]]),
    ]
    cases = []
    for name, isolates, pairs, held_out, batches in rows:
        lr = float(rng.uniform(0.9, 1.0)) * (400 if isolates == "takes the log of a sigmoid" else 1)
        args = (*_three(pairs), _three(held_out), size, batches, lr)
        cases.append(_case(name, args, isolates))
    while True:
        pairs, held_out = _by_chance(rng, size)
        batches = [[int(x) for x in rng.permutation(len(pairs))[:4]] for _ in range(8)]
        last = _case("pairs by chance", (*_three(pairs), _three(held_out), size, batches, 0.3), "")
        nll = np.sort(course_of(_three(pairs), _three(held_out), size, batches, 0.3)[1])
        if nll[1] - nll[0] > 1e-3:  # which is the best does not hang on rounding
            return [*cases, last]


def _case(name: str, args: tuple, isolates: str) -> Case:
    course, nll = course_of(args[:3], *args[3:])
    return Case(name, args, floats(course[int(np.argmin(nll))]), atol=1e-4, isolates=isolates)


fit_reward_model = Exercise(
    reference=_fit_reward_model,
    cases=_probes,
    seconds=8.0,
    edits="""
    goes up the loss: `weights -= lr` becomes `weights += lr`. One pair of one word each, and the
        first won (`share` is 1). After one update its word should be worth lr / 2 and the other
        -lr / 2. A wrong sign: is it `first - second`, and do you go *down* the gradient of the
        loss? Another size: take one plain step, by the gradient p - s. All zeros: the weights after
        the last update have to be judged as well.

    ignores the label: `share[batch]` becomes `torch.ones(len(batch))`. The second won: `share` is
        0. The word of the *second* reply should gain. The label belongs in the loss, and in that of
        the held-out pairs, too.

    adds up the losses: `.mean()` becomes `.sum()`. Two pairs in one batch, which have no word in
        common. The loss is the *mean* over the batch, so each of them moves its words by half as
        much as alone.

    trains on all pairs: `first[batch], second[batch], share[batch]` becomes
        `first, second, share`. The batch names one row, and a second pair is in no batch. An update
        sees the rows of its batch and no others.

    adds to the old gradient: `weights.grad = None` becomes `pass`. The same pair twice. After the
        first update the model half expects the label, so the second moves less. `backward` *adds*
        to `.grad`: set it to None (`optimizer.zero_grad()`) before each update, and compute p anew.
        If yours are the weights after the first update, look at how you choose.

    averages over words: `.sum(dim=1)` becomes `.sum(dim=1) / (text != 0).sum(dim=1)`. A reply of
        two words against one of a single word. The reward is the *sum* over the tokens, so each of
        the three words moves equally far.

    counts a word once: `(weights[text] * (text != 0)).sum(dim=1)` becomes
        `torch.stack([weights[row[row != 0].unique()].sum() for row in text])`. Replies that say one
        word three times. Each of the three counts, in the reward and in the gradient. (By hand,
        `weights[row] += step` adds once for a number that occurs three times.)

    pays for padding: `* (text != 0)` goes. Rows filled up with 0 on the right. Padding is no word:
        its weight stays 0, and no reward changes with the number of zeros.

    stops at the first padding: `(text != 0)` becomes `(text != 0).cumprod(dim=1)`. Now the padding
        stands on the left, and the words behind it count as ever. Look at each token by itself.

    returns the last weights: `best, lowest = weights.detach().clone(), surprise` becomes
        `best, lowest = weights.detach(), surprise`. The first update is good, what comes later is
        not, and you returned the weights of a later one. Either you do not compare, or not by the
        held-out pairs, or you keep no copy: `best = weights` is the same tensor under another name,
        which later updates change. `clone()` it.

    chooses by the training pairs: `surprise = loss(*held_out)` becomes
        `surprise = loss(first, second, share)`. The second update fits its own label, and the
        held-out pairs say the opposite. They have the last word: compare by the NLL on `held_out`.

    forgets the start: `clone(), loss(*held_out).item()` becomes `clone(), float("inf")`. Every
        update makes things worse on the held-out pairs. The weights of the start, all 0, are among
        those that you choose from.

    a tie is a defeat: `share[batch]` becomes `(share[batch] > 0.5).float()`. First the pair is won,
        then the same pair is a tie (`share` 0.5). A tie pulls unequal rewards towards each other,
        by p - 0.5. It is neither a defeat nor a pair to leave out.

    chooses by accuracy: `clone(), loss(*held_out).item()` becomes `clone(), -0.5`,
        `surprise = loss(*held_out).item()` becomes
        `surprise = -pairwise.accuracy(*map(reward, held_out[:2]), held_out[2]).item()`,
        `surprise < lowest` becomes `surprise <= lowest`. Four of five held-out labels are for the
        first. Accuracy is the same after each update, but the model gets surer than four of five.
        Choose by the NLL, which knows how sure is too sure.

    takes the log of a sigmoid: `pairwise.pairwise_nll(reward(a), reward(b), label)` becomes
        `(-label * torch.sigmoid(reward(a) - reward(b)).log()
        - (1 - label) * torch.sigmoid(reward(b) - reward(a)).log())`. A huge step makes the model
        very sure, and the next label says the opposite. A sigmoid of -400 is rounded to 0, and its
        logarithm is infinite or nan. `F.logsigmoid`, or your `pairwise_nll`, keeps it finite.
    """,
    hints=(
        "Three parts: the reward of a row, (N,); the mean NLL of three tensors, which serves the "
        "batch and the held-out pairs; the loop. Before the loop keep the start as the best so "
        "far.",
        "`weights = torch.zeros(vocab_size, requires_grad=True)`, and a row's reward is "
        "`(weights[text] * (text != 0)).sum(dim=1)`. After `loss.backward()` the gradient is in "
        "`weights.grad`; change the weights under `torch.no_grad()`.",
        "In the loop: `weights.grad = None`; the loss of `first[batch], second[batch], "
        "share[batch]`; `backward()`; `weights -= lr * weights.grad`. Then the NLL on `held_out`: "
        "if it is the lowest so far, keep it and `weights.detach().clone()`.",
    ),
)
