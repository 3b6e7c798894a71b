"""What lesson 03 asks to build: the whole of actor-critic, judged by what it does in probe worlds.

Two tables begin with zeros, so policies are even at first, and that makes chance drop out: where
two actions pay `r` and `-r`, the step of the policy is the same whichever of them was drawn.
"""

from __future__ import annotations

import copy

import gymnasium
import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.cases import import_optimizers
from course_lib.classroom.check import Case, Exercise
from course_lib.rl.returns import gae
from course_lib.worlds.tables import TableWorld


def _learn_from_batches(
    env: gymnasium.Env,
    batches: int,
    length: int,
    gamma: float,
    lam: float,
    policy_rate: float,
    value_rate: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Return logits (S, A) and values (S,) after so many batches of ``length`` steps each.

    Both begin with zeros. After each batch they take one gradient step, with their own rates and no
    more: the policy down the mean of -log pi(a|s) times the advantage, the critic down the mean of
    half the squared distance to value plus advantage. An episode goes on in the next batch.
    """
    logits = torch.zeros(env.observation_space.n, env.action_space.n, requires_grad=True)
    values = torch.zeros(env.observation_space.n, requires_grad=True)
    generator = torch.Generator().manual_seed(seed)
    state, _ = env.reset()
    for _ in range(batches):
        rows, policy = [], torch.softmax(logits.detach(), dim=-1)
        for _ in range(length):
            action = int(torch.multinomial(policy[state], 1, generator=generator))
            next_state, reward, terminated, truncated, _ = env.step(action)
            rows.append((state, action, float(reward), next_state, terminated, truncated))
            state = next_state
            if terminated or truncated:
                state, _ = env.reset()
        states, actions, rewards, next_states, *ends = map(torch.tensor, zip(*rows, strict=True))
        expected = values[states]
        advantages = gae(rewards, expected, values[next_states], *ends, gamma, lam)
        targets = (expected + advantages).detach()
        logp = torch.log_softmax(logits, dim=-1)[states, actions]
        policy_loss = -(logp * advantages.detach()).mean()
        value_loss = ((expected - targets) ** 2).mean() / 2
        slopes = torch.autograd.grad(policy_loss + value_loss, (logits, values))
        with torch.no_grad():
            logits -= policy_rate * slopes[0]
            values -= value_rate * slopes[1]
    return logits.detach(), values.detach()


# What a probe sets, if it says nothing else: a policy that stays even, a critic that goes all the
# way to its target, and targets that look one step ahead.
SETTINGS = {"gamma": 1.0, "lam": 0.0, "policy_rate": 0.0, "value_rate": 1.0}


def _probes(rng: np.random.Generator) -> list[Case]:
    """Worlds in the order in which they are tried: each adds one thing that can go wrong."""
    import_optimizers()
    pays, less = float(rng.uniform(2, 4)), float(rng.uniform(0.5, 1.5))
    over = [[(1.0, 0, 0.0, True)]]  # the move of a state in which no episode begins
    walk = [[(1.0, 1, 0.0, False)]]
    one_step = TableWorld([[(1.0, 0, pays, True)]])
    paid_first = TableWorld([[(1.0, 1, pays, False)]], [[(1.0, 0, 0.0, True)]])
    endless = TableWorld([[(1.0, 0, 1.0, False)]])
    two_steps = TableWorld(walk, [[(1.0, 2, pays, True)]], over)
    clock = TableWorld([[(1.0, 0, 1.0, False)]], clock=3)
    clock_ahead = TableWorld(walk, [[(1.0, 1, 1.0, False)]], clock=3)
    three_steps = TableWorld(walk, [[(1.0, 2, 0.0, False)]], [[(1.0, 0, pays, True)]])
    stopped = TableWorld([[(1.0, 1, 1.0, False)]], [[(1.0, 1, pays, False)]], clock=2)

    def choice(reward: float, after: int = 0, ends: bool = True) -> list:
        """Two actions: one is paid the reward, the other has to pay it."""
        return [[(1.0, after, sign * reward, ends)] for sign in (1, -1)]

    nothing, fork, one_pays = TableWorld(choice(0.0)), TableWorld(choice(pays)), np.array([1, -1])
    two_choices = TableWorld(choice(pays, 1, False), choice(less))
    later = [[[(1.0, 0, sign * pays, True)]] * 2 for sign in (1, -1)]
    leads_on = TableWorld([[(1.0, 1, 0.0, False)], [(1.0, 2, 0.0, False)]], *later)
    many = 30
    chain = [[[(1.0, (s + 1) % many, pays, s + 1 == many)]] * 2 for s in range(many)]
    salary = TableWorld(*chain)
    once, twice = {"gamma": 0.0, "value_rate": 0.5}, {"value_rate": 2.0}
    half, all_of_it = {"gamma": 0.5}, {"lam": 1.0}
    far, still = 40 / pays, {"value_rate": 0.0}
    rows = [
        # name, the mistake it isolates, world, batches, length, settings, logits, values
        ("one step", "forgets the half", one_step, 1, 1, once, 0, [pays / 2]),
        (
            *("the same step twice", "takes the advantage for the critic's target", one_step, 2, 1),
            *(once, 0, [0.75 * pays]),
        ),
        ("four steps in a batch", "sums over the batch", one_step, 1, 4, once, 0, [pays / 2]),
        (
            *("a reward, then a step that pays nothing", "lets the target move", paid_first, 1, 2),
            *(twice, 0, [pays, 0]),
        ),
        (
            *("an end that leads to a state of value", "bootstraps through termination"),
            *(one_step, 20, 1, half, 0, [pays]),
        ),
        (
            *("a world without an end", "takes the end of a batch for the end of an episode"),
            *(endless, 40, 1, half, 0, [2]),
        ),
        ("two episodes", "goes on after an end", two_steps, 2, 4, twice, 0, [pays, pays, 0]),
        ("a clock", "takes the clock for an end", clock, 40, 4, half, 0, [2]),
        (
            *("a clock, and a state that it never stops at", "looks at the next row"),
            *(clock_ahead, 60, 6, half, 0, [1, 2]),
        ),
        (
            *("an episode over three batches", "begins a new episode with every batch"),
            *(three_steps, 12, 1, {}, 0, [pays, pays, pays]),
        ),
        (
            *("a reward two steps later", "forgets lambda", three_steps, 1, 3),
            *({"lam": 0.5, "value_rate": 3.0}, 0, [pays / 4, pays / 2, pays]),
        ),
        ("four ends in a batch", "never cuts the trace", one_step, 1, 4, all_of_it, 0, [pays]),
        (
            *("a clock that runs out twice in a batch", "lets the trace run through a truncation"),
            *(stopped, 1, 4, half | all_of_it | twice, 0, [1 + pays / 2, pays]),
        ),
        (
            *("a world that pays nothing", "lets the policy's loss pull at the critic", nothing),
            *(3, 4, {"policy_rate": 1.0}, [0 * one_pays], [0]),
        ),
        (
            *("one action is paid, the other pays", "turns the sign", fork, 1, 1),
            *(still | {"policy_rate": 2 / pays}, [one_pays], [0]),
        ),
        (
            *("two choices in a row", "multiplies a row by a column", two_choices, 1, 2),
            *(still | {"policy_rate": 4.0}, [pays * one_pays, less * one_pays], [0, 0]),
        ),
        (
            *("policy and critic together", "moves the critic first", fork, 1, 1),
            *({"policy_rate": far, **once, "atol": pays}, [20 * one_pays], [0]),
        ),
        (
            *("what was learned is played", "never plays what it learned", fork, 3, 64),
            *({"policy_rate": far}, [20 * one_pays], [pays]),
        ),
        (
            *("a policy that is not sure", "takes the likeliest action", TableWorld(choice(1.0))),
            *(2, 300, {"policy_rate": np.log(3), "atol": 0.27}),
            *([(0.5 + 0.375) * np.log(3) * one_pays], [0.5]),
        ),
        (
            *("an action that is paid for later", "judges an action by its own reward", leads_on),
            *(1, 200, still | all_of_it | {"policy_rate": 4 / pays, "atol": 0.45}),
            *([one_pays, 0 * one_pays, 0 * one_pays], [0, 0, 0]),
        ),
        (
            *("the same pay everywhere", "leaves the baseline out", salary, 8, many),
            {"gamma": 0.0, "policy_rate": 1.0, "value_rate": many, "atol": 0.51 * pays / many},
            *(0, [pays] * many),
        ),
    ]
    cases = []
    for name, isolates, world, batches, length, changed, logits, values in rows:
        settings = SETTINGS | changed
        atol = settings.pop("atol", 1e-3)
        world = copy.copy(world)
        world.most = batches * length
        shape = (world.observation_space.n, world.action_space.n)
        right = (
            torch.tensor(np.broadcast_to(logits, shape).copy(), dtype=torch.float32),
            torch.tensor(values, dtype=torch.float32),
        )
        args = (world, batches, length, *settings.values(), int(rng.integers(2**31)))
        cases.append(Case(name, args, right, atol=atol, isolates=isolates))
    return cases


learn_from_batches = Exercise(
    reference=_learn_from_batches,
    cases=_probes,
    seconds=8.0,  # with the five seeds of the grader 40 s, less than an exercise gets there
    edits="""
    forgets the half: `.mean() / 2` becomes `.mean()`. A world of one step: a reward, then the end.
        The loss of the critic is *half* the squared distance, so with a rate of 0.5 one step takes
        the value half of the way from 0 to the reward. Yours goes another part of the way, or none.

    takes the advantage for the critic's target: `(expected + advantages)` becomes `(advantages)`.
        The same step twice. The second time the critic knows half of the reward, and the advantage
        is the other half. What a value learns from is value *plus* advantage.

    sums over the batch: `((expected - targets) ** 2).mean()` becomes
        `((expected - targets) ** 2).sum()`. Four equal steps in one batch. Losses are means over
        the steps, and there is one gradient step per batch: the value goes half of the way, as
        with one step.

    lets the target move: `(expected + advantages).detach()` becomes `(expected + advantages)`. The
        first step pays, the second pays nothing, so its value stays 0. The target of the first
        holds the value of the second, and your loss pulls at that as well: detach the target, or
        compute it under `torch.no_grad()`.

    bootstraps through termination: `*ends, gamma` becomes `ends[0] & False, ends[1], gamma`. The
        episode terminates, and the state that is returned has a value. Nothing follows an end: this
        value must not count.

    takes the end of a batch for the end of an episode: `values[next_states],` becomes
        `torch.cat([values[next_states][:-1], torch.zeros(1)]),`. Batches of one step, and the world
        never ends. After the last step of a batch the episode would go on: the value of the state
        that it led to stands in for the rest, `gamma * values[next_state]`.

    goes on after an end: `truncated: state, _ = env.reset()` becomes `truncated: env.reset()`. The
        first episode is learned, the second is not. When an episode has ended, `reset()` returns
        the state that your next step starts from. Look at `state = next_state` as well.

    takes the clock for an end: `*ends, gamma` becomes `ends[0] | ends[1], ends[1], gamma`. A clock
        stops this world every three steps. Being truncated is no end: the world would go on, so the
        value of the state that the step led to counts as ever.

    looks at the next row: `values[next_states],` becomes
        `torch.cat([expected[1:], values[next_states][-1:]]),`. A clock stops the episode, and the
        next row of your batch is the first state of another. `next_values` are the values of what
        `env.step` returned, before any reset.

    begins a new episode with every batch: `rows, policy` becomes
        `state, _ = env.reset(); rows, policy`. An episode of three steps, in batches of one. It
        goes on in the next batch: reset at the very beginning, and then only where an episode has
        ended.

    forgets lambda: `gamma, lam)` becomes `gamma, 0.0)`. A reward at the third step, lambda 0.5, all
        three in one batch. Half of the news reaches the second step, a quarter the first. Look at
        the order of what you hand to `gae`, too.

    never cuts the trace: `values[next_states], *ends` becomes
        `values[next_states] * ~ends[0], *(end & False for end in ends)`. Four episodes of one step
        in one batch, lambda 1. What a later episode pays is no news for an earlier one: the
        advantages add up TD errors only until their episode ends.

    lets the trace run through a truncation: `*ends, gamma` becomes
        `ends[0], ends[1] & False, gamma`. A clock stops the episode twice in this batch, lambda 1.
        The value stands in for what would have come; the next row belongs to another episode, and
        adds nothing.

    lets the policy's loss pull at the critic: `advantages.detach()` becomes `advantages`. Nothing
        is ever paid, so neither table may move. The advantages hold the critic's values, and a
        gradient flows through them into the critic: the policy's loss takes them as data, detached.

    turns the sign: `-(logp` becomes `(logp`. One action is paid, the other pays as much. Whichever
        you draw, the logit of the first goes up by `policy_rate` times half of the reward, the
        other down by as much. Look at the sign, the logarithm, and the axis of the softmax. Leave
        the advantages as they are: shifted and scaled to mean 0, a single one is nothing.

    multiplies a row by a column: `logp * advantages.detach()` becomes
        `logp[:, None] * advantages.detach()`. Two choices in a row, with different rewards. Each
        logp belongs to the advantage of its own step, and the mean is over two products. Print the
        shapes: (T,) times (T, 1) gives all T x T pairs.

    moves the critic first: `logp * advantages.detach()` becomes
        `logp * (1 - value_rate) * advantages.detach()`. Policy and critic both learn from this
        batch. The advantages use the values as they were while it was played: compute them once,
        before either table moves. (The check allows for either action here.)

    never plays what it learned: `softmax(logits.detach()` becomes
        `softmax(0 * logits.detach()`. One action is paid, the other pays. After the first batch the
        policy is sure, so from then on each step is paid, and the critic has to expect that. Draw
        each batch with the logits that the last one left.

    takes the likeliest action: `int(torch.multinomial(policy[state], 1, generator=generator))`
        becomes `int(policy[state].argmax())`. After the first batch the chances are 3 to 1, and the
        second has to be drawn with them: the critic then expects half of the reward. A policy is
        drawn from, not maximised. (Your own generator is made once, not in each batch.)

    judges an action by its own reward: `logp * advantages.detach()` becomes `logp * rewards`. The
        first action pays nothing, but decides what the second step is paid. With lambda 1 and
        values of 0 it has to answer for that: weigh logp with the advantage.

    leaves the baseline out: `logp * advantages.detach()` becomes `logp * targets`. Every step pays
        the same, whatever is done. After the first batch the critic expects just that, so all
        advantages are 0 and the policy stands still. Yours moves on: it is weighed with the
        return, not with what was *better than expected*.
    """,
    hints=(
        "One loop over the batches, in three parts: play `length` steps and keep what they gave; "
        "make advantages and targets of it, as plain numbers; take one gradient step on each table."
        " The first `reset()` stands before the loop.",
        "Let both tables ask for gradients. `values[states]` and `values[next_states]` are (T,): "
        "give them to `gae` under `torch.no_grad()`, as columns (T, 1) if yours wants them. "
        "`torch.log_softmax(logits, -1)[states, actions]` are the log-probabilities, and "
        "`torch.multinomial` draws an action.",
        "With `targets = values[states] + advantages`, both detached, the losses are "
        "`-(logp * advantages).mean()` and `((values[states] - targets) ** 2).mean() / 2`. "
        "`torch.optim.SGD` takes a list of groups, one `{'params': [values], 'lr': value_rate}`; "
        "or subtract the rate times `torch.autograd.grad` yourself.",
    ),
)
