"""Exercises of lesson 11: Dyna's update, a Gaussian's surprise, elites, weights of horizons."""

from __future__ import annotations

import numpy as np

from course_lib.classroom.cases import case
from course_lib.classroom.check import Case, Exercise
from course_lib.lessons.world_models import build
from course_lib.world_models import dyna, dynamics, horizons, planning
from course_lib.world_models.dyna import Memory

LOG_2PI, LOG_4 = 1.8378770664, 1.3862943611  # written out: independent of what is checked

# --- Learning from what is remembered ------------------------------------------------------------


def _dyna_cases(rng: np.random.Generator) -> list[Case]:
    # A corridor 0 - 1 - 2; from 2 the right move, action 1, ends the episode with reward 1.
    right = {(0, 1): Memory(0.0, 1, False), (1, 1): Memory(0.0, 2, False)}
    right |= {(2, 1): Memory(1.0, 0, True), (1, 0): Memory(-1.0, 0, False)}
    empty, known = np.zeros((3, 2)), np.array([[8.0, 0.0], [2.0, 4.0], [0.0, 6.0]])

    def corridor(name: str, q: np.ndarray, pairs: list, alpha: float, changed: dict) -> Case:
        expected = q.copy()
        for pair, value in changed.items():
            expected[pair] = value
        return Case(name, (q, right, pairs, alpha, 0.5), expected)

    backwards, all_the_way = [(2, 1), (1, 1), (0, 1)], {(2, 1): 1, (1, 1): 0.5, (0, 1): 0.25}
    end = "the end is worth its reward and nothing else, however much state 0 is worth"
    twice = "the same pair twice: halfway, and half of what is left"
    losses = "a future of losses: the best of them is still a loss"
    q, model = rng.normal(size=(4, 3)), {}
    for pair in np.ndindex(4, 3):
        ended = bool(rng.random() < 0.3)
        model[pair] = Memory(float(rng.normal()), int(rng.integers(4)), ended)
    keys = sorted(model)
    pairs = [keys[i] for i in rng.integers(len(keys), size=12)]
    alpha, gamma = float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.5, 0.95))
    table = q.tolist()
    for s, a in pairs:  # one by one, as a weighted mean
        memory = model[s, a]
        future = 0.0 if memory.terminated else gamma * sorted(table[memory.next_state])[-1]
        table[s][a] = (1 - alpha) * table[s][a] + alpha * (memory.reward + future)
    return [
        corridor("backwards, the reward goes all the way", empty, backwards, 1.0, all_the_way),
        corridor("forwards, only the last move learns", empty, backwards[::-1], 1.0, {(2, 1): 1}),
        corridor(end, known, [(2, 1)], 0.5, {(2, 1): 3.5}),
        corridor(twice, known, [(1, 0)] * 2, 0.5, {(1, 0): 2.75}),  # to -1 + 0.5 * 8 = 3
        corridor(losses, -known, [(0, 1), (1, 0)], 0.5, {(0, 1): -0.5, (1, 0): -1.625}),
        corridor("nothing to imagine", known, [], 0.5, {}),
        Case("a random world", (q, model, pairs, alpha, gamma), np.array(table)),
    ]


dyna_update = Exercise(
    reference=dyna.dyna_update,
    cases=_dyna_cases,
    edits="""
    bootstraps through the end: `memory.terminated` becomes `False`. You added a future after the
      end. What `next_state` is worth belongs to another episode: multiply the future by `1 -
      memory.terminated`.

    all from the old table: `q = q.copy()` becomes `old, q = q, q.copy()`, `q[memory.next_state]`
      becomes `old[memory.next_state]`, `q_update(q[state, action]` becomes `q_update(old[state,
      action]`. All your targets come from the table as it was at the start. Update one and the same
      copy, pair by pair: a later update then sees what an earlier one changed, and a reward travels
      back over several states.

    only the first: `in pairs` becomes `in pairs[:1]`. You updated the first pair only. Does your
      `return` stand inside the loop?

    each pair once: `in pairs` becomes `in dict.fromkeys(pairs)`. A pair that was drawn twice is
      updated only once. Go through `pairs` as they are.

    the whole model: `in pairs` becomes `in list(model)`. You went through everything the model
      knows. Update `pairs` only: how many, and which, is for the caller to say.

    jumps to the target: `q_update(q[state, action], target, alpha)` becomes `target`. You
      replaced the value by the target. Move by the fraction `alpha` of the way, as after a real
      step.

    adds the target: `q_update(q[state, action], target, alpha)` becomes `q[state, action] + alpha
      * target`. You added the target itself, so values grow for ever. Add the error, target -
      value.

    forgets the discount: `0, gamma)` becomes `0, 1.0)`. `gamma` changes nothing in your version.
      The future is one step away, also in a dream.

    the mean of the future: `q[memory.next_state]` becomes
      `q[memory.next_state].mean(keepdims=True)`. You took the mean over the next actions.
      Q-learning assumes that the best one follows: take the maximum.

    the best of the same state: `q[memory.next_state]` becomes `q[state]`. You took the best value
      of the state in which the move was made. The future begins where it led:
      `q[memory.next_state].max()`.

    forgets the reward: `memory.reward` becomes `0.0`. The remembered reward is missing in your
      target.

    writes to the next state: `q[state, action] = q_update(q[state, action], target, alpha)`
      becomes `q[memory.next_state, action] = q_update(q[memory.next_state, action], target,
      alpha)`. You changed the row of the *next* state. The value of the move belongs to the state
      in which it was made: `q[state, action]`.
    """,
    hints=(
        "Begin with `q = q.copy()`, then a loop over `pairs`. Each turn is one update of "
        "Q-learning, with a memory in place of a real step.",
        "`memory = model[state, action]` holds `reward`, `next_state` and `terminated`. The target "
        "is `memory.reward + gamma * (1 - memory.terminated) * q[memory.next_state].max()`.",
        "`q[state, action] += alpha * (target - q[state, action])`, and `return q` after the loop.",
    ),
)


# --- How surprising is what happened? ------------------------------------------------------------


def _nll_cases(rng: np.random.Generator) -> list[Case]:
    zeros, both = [[0], [0]], [[-LOG_4], [LOG_4]]  # standard deviations of 1/2 and 2
    half = np.array([0.5 * LOG_2PI - 0.5 * LOG_4, 0.5 * LOG_2PI + 0.5 * LOG_4])
    mean, target = rng.normal(size=(2, 3, 4, 2))
    std = np.exp(rng.uniform(-1, 1, size=(3, 4, 2)))
    expected = np.zeros((3, 4))
    for index in np.ndindex(3, 4, 2):  # minus the logarithm of the bell curve itself
        height = 1 / (std[index] * np.sqrt(2 * np.pi))
        bell = height * np.exp(-((target[index] - mean[index]) ** 2) / (2 * std[index] ** 2))
        expected[index[:2]] -= np.log(bell)
    drawn = (mean, 2 * np.log(std), target)
    return [
        # Errors 2 and 0, variance 1: only the square of the first one and two constants are left.
        case("variance 1, one number off by 2", ([[0, 3]], [[0, 0]], [[2, 3]]), [2 + LOG_2PI]),
        # A right mean costs less the surer it was; log 4 on each side.
        case("right and sure, right and unsure", ([[1], [1]], both, [[1], [1]]), half),
        # Off by 2: with variance 1/4 that is four standard deviations, with variance 4 only one.
        case(
            "wrong and sure, wrong and unsure", (zeros, both, [[2], [2]]), half + np.array([8, 0.5])
        ),
        case("a single row", ([0, 3], [0, 0], [2, 3]), 2 + np.array(LOG_2PI)),
        case("three members, four rows", drawn, expected, rtol=1e-4, atol=1e-5),
    ]


gaussian_nll = Exercise(
    reference=dynamics.gaussian_nll,
    differentiated="mean log_var",
    cases=_nll_cases,
    edits="""
    the squared error: `0.5 * (error * torch.exp(-log_var) + log_var + math.log(2 *
      math.pi)).sum(-1)` becomes `error.sum(-1)`. This is the squared error alone: it does not ask
      how sure the prediction was. Three terms belong in it, each times one half: the squared error
      divided by the variance, `log_var`, and `math.log(2 * math.pi)`.

    forgets the variance: `error * torch.exp(-log_var) + log_var` becomes `error`. This is the
      squared error, half of it plus a constant: `log_var` changes nothing. Divide the squared error
      by the variance, and add the logarithm of the variance.

    claims nothing for being sure: ` + log_var` goes. You divide by the variance, but a large
      variance costs nothing. The best answer would be an infinite one, for everything. Add
      `log_var`.

    takes the log-variance for the variance: `error * torch.exp(-log_var)` becomes `error /
      log_var`. You divide by the *logarithm* of the variance, which may be 0 or negative. The
      variance is `torch.exp(log_var)`.

    takes it for the log of the precision: `torch.exp(-log_var) + log_var` becomes
      `torch.exp(log_var) - log_var`. Both signs of `log_var` are turned round in your version, as
      if it were the logarithm of 1 / variance. A large `log_var` means unsure.

    multiplies by the variance: `torch.exp(-log_var)` becomes `torch.exp(log_var)`. You multiply
      the squared error by the variance. An error counts *less* where the prediction was unsure:
      divide, or multiply by `torch.exp(-log_var)`.

    the standard deviation: `torch.exp(-log_var)` becomes `torch.exp(-0.5 * log_var)`. You divided
      the squared error by the standard deviation. A square is compared with a square: the variance
      is `torch.exp(log_var)`.

    takes it for the log of the standard deviation: `torch.exp(-log_var) + log_var` becomes
      `torch.exp(-2 * log_var) + 2 * log_var`. You took `log_var` for the logarithm of the standard
      deviation. It is that of the variance: no factor of 2 belongs before it.

    absolute error: `(targets - mean) ** 2` becomes `(targets - mean).abs()`. You took the
      absolute error. The bell curve falls with the *square* of the distance.

    without the half: `0.5 * (error` becomes `(error`. Twice too much: the logarithm of the bell
      curve has a factor of one half before it.

    the likelihood: `0.5 *` becomes `-0.5 *`. The sign is off: this is the log-likelihood, and
      training would make what happened as improbable as it can. Surprise is minus that.

    without the constant: ` + math.log(2 * math.pi)` goes. Only the constant is missing,
      `math.log(2 * math.pi)` per number. No gradient would notice, but the result would not be in
      nats, and could not be compared.

    one constant per row: ` + math.log(2 * math.pi)).sum(-1)` becomes `).sum(-1) + 0.5 *
      math.log(2 * math.pi)`. You added the constant once. Each of the D numbers has a bell curve of
      its own: half of `math.log(2 * math.pi)` for each, inside the sum.

    half of the error only: `0.5 * (error * torch.exp(-log_var) + log_var` becomes `(0.5 * error *
      torch.exp(-log_var) + log_var`, `math.log(2 * math.pi)` becomes `0.5 * math.log(2 *
      math.pi)`. Your `log_var` counts twice. The logarithm of the standard deviation is half that
      of the variance: one half before all three terms.

    mean over the numbers: `.sum(-1)` becomes `.mean(-1)`. You averaged over the numbers of a row.
      They are independent, so their probabilities multiply and their surprises add up: `sum(-1)`.

    one number for all: `.sum(-1)` becomes `.sum(-1).mean()`. You returned one number. Keep one
      per row, shape (...): the training takes the mean.

    one number per number: `.sum(-1)` goes. You kept one surprise per predicted number, (..., D).
      Those of a row add up: `sum(-1)`.
    """,
    hints=(
        "The bell curve is exp(-error² / (2 var)) / sqrt(2 π var). Take minus its logarithm: three "
        "terms are left, each with a factor of one half.",
        "The variance is `torch.exp(log_var)`, so dividing by it is multiplying by "
        "`torch.exp(-log_var)`, which never divides by 0.",
        "`0.5 * ((targets - mean) ** 2 * torch.exp(-log_var) + log_var + math.log(2 * "
        "math.pi)).sum(-1)`",
    ),
)


# --- Where to draw the next plans ----------------------------------------------------------------


def _moments(x: list[float]) -> tuple[float, float]:
    """Mean and variance, in double precision."""
    middle = sum(x) / len(x)
    return middle, sum((value - middle) ** 2 for value in x) / len(x)


def _elite_cases(rng: np.random.Generator) -> list[Case]:
    # One environment, four plans of two steps, one number each; then two, three plans, one step.
    plans, old = [[[[0], [4]], [[2], [0]], [[9], [9]], [[4], [2]]]], ([[[1], [1]]], [[[5], [3]]])
    two = ([[[[1]], [[3]], [[5]]], [[[2]], [[4]], [[6]]]], [[9, 8, 7], [1, 2, 3]])
    one = (plans, [[1, 3, 0, 2]], *old, 2)
    drawn, scores = rng.normal(1, 2, size=(2, 7, 3, 2)), rng.normal(size=(2, 7))
    mean, std = rng.normal(3, 1, size=(2, 3, 2)), rng.uniform(1, 2, size=(2, 3, 2))
    keep = float(rng.uniform(0.2, 0.4))
    expected = np.zeros((2, 2, 3, 2))
    for n in range(2):  # one by one, in double precision
        ranked = sorted(range(7), key=lambda p, n=n: -scores[n, p])[:3]
        for at in np.ndindex(3, 2):
            middle, variance = _moments([drawn[n, p][at] for p in ranked])
            expected[0, n][at] = keep * mean[n][at] + (1 - keep) * middle
            expected[1, n][at] = keep * std[n][at] + (1 - keep) * variance**0.5
    args = (drawn, scores, mean, std, 3, keep)
    return [
        case("the best two of four", (*one, 0.0), ([[[3], [1]]], [[[1], [1]]])),
        case("half of the old mean and spread stays", (*one, 0.5), ([[[2], [1]]], [[[3], [2]]])),
        case(
            "all scores below zero; the best one alone",
            (plans, [[-7, -9, -8, -1]], *old, 1, 0.0),
            ([[[4], [2]]], [[[0], [0]]]),
        ),
        case(
            "two environments choose each for itself",
            (*two, [[[0]], [[0]]], [[[1]], [[1]]], 2, 0.25),
            ([[[1.5]], [[3.75]]], [[[1]], [[1]]]),
        ),
        case("random plans", args, tuple(expected), rtol=1e-4, atol=1e-5),
    ]


elite_update = Exercise(
    reference=planning.elite_update,
    cases=_elite_cases,
    edits="""
    keeps the worst: `dim=1)` becomes `dim=1, largest=False)`. You kept the plans with the
      *lowest* scores. Scores are imagined returns: higher is better.

    keeps all plans: `plans.gather(1, best[:, :, None, None].expand(-1, -1, *plans.shape[2:]))`
      becomes `plans`. Mean and spread are those of all plans, so the scores change nothing. Take
      them over the `elites` best ones.

    keeps the first: `plans.gather(1, best[:, :, None, None].expand(-1, -1, *plans.shape[2:]))`
      becomes `plans[:, :elites]`. You took the first plans as they were drawn. Order them by their
      scores first: `scores.topk(elites, dim=1).indices`.

    one choice for all environments: `scores.topk(elites, dim=1).indices` becomes
      `scores.mean(0).topk(elites).indices.expand(len(scores), -1)`. You chose the same plans for
      all environments. Each stands elsewhere, so each has elites of its own: choose along `dim=1`.

    the spread of all plans: `chosen.std(` becomes `plans.std(`. The mean is that of the elites,
      but the spread is that of *all* plans. Then it never shrinks, and the search stays as wide as
      it began.

    divides by one less: `, correction=0` goes. Torch's `std` divides by the number less one by
      default (nan for a single elite). Asked for is the spread of the elites themselves:
      `correction=0`.

    the variance: `chosen.std(` becomes `chosen.var(`. You returned the variance. New plans are
      drawn with a standard deviation, its root.

    the spread around the old mean: `chosen.std(1, correction=0)` becomes `(chosen - mean[:,
      None]).square().mean(1).sqrt()`. You measured the spread around the *old* mean. It is that of
      the elites around their own mean.

    one mean for all steps: `chosen.mean(1), chosen.std(1, correction=0)` becomes `chosen.mean((1,
      2))[:, None], chosen.std((1, 2), correction=0)[:, None]`. You averaged over the steps of the
      plan as well. What is good now need not be good in ten steps: keep a mean for each step, (N,
      H, A).

    forgets the old ones: `keep * mean + (1 - keep) * new_mean, keep * std + (1 - keep) * new_std`
      becomes `new_mean, new_std`. `keep` changes nothing in your version. That share of the old
      mean and spread stays, so that a few lucky plans do not end the search.

    swaps keep: `keep * mean + (1 - keep) * new_mean` becomes `(1 - keep) * mean + keep *
      new_mean`, `keep * std + (1 - keep) * new_std` becomes `(1 - keep) * std + keep * new_std`.
      You keep the share `1 - keep` of the old ones. It is the other way round: `keep` is what
      *stays*.

    keeps the old mean only: `keep * std + (1 - keep) * new_std` becomes `new_std`. Your mean is
      right, but the spread forgets the old one: a share `keep` of it stays, too.
    """,
    hints=(
        "Three steps: find the numbers of the `elites` best plans, pick these plans, take mean and "
        "standard deviation over them.",
        "`best = scores.topk(elites, dim=1).indices` is (N, elites). To pick, `gather` along "
        "`dim=1` wants an index of the shape of its result: `best[:, :, None, None].expand(-1, -1, "
        "*plans.shape[2:])`.",
        "`keep * mean + (1 - keep) * chosen.mean(1)`, and the same for the spread with "
        "`chosen.std(1, correction=0)`.",
    ),
)

cross_entropy_plan = build.cross_entropy_plan


# --- How much does each horizon count? -----------------------------------------------------------


def _weight_cases(rng: np.random.Generator) -> list[Case]:
    # Two members, three horizons, one state: variances 1, 4 and 1/4, so 1 : 1/4 : 4.
    apart, shares = [[[9], [8], [2]], [[7], [4], [1]]], np.array([[4], [1], [16]]) / 21
    alike = np.array([[5], [2], [8]]) / 15  # the same plus 1 each, so 1/2 : 1/5 : 4/5
    two = [[[0, 0], [0, 0]], [[2, 4], [4, 2]]]
    returns = rng.normal(size=(4, 5, 3)) * rng.uniform(0.5, 2, size=(1, 5, 3))
    floor = float(rng.uniform(0.1, 0.5))
    certainty = np.zeros((5, 3))
    for k, b in np.ndindex(5, 3):  # one by one
        certainty[k, b] = 1 / (_moments(returns[:, k, b].tolist())[1] + floor)
    expected = np.stack([column / column.sum() for column in certainty.T], axis=1)
    return [
        case("the closer the members, the more it counts", (apart, 0.0), shares),
        case("a large floor makes all weights more alike", (apart, 1.0), alike),
        case("two states, each with weights of its own", (two, 0.0), [[0.8, 0.2], [0.2, 0.8]]),
        # Variances 0 and 1, plus 1/4 each.
        case("members that agree exactly", ([[[3], [1]], [[3], [3]]], 0.25), [[5 / 6], [1 / 6]]),
        case("all agree about everything", ([[[3], [5]], [[3], [5]]], 1e-8), [[0.5], [0.5]]),
        case("four members, five horizons", (returns, floor), expected),
    ]


horizon_weights = Exercise(
    reference=horizons.horizon_weights,
    cases=_weight_cases,
    edits="""
    weights by the variance: `1 / (` becomes `(`. Your weights grow with the variance: you trust
      an estimate the more, the further the members are apart. Take the inverse.

    the standard deviation: `returns.var(` becomes `returns.std(`. You divided by the standard
      deviation. For independent estimates the best weights are the inverses of the *variances*.

    do not add up to 1: `certainty / certainty.sum(0, keepdim=True)` becomes `certainty`. These
      are certainties, and they do not add up to 1: an average with such weights would change the
      size of the return. Divide by their sum over the horizons.

    add up to 1 over states: `sum(0, keepdim=True)` becomes `sum(1, keepdim=True)`. Your weights
      add up to 1 over the starting states. The horizons of *one* state share the weight: sum over
      `dim=0` of the certainties (K, B).

    add up to 1 over everything: `sum(0, keepdim=True)` becomes `sum()`. You divided by the sum of
      all certainties, over horizons and states. Each state has its own estimate, so its horizons
      add up to 1 by themselves: `sum(0, keepdim=True)`.

    variance over horizons: `var(0, correction=0)` becomes `var(1, correction=0)`. You took the
      variance over the horizons. What tells how far an estimate can be trusted is the spread over
      the *members*, `dim=0`.

    forgets the floor: ` + floor` goes. Where all members agree you divide by 0, and inf / inf is
      nan. Add `floor` to the variance.

    adds the floor to the certainty: `1 / (returns.var(0, correction=0) + floor)` becomes `1 /
      returns.var(0, correction=0) + floor`. You added the floor after dividing. Then you still
      divide by 0 where all members agree: add it to the variance first.

    a floor under the variance: `(returns.var(0, correction=0) + floor)` becomes `returns.var(0,
      correction=0).clamp(min=floor)`. You used `floor` as a lower limit. It is *added* to the
      variance.

    divides by one less: `, correction=0` goes. Torch's `var` divides by the number of members
      less one by default. Asked for is the variance of the members themselves: `correction=0`.

    the surest one alone: `certainty / certainty.sum(0, keepdim=True)` becomes
      `(certainty.argmax(0) == torch.arange(len(certainty))[:, None]).float()`. You put all the
      weight on the horizon where the members agree most. That they agree may be luck: let all
      count, each by the inverse of its variance.

    softmax: `certainty / certainty.sum(0, keepdim=True)` becomes `(-1 / certainty).softmax(0)`.
      You took a softmax. It depends on the unit in which rewards are counted: twice the rewards
      would give other weights. Take inverse variances, divided by their sum.

    all alike: `1 / (returns.var(0, correction=0) + floor)` becomes `torch.ones_like(returns[0])`.
      Your weights do not depend on the returns. Let the horizons on which the members agree count
      more.
    """,
    hints=(
        "How far are the members apart about each horizon? `returns.var(0, correction=0)` is "
        "(K, B).",
        "Certainty is the inverse of that, with `floor` added to the variance first.",
        "`certainty / certainty.sum(0, keepdim=True)`",
    ),
)
