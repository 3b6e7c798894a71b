"""Exercises of lesson 10: best-of-n, its KL and its value, a price that moves, when to stop."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from course_lib.classroom.cases import floats
from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.rlhf import best_of_n, constraints

# --- How far best-of-n moves -------------------------------------------------------------------


def _kl_cases(rng: np.random.Generator) -> list[Case]:
    n = int(rng.integers(5, 200))
    # Ground truth: the best of n draws of a uniform number u has the density n u^(n - 1), so the
    # divergence is an integral over u, here a sum over 200,000 narrow strips.
    u = (np.arange(200_000) + 0.5) / 200_000
    log_density = math.log(n) + (n - 1) * np.log(u)
    expected = float((np.exp(log_density) * log_density).mean())
    return [
        Case("one response: nothing is chosen", (1,), 0.0),
        Case("best of two: log 2 - 1/2", (2,), 0.6931472 - 0.5),
        Case("best of four: log 4 - 3/4", (4,), 1.3862944 - 0.75),
        Case("a random n", (n,), expected, rtol=1e-3),
    ]


best_of_n_kl = Exercise(
    reference=best_of_n.kl,
    cases=_kl_cases,
    edits="""
    only the logarithm: ` - (n - 1) / n` goes. log n is the log-ratio at the very best response
        alone. Most responses that are chosen lie below it: subtract the mean of what is missing,
        (n - 1) / n.

    the other way round: `math.log(n) - (n - 1) / n` becomes `n - 1 - math.log(n)`. This is
        KL(model || best-of-n), the mean under the model's own responses. Wanted is the mean over
        what is chosen: E[log u] under the density n u^(n - 1) is -1 / n, not -1.

    under the single reply's density: `(n - 1) / n` becomes `(n - 1)`. You took the mean under the
        single reply's density, 1. Take it under that of the chosen one, n u^(n - 1). (A divergence
        is never negative; yours is.)

    in bits: `math.log(n)` becomes `math.log2(n)`. Your logarithm has base 2. KL is in nats here, as
        everywhere in this course: `math.log`.

    subtracts 1 / n: `(n - 1) / n` becomes `1 / n`. You subtracted 1 / n. For n = 1 nothing is
        chosen and the divergence must be 0: subtract (n - 1) / n.

    adds: `- (n - 1) / n` becomes `+ (n - 1) / n`. The second term is subtracted: choosing among n
        moves *less* than log n nats.

    the square root: `math.log(n) - (n - 1) / n` becomes
        `math.sqrt(max(0.0, math.log(n) - (n - 1) / n))`. You returned the square root. It is the
        axis of the figure; the function returns the divergence itself.
    """,
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

    three = floats([0, 2, 1]), floats([5, 1, 3])
    proxy = np.stack([rng.permutation(7) for _ in range(2)]).astype(float) - 5
    value, n = rng.normal(size=(2, 7)), int(rng.integers(3, 6))
    expected = [by_hand(p, v, n) for p, v in zip(proxy, value, strict=True)]
    drawn = (floats(proxy), floats(value), n)
    nested = (floats(proxy[:, None]), floats(value[:, None]), n)
    return [
        Case("n = 1: the mean", (*three, 1), floats(3.0)),
        # The pairs (0, 1), (0, 2), (1, 2) choose the responses 1, 2, 1 with values 1, 3, 1.
        Case("n = 2 of 3", (*three, 2), floats(5 / 3)),
        Case("n = N: what the proxy likes best", (*three, 3), floats(1.0)),
        Case("two random prompts with seven responses", drawn, floats(expected)),
        Case("the same, one dimension more", nested, floats(expected)[:, None]),
    ]


best_value = Exercise(
    reference=best_of_n.best_value,
    cases=_value_cases,
    edits="""
    chooses by the truth: `proxy.argsort(` becomes `value.argsort(`. You sorted by `value`.
        Best-of-n cannot see it: it chooses by `proxy`, and `value` is what it then gets.

    reports the proxy: `value.double()` becomes `proxy.double()`. You returned the proxy of what is
        chosen. Wanted is its `value`: bring `value` into the order of `proxy`.

    worst of n: `stable=True` becomes `stable=True, descending=True`. You sorted downwards, so the
        weights choose the *worst* of n: sort `proxy` upwards.

    with replacement: `torch.arange(n,` becomes `torch.arange(1,`, `ordered[..., n - 1 :]` becomes
        `ordered`, `(_log_choose(i - 1, n - 1) - _log_choose(N, n)).exp()` becomes
        `((i / N) ** n - ((i - 1) / N) ** n)`. Your weights, (i / N)^n - ((i - 1) / N)^n, are those
        of drawing with replacement: the same response may then come twice, which makes n look
        smaller than it is. Count choices without replacement: C(i - 1, n - 1) / C(N, n).

    all alike: `.argsort(dim=-1, stable=True)` becomes `.argsort(dim=-1, stable=True)[..., n - 1
        :]`, `ordered[..., n - 1 :]` becomes `ordered`, `(_log_choose(i - 1, n - 1) -
        _log_choose(N, n)).exp()` becomes `torch.full_like(i, 1 / len(i))`. You averaged the
        responses from number n on, all alike. The higher one stands, the more draws it is the best
        of: number i counts C(i - 1, n - 1) / C(N, n).

    counts from 0: `_log_choose(i - 1, n - 1)` becomes `_log_choose((i - 2).clamp(min=0), n - 1)`.
        You count from 0 but use the formula for numbers from 1: at index i there are i responses
        below, so the weight is C(i, n - 1) / C(N, n).

    counts from 0 and leaves out the first: `torch.arange(n, N + 1` becomes `torch.arange(n, N`,
        `n - 1 :` becomes `n:`. You count from 0 but use the formula for numbers from 1, so the
        response at index n - 1 gets no weight: at index i there are i responses below, and the
        weight is C(i, n - 1) / C(N, n).

    no division: ` - _log_choose(N, n)` goes. Your weights do not add up to 1: divide by the number
        of all choices, C(N, n).

    divides by N: `- _log_choose(N, n)` becomes `- math.log(N)`. You divide by N, the number of
        responses, and your weights do not add up to 1. They count choices of n responses: divide by
        the number of all choices, C(N, n).

    at most number i: `_log_choose(i - 1, n - 1)` becomes `_log_choose(i, n)`. C(i, n) / C(N, n) is
        the probability that the best is number i *or lower*. That it is number i: i is drawn, and
        n - 1 of the i - 1 below it, C(i - 1, n - 1) / C(N, n).
    """,
    mistakes=(
        Mistake(
            "only the first n",
            lambda proxy, value, n: value.gather(
                -1, proxy[..., :n].argmax(-1, keepdim=True)
            ).squeeze(-1),
            "You used the first n responses only. That is unbiased, but noisy: the N responses "
            "hold C(N, n) such draws. Take the mean over all of them.",
        ),
        Mistake(
            "mean of the best n",
            lambda proxy, value, n: value.gather(-1, proxy.topk(n, dim=-1).indices).mean(-1),
            "You averaged the n responses that the proxy likes best of all. Best-of-n sees only n "
            "responses at a time and keeps *one* of them.",
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
    price, rate = rng.uniform(1, 2, size=2)
    limit, excess = rng.uniform(0.1, 0.2), rng.uniform(0.1, 0.3)
    # Ground truth: so many equal steps of a thousandth of the excess.
    expected = price + sum(rate * excess / 1000 for _ in range(1000))
    drawn = tuple(float(x) for x in (price, limit + excess, limit, rate))
    return [
        Case("above the limit: dearer", (1.0, 0.5, 0.1, 2.0), 1.8),
        Case("below the limit: cheaper", (1.0, 0.0, 0.1, 2.0), 0.8),
        Case("at the limit: as before", (0.7, 0.25, 0.25, 3.0), 0.7),
        Case("a price is never negative", (0.1, 0.0, 0.5, 1.0), 0.0),
        Case("from nothing", (0.0, 0.3, 0.1, 1.0), 0.2),
        Case("random numbers", drawn, float(expected)),
    ]


dual_update = Exercise(
    reference=constraints.dual_update,
    cases=_dual_cases,
    edits="""
    the sign turned round: `price + rate` becomes `price - rate`. Your price falls while the limit
        is exceeded, so breaking it gets ever cheaper: add `rate * (cost - limit)`.

    below zero: `max(0.0, price + rate * (cost - limit))` becomes `price + rate * (cost - limit)`.
        Your price can become negative. Cost would then be *rewarded* wherever it is below the
        limit: take `max(0.0, ...)`.

    never falls: `max(0.0,` becomes `max(price,`. Your price only rises. After an early excess the
        policy would be kept far below the limit for ever: the floor is 0, not the price so far.

    stands still at the floor: `max(0.0, price + rate * (cost - limit))` becomes `(price + rate *
        (cost - limit) if price + rate * (cost - limit) > 0 else price)`. Where the step would end
        below 0, your price stays what it was. It has to fall as far as it can: to 0.

    no limit: `(cost - limit)` becomes `cost`. You forgot the limit: any cost at all makes it
        dearer, and the price grows without end. Its step is proportional to `cost - limit`.

    forgets the price: `price + rate` becomes `rate`. Your price starts anew each time. It has to
        add up: at the limit it stays what it was, which is what holds the policy there.

    multiplies: `price + rate * (cost - limit)` becomes `price * (1 + rate * (cost - limit))`. You
        multiply, so a price of 0 stays 0 for ever: add `rate * (cost - limit)`.
    """,
    hints=(
        "The price goes up by `rate` times the excess, `cost - limit`, which is negative below it.",
        "And it is never negative: `max(0.0, ...)`.",
        "`max(0.0, price + rate * (cost - limit))`",
    ),
)


# --- When to stop --------------------------------------------------------------------------------


def _stop_cases(rng: np.random.Generator) -> list[Case]:
    turns = [0.0, 1.0, 2.0, 1.5, 1.0, 2.6, 2.5]
    comes_back = [0.0, 1.0, 0.5, 1.5, 1.0, 1.0, 1.6]
    rises = [float(i) for i in range(7)]
    bad_batch = [0.0, 2.0, 1.0, 1.5, 1.8, 1.9], [0.0, 2.0, 1.0, 1.2, 1.4, 1.9]
    late = [0.0, 2.0, 1.0, 1.5, 2.5, 3.0]
    flat, small_rise = [0.0, 2.0, 2.0, 2.0, 2.0, 2.0], [-9.0, -5.0, -8.0, -7.0, -7.5, -8.0]
    # Ground truth by construction: it rises up to `peak`, then lies below for longer than patience.
    peak, patience = (int(x) for x in rng.integers(2, 6, size=2))
    after = patience + int(rng.integers(2, 5))
    second = [*np.sort(rng.uniform(0, 1, size=peak)), 1.5, *rng.uniform(0, 1, size=after), 2.0]
    second = np.array(second) - 3
    used = np.sort(rng.uniform(0, 3, size=len(second)))
    drawn = ([float(x) for x in used], [float(x) for x in second], patience)
    return [
        Case("the second judge turns, the one in use goes on", (rises, turns, 2), 2),
        Case("it comes back in time, later it does not", (rises, comes_back, 2), 3),
        Case("both rise to the end", (rises[:4], [0.0, 0.5, 0.7, 0.9], 2), 3),
        Case("both fall: a bad batch, no gap", (*bad_batch, 2), 5),
        Case("the judge in use stands still: no gap", (flat, bad_batch[1], 2), 5),
        Case("below zero, a small rise that is no new best", (rises[:6], small_rise, 3), 1),
        Case("the gap opens late, the second judge recovers a little", (late, bad_batch[1], 2), 1),
        Case("a single update", ([1.0], [2.0], 1), 0),
        Case("the run ends before patience is over", (rises[:4], [0.0, 1.0, 2.0, 1.5], 2), 3),
        Case("patience of one", (rises[:4], [0.0, 0.5, 0.4, 0.9], 1), 1),
        Case("random curves", drawn, peak),
    ]


stop_at = Exercise(
    reference=constraints.stop_at,
    cases=_stop_cases,
    edits="""
    keeps the last policy: `return best` becomes `return i`. You return the update at which you
        noticed. By then the policy has been getting worse for `patience` updates: return the best
        one before.

    looks into the future, with patience: `best = 0` becomes
        `best = max(range(len(second)), key=lambda j: second[j])`. You take the best update of the
        whole run. When you are at update i you know only 0 to i: keep `best` up to date as you go.

    one update too patient: `>= patience` becomes `> patience`. You wait one update too long: stop
        as soon as `i - best >= patience`.

    one update too impatient: `>= patience` becomes `>= patience - 1`. You stop one update too
        early: let `i - best` reach `patience`. The second judge may still come back.

    any rise is a best: `second[i] > second[best]` becomes `i > 0 and second[i] > second[i - 1]`.
        You compare with the update before, so a small rise after a deep fall counts as a new best.
        Compare with the best so far: `second[i] > second[best]`.

    the gap to the update before: `used[i] > used[best]` becomes `used[i] > used[i - 1]`. You ask
        whether the judge in use has risen since the update before. The gap opens where it is above
        what it was at the best update: `used[i] > used[best]`.

    never the last: `return len(second) - 1` becomes `return best`. Without a stop you keep the best
        update after all. The rule then found nothing wrong: the last one is kept.

    stops without a gap: ` and used[i] > used[best]` goes. You stop whenever the second judge is
        down. If the one in use is down as well, that is an unlucky batch, not over-optimisation:
        ask for `used[i] > used[best]`.

    the judges exchanged: `used: Sequence[float], second: Sequence[float]` becomes
        `second: Sequence[float], used: Sequence[float]`. You look for the best update by `used`,
        and it never comes: it rises to the end. The best so far is that of `second`.
    """,
    mistakes=(
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
