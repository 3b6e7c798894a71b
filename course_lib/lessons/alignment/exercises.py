"""Exercises of lesson 10: best-of-n, its KL and its value, a price that moves, when to stop."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.rlhf import best_of_n, constraints


def _float(numbers) -> Tensor:
    return torch.as_tensor(np.asarray(numbers), dtype=torch.float32)


# --- How far best-of-n moves -------------------------------------------------------------------


def _kl_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        Case("one response: nothing is chosen", (1,), 0.0),
        Case("best of two: log 2 - 1/2", (2,), 0.6931472 - 0.5),
        Case("best of four: log 4 - 3/4", (4,), 1.3862944 - 0.75),
    ]
    n = int(rng.integers(5, 200))
    # Ground truth: the best of n draws of a uniform number u has the density n u^(n - 1), so the
    # divergence is an integral over u, here a sum over 200,000 narrow strips.
    u = (np.arange(200_000) + 0.5) / 200_000
    log_density = math.log(n) + (n - 1) * np.log(u)
    expected = float((np.exp(log_density) * log_density).mean())
    return [*hand, Case("a random n", (n,), expected, rtol=1e-3)]


best_of_n_kl = Exercise(
    reference=best_of_n.kl,
    cases=_kl_cases,
    mistakes=(
        Mistake(
            "only the logarithm",
            lambda n: math.log(n),
            "log n is the log-ratio at the very best response alone. Most responses that are "
            "chosen lie below it: subtract the mean of what is missing, (n - 1) / n.",
        ),
        Mistake(
            "in bits",
            lambda n: math.log2(n) - (n - 1) / n,
            "Your logarithm has base 2. KL is in nats here, as everywhere in this course: "
            "`math.log`.",
        ),
        Mistake(
            "subtracts 1 / n",
            lambda n: math.log(n) - 1 / n,
            "You subtracted 1 / n. For n = 1 nothing is chosen and the divergence must be 0: "
            "subtract (n - 1) / n.",
        ),
        Mistake(
            "adds",
            lambda n: math.log(n) + (n - 1) / n,
            "The second term is subtracted: choosing among n moves *less* than log n nats.",
        ),
        Mistake(
            "the square root",
            lambda n: math.sqrt(max(0.0, math.log(n) - (n - 1) / n)),
            "You returned the square root. It is the axis of the figure; the function returns the "
            "divergence itself.",
        ),
    ),
    hints=(
        "The best of n uniform numbers has the density n u^(n - 1). The divergence is the mean "
        "of its logarithm, log n + (n - 1) log u, under that density.",
        "The mean of log u under that density is -1 / n.",
        "`math.log(n) - (n - 1) / n`",
    ),
)


# --- The value of best-of-n, from N responses ----------------------------------------------------


def _value_cases(rng: np.random.Generator) -> list[Case]:
    # Ground truth: every way to choose n of the N responses, one by one.
    def by_hand(proxy: np.ndarray, value: np.ndarray, n: int) -> float:
        drawn = combinations(range(len(proxy)), n)
        return float(np.mean([value[max(choice, key=lambda i: proxy[i])] for choice in drawn]))

    proxy, value = np.array([0.0, 2.0, 1.0]), np.array([5.0, 1.0, 3.0])
    hand = [
        Case("n = 1: the mean", (_float(proxy), _float(value), 1), torch.tensor(3.0)),
        # The pairs (0, 1), (0, 2), (1, 2) choose the responses 1, 2, 1 with values 1, 3, 1.
        Case("n = 2 of 3", (_float(proxy), _float(value), 2), torch.tensor(5 / 3)),
        Case("n = N: what the proxy likes best", (_float(proxy), _float(value), 3), _float(1.0)),
    ]
    proxy = np.stack([rng.permutation(7) for _ in range(2)]).astype(float)
    value = rng.normal(size=(2, 7))
    n = int(rng.integers(3, 6))
    expected = [by_hand(p, v, n) for p, v in zip(proxy, value, strict=True)]
    drawn = (_float(proxy), _float(value), n)
    return [*hand, Case("two random prompts with seven responses", drawn, _float(expected))]


def _weighed(proxy: Tensor, value: Tensor, n: int, *, down: bool = False) -> Tensor:
    N = proxy.shape[-1]
    ordered = value.gather(-1, proxy.argsort(dim=-1, descending=down))
    weights = [math.comb(i - 1, n - 1) / math.comb(N, n) for i in range(1, N + 1)]
    return (ordered * _float(weights)).sum(-1)


def _with_replacement(proxy: Tensor, value: Tensor, n: int) -> Tensor:
    N = proxy.shape[-1]
    ordered = value.gather(-1, proxy.argsort(dim=-1))
    weights = [(i / N) ** n - ((i - 1) / N) ** n for i in range(1, N + 1)]
    return (ordered * _float(weights)).sum(-1)


def _first_n(proxy: Tensor, value: Tensor, n: int) -> Tensor:
    return value.gather(-1, proxy[..., :n].argmax(dim=-1, keepdim=True))[..., 0]


def _top_n(proxy: Tensor, value: Tensor, n: int) -> Tensor:
    return value.gather(-1, proxy.topk(n, dim=-1).indices).mean(-1)


def _unshifted(proxy: Tensor, value: Tensor, n: int) -> Tensor:
    N = proxy.shape[-1]
    ordered = value.gather(-1, proxy.argsort(dim=-1))
    weights = [math.comb(i, n) / math.comb(N, n) for i in range(1, N + 1)]
    return (ordered * _float(weights)).sum(-1)


best_value = Exercise(
    reference=best_of_n.best_value,
    cases=_value_cases,
    mistakes=(
        Mistake(
            "chooses by the truth",
            lambda proxy, value, n: _weighed(value, value, n),
            "You sorted by `value`. Best-of-n cannot see it: it chooses by `proxy`, and `value` is "
            "what it then gets.",
        ),
        Mistake(
            "reports the proxy",
            lambda proxy, value, n: _weighed(proxy, proxy, n),
            "You returned the proxy of what is chosen. Wanted is its `value`: bring `value` into "
            "the order of `proxy`.",
        ),
        Mistake(
            "worst of n",
            lambda proxy, value, n: _weighed(proxy, value, n, down=True),
            "You sorted downwards, so the weights choose the *worst* of n: sort `proxy` upwards.",
        ),
        Mistake(
            "with replacement",
            _with_replacement,
            "Your weights, (i / N)^n - ((i - 1) / N)^n, are those of drawing with replacement: the "
            "same response may then come twice, which makes n look smaller than it is. Count "
            "choices without replacement: C(i - 1, n - 1) / C(N, n).",
        ),
        Mistake(
            "only the first n",
            _first_n,
            "You used the first n responses only. That is unbiased, but noisy: the N responses "
            "hold C(N, n) such draws. Take the mean over all of them.",
        ),
        Mistake(
            "mean of the best n",
            _top_n,
            "You averaged the n responses that the proxy likes best of all. Best-of-n sees only n "
            "responses at a time and keeps *one* of them.",
        ),
        Mistake(
            "at most number i",
            _unshifted,
            "C(i, n) / C(N, n) is the probability that the best is number i *or lower*. That it is "
            "number i: i is drawn, and n - 1 of the i - 1 below it, C(i - 1, n - 1) / C(N, n).",
        ),
    ),
    hints=(
        "Sort the responses by the proxy, upwards, and number them from 1. Number i is the best "
        "of a draw of n if it is drawn and the other n - 1 come from the i - 1 below it.",
        "So its weight is C(i - 1, n - 1) / C(N, n): `math.comb(i - 1, n - 1) / math.comb(N, n)`. "
        "Bring `value` into the order of `proxy`: `value.gather(-1, proxy.argsort(-1))`.",
        "weights = torch.tensor([math.comb(i - 1, n - 1) / math.comb(N, n) for i in "
        "range(1, N + 1)]); return `(ordered * weights).sum(-1)`.",
    ),
)


# --- The price of a constraint -------------------------------------------------------------------


def _dual_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        Case("above the limit: dearer", (1.0, 0.5, 0.1, 2.0), 1.8),
        Case("below the limit: cheaper", (1.0, 0.0, 0.1, 2.0), 0.8),
        Case("at the limit: as before", (0.7, 0.25, 0.25, 3.0), 0.7),
        Case("a price is never negative", (0.1, 0.0, 0.5, 1.0), 0.0),
        Case("from nothing", (0.0, 0.3, 0.1, 1.0), 0.2),
    ]
    price, rate = rng.uniform(1, 2, size=2)
    limit = rng.uniform(0.1, 0.2)
    excess = rng.uniform(0.1, 0.3)
    # Ground truth: so many equal steps of a thousandth of the excess.
    expected = price + sum(rate * excess / 1000 for _ in range(1000))
    drawn = tuple(float(x) for x in (price, limit + excess, limit, rate))
    return [*hand, Case("random numbers", drawn, float(expected))]


dual_update = Exercise(
    reference=constraints.dual_update,
    cases=_dual_cases,
    mistakes=(
        Mistake(
            "the sign turned round",
            lambda price, cost, limit, rate: max(0.0, price - rate * (cost - limit)),
            "Your price falls while the limit is exceeded, so breaking it gets ever cheaper: add "
            "`rate * (cost - limit)`.",
        ),
        Mistake(
            "below zero",
            lambda price, cost, limit, rate: price + rate * (cost - limit),
            "Your price can become negative. Cost would then be *rewarded* wherever it is below "
            "the limit: take `max(0.0, ...)`.",
        ),
        Mistake(
            "never falls",
            lambda price, cost, limit, rate: max(price, price + rate * (cost - limit)),
            "Your price only rises. After an early excess the policy would be kept far below the "
            "limit for ever: the floor is 0, not the price so far.",
        ),
        Mistake(
            "no limit",
            lambda price, cost, limit, rate: max(0.0, price + rate * cost),
            "You forgot the limit: any cost at all makes it dearer, and the price grows without "
            "end. Its step is proportional to `cost - limit`.",
        ),
        Mistake(
            "forgets the price",
            lambda price, cost, limit, rate: max(0.0, rate * (cost - limit)),
            "Your price starts anew each time. It has to add up: at the limit it stays what it "
            "was, which is what holds the policy there.",
        ),
        Mistake(
            "multiplies",
            lambda price, cost, limit, rate: max(0.0, price * (1 + rate * (cost - limit))),
            "You multiply, so a price of 0 stays 0 for ever: add `rate * (cost - limit)`.",
        ),
    ),
    hints=(
        "The price goes up by `rate` times the excess, `cost - limit`, which is negative below it.",
        "And it is never negative: `max(0.0, ...)`.",
        "`max(0.0, price + rate * (cost - limit))`",
    ),
)


# --- When to stop --------------------------------------------------------------------------------


def _stop_cases(rng: np.random.Generator) -> list[Case]:
    hand = [
        Case(
            "the second judge turns, the one in use goes on",
            ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.0, 1.0, 2.0, 1.5, 1.0, 2.6, 2.5], 2),
            2,
        ),
        Case(
            "it comes back in time, later it does not",
            ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.0, 1.0, 0.5, 1.5, 1.0, 1.0, 1.6], 2),
            3,
        ),
        Case("both rise to the end", ([0.0, 1.0, 2.0, 3.0], [0.0, 0.5, 0.7, 0.9], 2), 3),
        Case(
            "both fall: a bad batch, no gap",
            ([0.0, 2.0, 1.0, 1.5, 1.8, 1.9], [0.0, 2.0, 1.0, 1.2, 1.4, 1.9], 2),
            5,
        ),
        Case(
            "patience of one",
            ([0.0, 1.0, 2.0, 3.0], [0.0, 0.5, 0.4, 0.9], 1),
            1,
        ),
    ]
    # Ground truth by construction: it rises up to `peak`, then lies below for longer than patience.
    peak, patience = (int(x) for x in rng.integers(2, 6, size=2))
    after = patience + int(rng.integers(2, 5))
    second = [*np.sort(rng.uniform(0, 1, size=peak)), 1.5, *rng.uniform(0, 1, size=after), 2.0]
    used = np.sort(rng.uniform(0, 3, size=len(second)))
    drawn = ([float(x) for x in used], [float(x) for x in second], patience)
    return [*hand, Case("random curves", drawn, peak)]


def _stop(used, second, patience, *, longer=0, gap=True, now=False) -> int:
    """`constraints.stop_at` with one thing wrong."""
    best = 0
    for i in range(len(second)):
        if second[i] > second[best]:
            best = i
        if i - best >= patience + longer and (used[i] > used[best] or not gap):
            return i if now else best
    return len(second) - 1


stop_at = Exercise(
    reference=constraints.stop_at,
    cases=_stop_cases,
    mistakes=(
        Mistake(
            "keeps the last policy",
            lambda used, second, patience: _stop(used, second, patience, now=True),
            "You return the update at which you noticed. By then the policy has been getting worse "
            "for `patience` updates: return the best one before.",
        ),
        Mistake(
            "one update too patient",
            lambda used, second, patience: _stop(used, second, patience, longer=1),
            "You wait one update too long: stop as soon as `i - best >= patience`.",
        ),
        Mistake(
            "stops without a gap",
            lambda used, second, patience: _stop(used, second, patience, gap=False),
            "You stop whenever the second judge is down. If the one in use is down as well, that "
            "is an unlucky batch, not over-optimisation: ask for `used[i] > used[best]`.",
        ),
        Mistake(
            "trusts the judge in use",
            lambda used, second, patience: int(np.argmax(used)),
            "You keep the update that the judge in use likes best. That is the one it has been "
            "fooled by most: look at `second`.",
        ),
        Mistake(
            "looks into the future",
            lambda used, second, patience: int(np.argmax(second)),
            "You take the best update of the whole run. During training you do not know what is "
            "still to come: go through the updates in order, and stop when patience is over.",
        ),
        Mistake(
            "the judges exchanged",
            lambda used, second, patience: _stop(second, used, patience),
            "You look for the best update by `used`, and it never comes: it rises to the end. The "
            "best so far is that of `second`.",
        ),
    ),
    hints=(
        "Go through the updates in order and remember `best`, the number of the one that `second` "
        "liked best so far.",
        "Stop where `i - best >= patience` and `used[i] > used[best]`, and return `best`. Without "
        "a stop return the last number, `len(second) - 1`.",
        "for i in range(len(second)): if second[i] > second[best]: best = i; then "
        "`if i - best >= patience and used[i] > used[best]: return best`.",
    ),
)
