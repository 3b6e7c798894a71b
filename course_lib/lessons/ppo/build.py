"""What lesson 04 asks to build: PPO's epochs over one rollout, judged by where the policy goes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.cases import import_optimizers
from course_lib.classroom.check import Case, Exercise
from course_lib.rl import losses


def _learn_from_rollout(
    logits: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    epochs: int,
    minibatch_size: int,
    clip: float,
    rate: float,
    target_kl: float | None,
    generator: torch.Generator,
) -> Tensor:
    """Return the logits (S, A) that PPO makes of those that played a rollout of ``B`` rows.

    ``states``, ``actions`` (B,) int64 and ``advantages`` (B,) are the rollout. Each epoch goes over
    all rows once, in an order that ``generator`` draws anew, ``minibatch_size`` at a time; the last
    minibatch may be smaller. A step is plain gradient descent on the minibatch's mean clipped
    surrogate. Learning stops before a step on a minibatch whose mean KL is above ``target_kl``.
    """
    logits = logits.clone().requires_grad_()
    old_logp = logits.detach().log_softmax(-1)[states, actions]
    optimizer = torch.optim.SGD([logits], rate)
    for _ in range(epochs):
        order = torch.randperm(len(states), generator=generator)
        for rows in order.split(minibatch_size):
            logp = logits.log_softmax(-1)[states[rows], actions[rows]]
            if target_kl is not None:
                kl = losses.approx_kl(logp, old_logp[rows]).mean()
                if kl > target_kl:
                    return logits.detach()
            ratio = losses.probability_ratio(logp, old_logp[rows])
            loss = losses.clipped_surrogate(ratio, advantages[rows], clip).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return logits.detach()


def _chances(table: np.ndarray) -> np.ndarray:
    raised = np.exp(table)
    return raised / raised.sum(-1, keepdims=True)


def _after(
    table: np.ndarray, rows: list[tuple[int, int, float]], steps: int, clip: float, rate: float
) -> np.ndarray:
    """The logits after so many steps on all rows at once, with the gradient worked out on paper.

    A row (state, action, advantage) pushes its state's logits by advantage * ratio * (1 at the
    action - pi), and not at all where its ratio has moved beyond the clip in the way that pays.
    """
    old, table = _chances(table), table.copy()
    for _ in range(steps):
        now, push = _chances(table), np.zeros_like(table)
        for state, action, advantage in rows:
            ratio = now[state, action] / old[state, action]
            if ratio < 1 + clip if advantage > 0 else ratio > 1 - clip:
                push[state] += advantage * ratio * (np.eye(table.shape[1])[action] - now[state])
        table += rate * push / len(rows)
    return table


def _probes(rng: np.random.Generator) -> list[Case]:
    """Rollouts in the order in which they are tried: each adds one thing that can go wrong.

    No right result depends on the order of the rows: either all are alike, or each has a state of
    its own, or all are in one minibatch. Where it does depend on it, the tolerance covers that.
    """
    import_optimizers()
    even, drawn = np.zeros((1, 2)), rng.normal(0, 0.5, size=(3, 3))
    rarely, many = np.array([[0.0, np.log(3.0)]]), np.zeros((12, 2))
    pays = float(rng.uniform(0.8, 1.2))
    good, bad = (0, 0, pays), (0, 0, -pays)
    small = np.array([[0.5, -0.5]]) * 0.02 * pays  # how far a step of rate 0.02 moves `even`
    alike = [(state, 0, pays) for state in range(12)]
    signs = np.array([pays, pays, -pays, -pays] * 3)  # with both actions alike
    mixed = [(state, state % 2, float(signs[state])) for state in range(12)]
    away = [(0, 0, 3 * pays), (0, 1, 0.5 * pays)]
    two, three = (_after(rarely, [good], steps, 0.9, 0.1) for steps in (2, 3))
    late = np.abs(three - two).max()
    r = _chances(two)[0, 0] / _chances(rarely)[0, 0]
    limit = float(((r - 1 - np.log(r)) + (1 / r - 1 + np.log(r))) / 2)
    jump = _after(np.zeros((2, 2)), [(0, 0, 50 * pays)], 1, 0.9, 0.02)
    r = _chances(jump)[0, 0] * 2
    jumped = float(r - 1 - np.log(r)) / 4
    jump[1] = small[0]  # one step or two, as the order has it; none if the KL is of all rows
    limited = {"epochs": 12, "batch": 8, "clip": 0.9, "rate": 0.1, "target_kl": limit}
    near = {"rate": 0.02, "atol": 0.3 * small.max()}  # the ratio hardly moves: it counts little
    rows = [
        # name, the mistake that it isolates, old logits, rollout, settings, the right new logits
        (
            *("one row, one step", "turns the sign", drawn[:1], [(0, 1, 2 * pays)]),
            *({}, _after(drawn[:1], [(0, 1, 2 * pays)], 1, 0.2, 0.5)),
        ),
        (
            *("one row of three states", "normalises the whole table", drawn, [(1, 2, pays)]),
            *({}, _after(drawn, [(1, 2, pays)], 1, 0.2, 0.5)),
        ),
        (
            *("advantages of 3 and 1", "whitens", even, [(0, 0, 3.0), (0, 0, 1.0)]),
            # Right is 1; a sum gives 2, one row alone 0.5, and those have probes of their own.
            *({"rate": 1.0, "batch": 2, "atol": 0.8}, np.array([[1.25, -1.25]])),
        ),
        (
            *("two rows alike, in one minibatch", "adds up the rows", even, [good] * 2),
            *({"batch": 2}, _after(even, [good], 1, 0.2, 0.5)),
        ),
        (
            *("three epochs", "goes over the rows once", even, [good]),  # 3 steps, not 1; 6 pass
            *({"epochs": 3, "rate": 0.02, "atol": 2 * small.max()}, 4.5 * small),
        ),
        ("two epochs", "adds up gradients", even, [good], {"epochs": 2} | near, 2 * small),
        (
            *("three rows alike, minibatches of one", "one step per epoch", even, [good] * 3),
            *(near, 3 * small),
        ),
        (
            *("five rows alike, minibatches of two", "drops the last minibatch", even, [good] * 5),
            *({"batch": 2} | near, 3 * small),
        ),
        (
            *("twelve states, a row for each", "draws with replacement", many, alike),
            *({"batch": 4, "rate": 0.08}, np.repeat(small, 12, axis=0)),
        ),
        (
            *("twelve states, different rows", "shuffles the columns apart", many, mixed),
            # Among rows that mix no state moves; one with the row of another moves the other way.
            *({"batch": 12, "rate": 12.0, "atol": 1.2 * pays / 2}, _after(many, mixed, 1, 0.2, 12)),
        ),
        (
            *("two rows that differ, in one minibatch", "mixes the rows"),
            *(drawn, [(0, 1, 2 * pays), (2, 0, -pays)], {"batch": 2}),
            _after(drawn, [(0, 1, 2 * pays), (2, 0, -pays)], 1, 0.2, 0.5),
        ),
        (
            *("a bad action, six steps, a wide clip", "computes the old ones anew", even, [bad]),
            *({"epochs": 6, "clip": 0.9}, _after(even, [bad], 6, 0.9, 0.5)),
        ),
        (
            *("a good action, forty steps", "never clips", even, [good]),
            *({"epochs": 40, "rate": 0.1}, _after(even, [good], 40, 0.2, 0.1)),
        ),
        (
            *("a bad action, forty steps", "clips only above", even, [bad]),
            *({"epochs": 40, "rate": 0.1}, _after(even, [bad], 40, 0.2, 0.1)),
        ),
        (
            *("two actions that both paid", "clips everywhere", even, away),
            *({"epochs": 6, "batch": 2, "rate": 0.3}, _after(even, away, 6, 0.2, 0.3)),
        ),
        (
            *("forty rows that pay, then forty that cost", "never shuffles"),
            *(even, [good] * 40 + [bad] * 40, {"rate": 0.02 / pays, "atol": 0.1}, even),
        ),
        (
            *("a limit, and twelve epochs", "ignores the limit", rarely, [good] * 8),
            *(limited | {"atol": 0.75 * late}, (two + three) / 2),  # stops after 2 steps, or 3
        ),
        (
            *("the same limit, looked at closely", "stops one step late", rarely, [good] * 8),
            *(limited | {"atol": 0.3 * late}, two),
        ),
        (
            *("a row that goes far, one that does not", "ends the epoch alone"),
            *(np.zeros((2, 2)), [(0, 0, 50 * pays), (1, 0, pays)]),
            {
                "epochs": 40,
                "clip": 0.9,
                "rate": 0.02,
                "target_kl": jumped,
                "atol": 1.2 * small.max(),
            },
            jump,
        ),
    ]
    return [_probe(rng, *row) for row in rows]


def _probe(
    rng: np.random.Generator,
    name: str,
    isolates: str,
    table: np.ndarray,
    rollout: list[tuple[int, int, float]],
    changed: dict,
    right: np.ndarray,
) -> Case:
    """A case of one epoch, minibatches of one row, a clip of 0.2, no limit, if nothing changes."""
    settings = {"epochs": 1, "batch": 1, "clip": 0.2, "rate": 0.5, "target_kl": None} | changed
    atol = settings.pop("atol", 1e-3)
    states, actions, advantages = map(torch.tensor, zip(*rollout, strict=True))
    draw = torch.Generator().manual_seed(int(rng.integers(2**31)))
    args = (Tensor(table), states, actions, advantages, *settings.values(), draw)
    return Case(name, args, Tensor(right), atol=atol, isolates=isolates)


learn_from_rollout = Exercise(
    reference=_learn_from_rollout,
    cases=_probes,
    seconds=8.0,
    edits="""
    turns the sign: `loss.backward()` becomes `(-loss).backward()`. One state, one row whose action
        was good, one step: the logits move by learning rate times advantage times (1 at the action
        - pi), so that the action becomes more probable. Have they moved the other way? The
        surrogate grows, a loss shrinks. Have they not moved at all? Then what you step on is not
        what you return, or the old log-probabilities carry a gradient (`detach` them: they are
        data), or you whitened: the advantages count as they are. Another distance? Take
        `log_softmax` over the actions, and plain gradient descent.

    normalises the whole table: `logits.log_softmax(-1)[states[rows], actions[rows]]` becomes
        `logits.flatten().log_softmax(0).view_as(logits)[states[rows], actions[rows]]`. Three
        states, and a row in one of them. Each state has chances of its own, which add up to 1 over
        its actions: the logits of the other states have to stay as they were.

    whitens: `clipped_surrogate(ratio, advantages[rows], clip)` becomes
        `clipped_surrogate(ratio, losses.whiten(advantages[rows]) if len(rows) > 1 else
        advantages[rows], clip)`. One action twice, with advantages 3 and 1: both times it was
        good, and it has to become more probable. Do not shift the advantages: whoever calls your
        function has whitened them, or has not.

    adds up the rows: `advantages[rows], clip).mean()` becomes `advantages[rows], clip).sum()`. Two
        rows alike in one minibatch move the logits as far as one of them alone. The loss is the
        *mean* of the rows, so that a larger minibatch does not mean a longer step.

    goes over the rows once: `range(epochs)` becomes `range(1)`. One row, and three epochs of short
        steps. There have to be three steps. Look for a `return` inside the loop.

    adds up gradients: `optimizer.zero_grad()` goes. One row, two epochs: two steps of about the
        same length. `backward()` adds to the gradients that are there: call `zero_grad()` before
        it, or the second step takes the first one's gradient along.

    one step per epoch: `order.split(minibatch_size)` becomes `[order]`. Three rows alike, in
        minibatches of one, a single epoch: three steps. Each minibatch has a step of its own.

    drops the last minibatch: `order.split(minibatch_size)` becomes
        `order[: len(order) // minibatch_size * minibatch_size].split(minibatch_size)`. Five rows
        in minibatches of two are minibatches of 2, 2 and 1: three steps. The last one is smaller,
        and its loss is the mean of the rows that it has.

    draws with replacement: `torch.randperm(len(states), generator=generator)` becomes
        `torch.randint(len(states), (len(states),), generator=generator)`. Twelve states with a row
        for each, minibatches of four. In one epoch every row serves exactly once: shuffle the
        numbers of the rows and cut the shuffled list, instead of drawing each minibatch anew.

    shuffles the columns apart: `[states[rows], actions[rows]]` becomes
        `[states[rows], actions[rows.sort().values]]`. Twelve rows, each with a state, an action and
        an advantage of its own. What belongs to one row has to stay together: index *all* columns,
        the old log-probabilities too, with the same numbers.

    mixes the rows: `logits.log_softmax(-1)[states[rows], actions[rows]]` becomes
        `logits.log_softmax(-1)[states[rows]][:, actions[rows]]`. Two rows in different states, with
        different actions. Each state should learn about the action that was taken *there*. Print
        the shape of your log-probabilities: (rows,). With (rows, rows) every state meets every
        action.

    computes the old ones anew: `probability_ratio(logp, old_logp[rows])` becomes
        `probability_ratio(logp, logp.detach())`. A bad action becomes rarer from step to step, and
        the clip is wide. The ratio weighs what is left of it: the gradient shrinks with the
        probability. With yours it does not. Compute the old log-probabilities *once*, before the
        first epoch; else every ratio is 1 for ever.

    never clips: `losses.clipped_surrogate(ratio, advantages[rows], clip)` becomes
        `(-ratio * advantages[rows])`. A good action, and forty steps with a clip of 0.2. Soon after
        its ratio has passed 1.2 the policy has to stand still. Yours goes on (or it stopped too
        early). Take the *smaller* of the two products.

    clips only above: `losses.clipped_surrogate(ratio, advantages[rows], clip)` becomes
        `(-torch.min(ratio * advantages[rows], ratio.clamp(max=1 + clip) * advantages[rows]))`. A
        bad action, and forty steps with a clip of 0.2. Below a ratio of 0.8 nothing is left to
        gain, and the policy has to stand still.

    clips everywhere: `losses.clipped_surrogate(ratio, advantages[rows], clip)` becomes
        `(-ratio.clamp(1 - clip, 1 + clip) * advantages[rows])`. Two actions in one state, both
        good, one more than the other. The better one makes the other rarer, below a ratio of 0.8.
        That is the *wrong* direction for a good action, and its gradient has to bring it back.
        Where is the minimum of the two products?

    never shuffles: `torch.randperm(len(states), generator=generator)` becomes
        `torch.arange(len(states))`. Forty rows in which an action paid, then forty in which it
        cost, minibatches of one. In a shuffled order they cancel. One after the other, the first
        forty run into the clip, and the others carry the policy far to the other side. Draw a new
        order in each epoch.

    ignores the limit: `if kl > target_kl` becomes `if False`. A good action, twelve epochs, and a
        `target_kl` that is passed after two steps. Then nothing may move any more. Compare the
        *mean* of `approx_kl(logp, old_logp)` over the rows of the minibatch with it; a mean of
        -log r is negative here and never passes it.

    stops one step late: `if kl > target_kl` becomes
        `if kl > target_kl and optimizer.step() is None`. When the limit is passed you
        still take one more step. Look at the KL *before* the step, and leave without it. Look also
        at the order: `approx_kl(logp, old_logp)`.

    ends the epoch alone: `kl > target_kl: return logits.detach()` becomes
        `kl > target_kl: break`. One state is soon
        beyond the limit, and the other hardly moves. Once a minibatch is beyond it, learning from
        this rollout is over. A `break` ends the inner loop alone, and the next epoch goes on.
    """,
    hints=(
        "Work on a copy, `logits.clone().requires_grad_()`. Before the first epoch compute the old "
        "log-probabilities of all rows, as data. Then two loops, one inside the other: epochs, and "
        "minibatches of the shuffled numbers of the rows.",
        "`torch.randperm(len(states), generator=generator).split(minibatch_size)` are the "
        "minibatches. `logits.log_softmax(-1)[states[rows], actions[rows]]` are the present "
        "log-probabilities of one. The optimiser is `torch.optim.SGD([logits], rate)`.",
        "In each minibatch: if there is a `target_kl` and the mean of `approx_kl(logp, "
        "old_logp[rows])` is above it, return. Else the mean of "
        "`clipped_surrogate(probability_ratio(...), advantages[rows], clip)` is the loss: "
        "`zero_grad`, `backward`, `step`.",
    ),
)
