"""Exercises of lesson 13: what is still to come, three tokens a step, and two offline losses."""

from __future__ import annotations

import math

import numpy as np
import torch

from course_lib.agents import decision_transformer
from course_lib.classroom.cases import case, floats
from course_lib.classroom.check import Case, Exercise, Mistake
from course_lib.lessons.decision_transformer import build
from course_lib.rl import dataset, offline, offline_table

# --- What is still to come -----------------------------------------------------------------------


def _to_go_cases(rng: np.random.Generator) -> list[Case]:
    def table(name: str, *episodes: list[float]) -> Case:
        # Ground truth: each episode on its own, each row by adding up what stands from it on.
        rewards = [reward for episode in episodes for reward in episode]
        ended = [k == len(episode) for episode in episodes for k in range(1, len(episode) + 1)]
        right = [sum(episode[k:]) for episode in episodes for k in range(len(episode))]
        return Case(name, (floats(rewards).numpy(), np.array(ended)), floats(right).numpy())

    drawn = (rng.integers(-4, 5, size=rng.integers(2, 6)) / 2 for _ in range(4))
    return [
        table("one step", [3]),
        table("one episode of three steps", [1, 2, 4]),
        table("two episodes in one table", [1, 2], [5, 0, 7]),
        table("an episode of one step between two others", [0, 1], [4], [2, 2]),
        table("rewards below zero, and a late prize", [-1, -1, 10], [-1, 0, -1]),
        table("four random episodes", *(list(episode) for episode in drawn)),
        # The record has a hundred thousand rows: too many for a function that calls itself.
        table("a record of 3,000 rows", *([[1, 0.5]] * 1_500)),
    ]


def _so_far(rewards: np.ndarray, ended: np.ndarray) -> np.ndarray:
    total, found = 0.0, []
    for reward, end in zip(rewards, ended, strict=True):
        total += reward
        found.append(total)
        total = 0.0 if end else total
    return np.array(found, np.float32)


def _whole_return(rewards: np.ndarray, ended: np.ndarray) -> np.ndarray:
    episode = np.cumsum(ended) - ended
    return np.bincount(episode, rewards)[episode].astype(np.float32)


def _never_ends(rewards: np.ndarray, ended: np.ndarray) -> np.ndarray:
    return np.cumsum(rewards[::-1])[::-1].astype(np.float32)


returns_to_go = Exercise(
    reference=dataset.returns_to_go,
    cases=_to_go_cases,
    edits="""
    leaves out its own reward: `to_go[t] = rest` becomes `to_go[t] = rest - rewards[t]`. You leave
        out the row's own reward. The action of this row is not taken yet when the model is asked,
        so what it brings is still to come: it belongs in the sum.

    loses the reward of the end: `rewards[t] + (0.0 if ended[t] else rest)` becomes
        `0.0 if ended[t] else rewards[t] + rest`. The last reward of an episode is missing. `ended`
        marks its last row, which was really played: only what stands *after* it must not count.

    discounts: `else rest)` becomes `else 0.99 * rest)`. You discounted. What a decision transformer
        is asked for is a score, and a score is a plain sum.

    cuts a row too early: `ended[t]` becomes `ended[min(t + 1, len(ended) - 1)]`. You cut one row
        too late on your way back. On a row where `ended` is True, what comes after must be dropped
        *before* its own reward is added. Yours has the next episode in it, and the row before it
        misses its reward.

    takes an end for a beginning: `ended[t]` becomes `ended[t - 1]`. Your episodes begin where
        `ended` is True. It marks the *last* row of an episode; the next one begins after it.
    """,
    mistakes=(
        Mistake(
            "runs through the ends",
            _never_ends,
            "You added the rewards of the next episode too. What is to come ends where the episode "
            "ends: on a row where `ended` is True, the row's own reward is all.",
        ),
        Mistake(
            "counts from the front",
            _so_far,
            "Those are the rewards so far. Asked is what is still to come: begin at the last row "
            "and walk backwards.",
        ),
        Mistake(
            "one number for the episode",
            _whole_return,
            "You gave every row the return of its whole episode. What has been earned before a row "
            "is no longer to come.",
        ),
    ),
    hints=(
        "The last row of an episode has its own reward to come, the row before it has its own and "
        "that one. Which way do you have to walk?",
        "Keep one number, `rest`: what is to come from the row after this one on. On a row where "
        "`ended` is True it does not count.",
        "For t from the last row to the first: `rest = rewards[t] + (0.0 if ended[t] else rest)`, "
        "and `to_go[t] = rest`.",
    ),
)


# --- Three tokens a step -------------------------------------------------------------------------


def _interleave_cases(rng: np.random.Generator) -> list[Case]:
    def by_hand(name: str, returns: np.ndarray, states: np.ndarray, actions: np.ndarray) -> Case:
        # Ground truth: one token after the other, in the order in which a game happens.
        rows = [
            [part[b, t] for t in range(returns.shape[1]) for part in (returns, states, actions)]
            for b in range(len(returns))
        ]
        return case(name, (returns, states, actions), np.array(rows))

    one = [np.array([[[number]]], float) for number in (1, 2, 3)]
    two = [np.array([[[number], [number + 10]]], float) for number in (1, 2, 3)]
    shape = (int(rng.integers(2, 4)), int(rng.integers(4, 6)), 2)
    return [
        by_hand("one step of one channel", *one),
        by_hand("two steps", *two),
        by_hand("three windows of three steps, three channels", *rng.normal(size=(3, 3, 3, 3))),
        by_hand("random windows", *rng.normal(size=(3, *shape))),
    ]


interleave = Exercise(
    reference=decision_transformer.interleave,
    differentiated="returns states actions",
    cases=_interleave_cases,
    edits="""
    one kind after the other: `torch.stack([returns, states, actions], dim=2).flatten(1, 2)` becomes
        `torch.cat([returns, states, actions], dim=1)`. First come all returns, then all states,
        then all actions. A causal model would read at a state what is asked for at *later* steps,
        and no action at all. What belongs to one step has to stand together.

    states first: `[returns, states, actions]` becomes `[states, returns, actions]`. Your order is
        s, R, a. The action is read at the state token, which has to have seen the return: R comes
        before s.

    actions before states: `[returns, states, actions]` becomes `[returns, actions, states]`. Your
        order is R, a, s. The model that reads at the state has then seen the action that it is
        asked for, and copies it.

    actions first: `[returns, states, actions]` becomes `[actions, returns, states]`. Your order is
        a, R, s. The state token has then seen the action of its own step, which it is to name: the
        action comes last.

    backwards: `[returns, states, actions]` becomes `[actions, states, returns]`. Your order is
        a, s, R. The model reads at the state: the action of the same step must come after it, the
        return before it.

    among the channels: `dim=2).flatten(1, 2)` becomes `dim=3).flatten(1, 2)`. You put the three
        side by side in the last axis, that of the channels. A token keeps its C channels together:
        the new axis belongs right after that of time.

    mixes the windows: `torch.stack([returns, states, actions], dim=2).flatten(1, 2)` becomes
        `torch.stack([returns, states, actions]).reshape(len(returns), -1, returns.shape[-1])`. You
        stacked in a new first axis and then reshaped: the numbers stay in the order of memory, and
        a row gets tokens of other windows. The new axis belongs right after that of time.

    one token a step: `torch.stack([returns, states, actions], dim=2).flatten(1, 2)` becomes
        `torch.cat([returns, states, actions], dim=2)`. That is one long token for each step,
        (B, T, 3C). Asked are three tokens of C channels, (B, 3T, C).

    adds them: `torch.stack([returns, states, actions], dim=2).flatten(1, 2)` becomes
        `returns + states + actions`. You added the three into one token. Then the state token holds
        the action that is to be predicted. Asked are three tokens a step, (B, 3T, C).

    keeps four axes: `.flatten(1, 2)` goes. The tokens stand in (B, T, 3, C). A transformer reads a
        line: join time and kind into one axis of 3T.

    the action of the step before: `[returns, states, actions]` becomes
        `[returns, states, actions.roll(1, 1)]`. You shifted the actions by a step. There is no
        need: a causal model that reads at s_t does not look at a_t, which stands after it.
    """,
    hints=(
        "The order is R_1, s_1, a_1, R_2, s_2, a_2, ... With an axis of its own for the kind of "
        "token, the shape is (B, T, 3, C): what has to become one axis?",
        "`torch.stack([...], dim=2)` makes that axis right after the one of time.",
        "`torch.stack([returns, states, actions], dim=2).flatten(1, 2)`",
    ),
)


# --- What a return asks for ----------------------------------------------------------------------


def _posterior_cases(rng: np.random.Generator) -> list[Case]:
    # Ground truth: count players. Of `games` games each action was chosen in a whole number, and of
    # those a whole number brought the return.
    played = rng.integers(10, 40, size=3)
    won = np.array([rng.integers(1, count) for count in played])
    drawn = (played / played.sum(), won / played)

    def table(name: str, prior: list[float], likelihood: list[float], right: list[float]) -> Case:
        return Case(name, tuple(np.array(x, float) for x in (prior, likelihood)), np.array(right))

    return [
        table("a return that one action alone can bring", [0.5, 0.5], [0, 0.1], [0.0, 1.0]),
        table("both can: 0.5 * 1 against 0.5 * 0.25", [0.5, 0.5], [1, 0.25], [0.8, 0.2]),
        table("a habit: 0.9 * 0.1 against 0.1 * 0.9", [0.9, 0.1], [0.1, 0.9], [0.5, 0.5]),
        table("a return that says nothing", [0.2, 0.3, 0.5], [0.4] * 3, [0.2, 0.3, 0.5]),
        table("an action that was never chosen", [0, 1], [1, 0.01], [0.0, 1.0]),
        table("a return that nobody can bring", [0.3, 0.7], [0, 0], [0.3, 0.7]),
        table("a return that nobody brought", [0, 1], [0.5, 0], [0.0, 1.0]),
        table("a rare return", [0.25, 0.75], [0.003, 0.001], [0.5, 0.5]),
        Case("three actions, counted out", drawn, won / won.sum()),
    ]


action_given_return = Exercise(
    reference=offline_table.action_given_return,
    cases=_posterior_cases,
    edits="""
    forgets the prior: `joint = prior * likelihood` becomes `joint = likelihood`. You use only how
        well each action explains the return. An action that was hardly ever chosen explains few of
        the games that are in the record: multiply by the prior.

    does not divide: `joint / total if total > 0 else prior` becomes
        `joint if total > 0 else prior`. Your numbers do not add up to 1: they are the chances that
        the action was chosen *and* the return came. Given that it came, divide by the sum.

    divides by zero: `joint / total if total > 0 else prior` becomes `joint / total`. No action can
        bring this return, and you divide 0 by 0. The record says nothing then, and the answer is
        the prior.

    all alike where nobody can: `else prior` becomes `else np.full(len(prior), 1 / len(prior))`. No
        action can bring this return, and you answer that all are alike. What is known then is how
        often each was chosen at all: the prior.

    nothing where nobody can: `else prior` becomes `else 0 * prior`. No action can bring this
        return, and you answer with zeros, which are no chances. The answer then is the prior.

    the likeliest alone: `joint / total if` becomes `np.eye(len(prior))[joint.argmax()] if`. You
        answer with the likeliest action alone. Asked is the chance of each.

    divides by the likelihoods: `total = joint.sum()` becomes `total = likelihood.sum()`. You divide
        by the sum of the likelihoods. What you divide has to add up to what you divide by:
        the sum of prior times likelihood, which is the chance of the return.

    a softmax: `joint / total if` becomes `np.exp(joint) / np.exp(joint).sum() if`. You took a
        softmax. These are chances already, not logarithms: an action that cannot bring the return
        has the chance 0. Divide by the sum.

    leaves out the likelihood: `joint = prior * likelihood` becomes `joint = prior`. You answer with
        the prior, whatever is asked for. Multiply by the chance of the return after each action.
    """,
    hints=(
        "Out of 100 games, how many begin with this action *and* bring this return? That is prior "
        "times likelihood, times 100.",
        "Of all the games that bring the return, which share begins with this action? Divide by "
        "the sum. What if there are none?",
        "`joint = prior * likelihood`, then `joint / joint.sum()`, or `prior` where the sum is 0.",
    ),
)


# --- Q-learning with a brake ---------------------------------------------------------------------


def _conservative_by_hand(
    q: list[list[float]], actions: list[int], targets: list[float], alpha: float
) -> tuple[float, dict[str, float]]:
    """The same in double precision, one row after the other."""
    errors, gaps = [], []
    for row, action, target in zip(q, actions, targets, strict=True):
        off = abs(row[action] - target)
        errors.append(off**2 / 2 if off < 1 else off - 0.5)
        gaps.append(math.log(sum(math.exp(value - row[action]) for value in row)))
    gap = sum(gaps) / len(gaps)
    taken = sum(row[action] for row, action in zip(q, actions, strict=True)) / len(q)
    loss = sum(errors) / len(errors) + alpha * gap
    return loss, {"loss": loss, "q": taken, "gap": gap}


def _conservative_cases(rng: np.random.Generator) -> list[Case]:
    def rows(name: str, q: list, actions: list, targets: list, alpha: float) -> Case:
        right = _conservative_by_hand(q, actions, targets, alpha)
        args = (floats(q), torch.tensor(actions), floats(targets), alpha)
        return Case(name, args, tuple(right), atol=1e-5)

    drawn = rng.normal(0, 2, size=(5, 3)), rng.integers(3, size=5), rng.normal(0, 2, size=5)
    alpha = float(rng.uniform(0.3, 3))
    gap = math.log(2)
    even = {"loss": torch.tensor(gap), "q": torch.tensor(2.0), "gap": torch.tensor(gap)}
    by_hand = (floats([[2, 2]]), torch.tensor([0]), floats([2]), 1.0)
    return [
        Case("two values alike, and no error: a gap of log 2", by_hand, (torch.tensor(gap), even)),
        rows("no brake: the loss of DQN", [[1, 3], [0, 2]], [0, 1], [1.5, 5], 0.0),
        rows("an action that nobody took looks best", [[0.0, 4.0]], [0], [0], 1.0),
        rows("the action taken looks best", [[4.0, 0.0]], [0], [4], 1.0),
        rows("values below zero, half a brake", [[-3, -1, -2]], [2], [-2.5], 0.5),
        rows("two rows, one far from its target", [[1, 0], [9, 9]], [0, 1], [1, 4], 2.0),
        rows("values around 100", [[100, 101], [102, 99]], [0, 0], [100, 102], 1.0),
        rows("five random rows", *(x.tolist() for x in drawn), alpha),
    ]


conservative_loss = Exercise(
    reference=offline.conservative_loss,
    differentiated="q",
    cases=_conservative_cases,
    edits="""
    turns the sign: `loss + alpha * gap` becomes `loss - alpha * gap`. You subtract the gap. A loss
        is made small, so training would pull the values of all other actions *up*. Add it.

    pushes down everything: `q.logsumexp(dim=1) - taken` becomes `q.logsumexp(dim=1)`. Every value
        is pushed down, that of the recorded action too. What the record shows may keep its value:
        subtract `taken`, so that only what stands *above* it costs.

    pushes down the best alone: `q.logsumexp(dim=1)` becomes `q.amax(dim=1)`. You took the largest
        value. Then a gap is 0 as soon as the recorded action looks best, and only one value is ever
        pushed. `logsumexp` is a maximum with soft edges: it pushes each value by its softmax.

    the mean of the values: `q.logsumexp(dim=1)` becomes `q.mean(dim=1)`. You took the mean over the
        actions. It can lie far below the recorded value, and the gap becomes as negative as you
        like. `logsumexp` is never below the largest value.

    the sum of the values: `q.logsumexp(dim=1)` becomes `q.sum(dim=1)`. You added the values up.
        Asked is log(sum of exp), `q.logsumexp(dim=1)`.

    forgets the logarithm: `q.logsumexp(dim=1)` becomes `q.exp().sum(dim=1)`. That is the sum of the
        exponentials, without its logarithm: a value of 4 costs 55. Use `q.logsumexp(dim=1)`.

    overflows: `q.logsumexp(dim=1)` becomes `q.exp().sum(dim=1).log()`. You wrote log(sum of exp)
        out, and the exponential of 100 is infinite in float32. `q.logsumexp(dim=1)` subtracts the
        largest value first.

    compares with the targets: `q.logsumexp(dim=1) - taken` becomes `q.logsumexp(dim=1) - targets`.
        You compare all values with the target. The gap lies between two outputs of the network:
        between all of them and that of the recorded action.

    adds up the rows: `- taken).mean()` becomes `- taken).sum()`. The gaps of a batch are added up,
        while its errors are averaged. With another batch size `alpha` would mean something else:
        take the mean.

    forgets alpha: `alpha * gap` becomes `gap`. `alpha` changes nothing. It says how strong the
        brake is: with 0 what is left is the loss of DQN.

    brakes the errors: `loss + alpha * gap` becomes `alpha * loss + gap`. You multiplied the other
        part by `alpha`. It is the weight of the gap.

    leaves the errors out: `loss + alpha * gap` becomes `alpha * gap`. The errors against the
        targets are missing. This is cloning: nothing is learned about rewards. Add the gap to what
        `dqn_loss` returns.

    reports the old loss: `"loss": loss.detach(), "gap"` becomes `"gap"`. The loss is right, but the
        metrics still report the errors' loss under "loss". A curve of it would not show the gap.

    every row with every action: `q.gather(1, actions[:, None]).squeeze(1)` becomes
        `q[:, actions]`. `q[:, actions]` takes *all* recorded actions in *every* row, (B, B). Of row
        b you want the value of its own action: `q.gather(1, actions[:, None])`.

    the brake as a constant: `alpha * gap` becomes `alpha * gap.detach()`. The values are right, but
        no gradient passes the gap: it would be reported, and would brake nothing.
    """,
    hints=(
        "`dqn_loss(q, actions, targets)` returns the errors' loss and metrics. What is missing "
        "is the gap: how far do the values of *all* actions stand above the recorded one?",
        "`taken = q.gather(1, actions[:, None]).squeeze(1)` are the recorded actions' values. "
        "The gap is the mean of `q.logsumexp(dim=1) - taken`.",
        "The loss is `loss + alpha * gap`; the metrics are those of `dqn_loss` with the new "
        '"loss", and "gap".',
    ),
)


# --- A maximum over what is in the record --------------------------------------------------------


def _expectile_cases(rng: np.random.Generator) -> list[Case]:
    def rows(name: str, values: list, targets: list, expectile: float) -> Case:
        # Ground truth: one row after the other.
        costs = []
        for value, target in zip(values, targets, strict=True):
            costs.append((expectile if target > value else 1 - expectile) * (target - value) ** 2)
        loss, value = sum(costs) / len(costs), sum(values) / len(values)
        right = (torch.tensor(loss), {"loss": torch.tensor(loss), "value": torch.tensor(value)})
        return Case(name, (floats(values), floats(targets), expectile), right, atol=1e-5)

    values, targets = rng.normal(0, 2, size=(2, 6)).tolist()
    high = [value + 0.5 + abs(target) for value, target in zip(values, targets, strict=True)]
    expectile = float(rng.uniform(0.6, 0.95))
    return [
        rows("a target above the value: 0.8 * 4", [1.0], [3.0], 0.8),
        rows("a target below the value: 0.2 * 4", [3.0], [1.0], 0.8),
        rows("on both sides", [0.0, 0.0], [1.0, -3.0], 0.9),
        rows("one half: half the squared error", [0.0, 1.0], [2.0, -1.0], 0.5),
        rows("below one half: what is low counts more", [0.0, 0.0], [2.0, -1.0], 0.1),
        rows("values below zero", [-5.0, -2.0], [-3.0, -4.0], 0.7),
        rows("all targets above", values, high, expectile),
        rows("six random rows", values, targets, expectile),
    ]


expectile_loss = Exercise(
    reference=offline.expectile_loss,
    differentiated="values",
    cases=_expectile_cases,
    edits="""
    the wrong way round: `error < 0` becomes `error > 0`. Targets above the value weigh the smaller
        share, so the value sinks to the *smallest* that occurs. Which side is heavy? `targets -
        values` above 0 weighs `expectile`, below 0 the rest. (Look at the sign of your error.)

    all weigh alike: `weight * error**2` becomes `error**2`. This is the mean squared error: the
        value would be the mean of its targets. A target above the value weighs `expectile`, one
        below it `1 - expectile`.

    one weight for all: `(expectile - (error < 0).float()).abs()` becomes `expectile`. Every row
        weighs `expectile`, so that the value is the mean after all. A target *below* the value
        weighs `1 - expectile`.

    ignores what lies below: `(expectile - (error < 0).float()).abs()` becomes
        `expectile * (error > 0)`. Targets below the value cost nothing in your version: nothing
        ever pulls the value down. They weigh `1 - expectile`.

    negative weights: `(expectile - (error < 0).float()).abs()` becomes
        `expectile - (error < 0).float()`. A target below the value has a negative weight, and
        training would drive the value away from it. The weight is the *absolute* value of
        expectile - 1.

    a quantile: `weight * error**2` becomes `weight * error.abs()`. You weigh the absolute error:
        its minimum is a quantile. The expectile weighs the *squared* error.

    squares the weight: `weight * error**2` becomes `(weight * error) ** 2`. You squared the weight
        together with the error. Square first, weigh afterwards.

    adds up the rows: `(weight * error**2).mean()` becomes `(weight * error**2).sum()`. You added
        the rows up. The loss is their *mean*, so that a larger batch does not mean longer steps.

    halves it: `(weight * error**2).mean()` becomes `0.5 * (weight * error**2).mean()`. Your loss is
        half of what was asked for: there is no factor of 0.5 beside the weight.

    divides by the weights: `(weight * error**2).mean()` becomes
        `(weight * error**2).sum() / weight.sum()`. You divided by the sum of the weights, which
        moves with the values. Divide by the number of rows.

    learns nothing: `loss = (weight * error**2).mean()` becomes
        `loss = (weight * error**2).mean().detach()`. The values are right, but no gradient flows
        back to `values`: training would learn nothing. Detach metrics only.
    """,
    hints=(
        "Begin with `error = targets - values`. Where it is above 0 the row weighs `expectile`, "
        "where it is below 0 it weighs `1 - expectile`.",
        "`(error < 0).float()` is 1 where the target lies below the value. "
        "`(expectile - that).abs()` is the weight of each row.",
        "The loss is `(weight * error**2).mean()`; the metrics are "
        '`{"loss": loss.detach(), "value": values.detach().mean()}`.',
    ),
)

play_games = build.play_games
