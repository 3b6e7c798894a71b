"""What lesson 02 asks to build: the whole of DQN, judged by what it does in probe worlds."""

from __future__ import annotations

import copy

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.classroom.check import Case, Exercise
from course_lib.worlds.tables import TableWorld


def _learn_from_replay(
    env: gymnasium.Env,
    online: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    gamma: float,
    epsilon: float,
    batch_size: int,
    tau: float,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Train ``online`` in place by DQN for so many steps; return its weights, ``state_dict()``.

    ``online`` maps observations (B, D) to values (B, A); ``optimizer`` moves its weights. Every
    step is kept. As soon as there are ``batch_size`` of them, each step of the environment is
    followed by one gradient step, on the mean Huber loss of rows drawn from all of them. The target
    network begins as a copy and moves by ``tau`` of the distance after each gradient step.
    """
    target_network = copy.deepcopy(online)
    memory = []
    obs, _ = env.reset()
    for _ in range(steps):
        if rng.random() < epsilon:
            action = int(rng.integers(env.action_space.n))
        else:
            action = int(online(torch.as_tensor(obs)[None]).argmax())
        next_obs, reward, terminated, truncated, _ = env.step(action)
        memory.append((obs, action, np.float32(reward), next_obs, np.float32(terminated)))
        obs = next_obs
        if terminated or truncated:
            obs, _ = env.reset()
        if len(memory) < batch_size:
            continue

        rows = [memory[i] for i in rng.integers(len(memory), size=batch_size)]
        seen, actions, rewards, following, ended = map(
            torch.as_tensor, map(np.array, zip(*rows, strict=True))
        )
        with torch.no_grad():
            next_q = target_network(following)
            targets = rewards + gamma * (1 - ended) * next_q.max(dim=1).values
        q = online(seen)[torch.arange(batch_size), actions]
        loss = F.smooth_l1_loss(q, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(target_network.parameters(), online.parameters(), strict=True):
                slow += tau * (fast - slow)
    return online.state_dict()


class OneHot(TableWorld):
    """A table's world that shows its states as vectors: a 1 at the state's number."""

    def __init__(self, *states, **settings):
        super().__init__(*states, **settings)
        self.observation_space = gymnasium.spaces.Box(0, 1, (len(states),), np.float32)

    def _seen(self, state: int) -> np.ndarray:
        return np.eye(*self.observation_space.shape, dtype=np.float32)[state]

    def reset(self, **keywords) -> tuple[np.ndarray, dict]:
        state, info = super().reset(**keywords)
        return self._seen(state), info

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        state, *rest = super().step(action)
        return self._seen(state), *rest


# What a probe sets, if it says nothing else. One layer without bias on one-hot observations is a
# table: its weight (A, S) holds the values, and with a learning rate of 1 a batch of one row puts
# the target in the place of an entry.
SETTINGS = {"gamma": 0.0, "epsilon": 0.5, "batch_size": 1, "tau": 1.0}


def _probes(rng: np.random.Generator) -> list[Case]:
    """Worlds in the order in which they are tried: each adds one thing that can go wrong."""
    pays = float(rng.uniform(0.6, 0.9))
    over = [(1.0, 1, 0.0, True)]  # the move of a state in which no episode begins
    one_way = OneHot([[(1.0, 1, pays, True)]], [over])
    surprise = OneHot([[(1.0, 1, 4 + pays, True)]], [over])
    loop = OneHot([[(1.0, 1, pays, False)]], [[(1.0, 0, -pays, False)]])
    corridor = OneHot([[(1.0, 1, pays, False)]], [[(1.0, 2, -pays, True)]], [over])
    once = OneHot([[(1.0, 1, pays, False)]], [[(1.0, 1, 0.0, False)]])
    bandit = OneHot([[(1.0, 0, -pays, True)], [(1.0, 0, pays, True)]])
    two_ways = OneHot([[(1.0, 0, pays / 2, True)], [(1.0, 0, pays, True)]])
    stays = OneHot([[(1.0, 0, pays, False)]])
    leads_back = OneHot([[(1.0, 0, pays, True)]])
    late = OneHot([[(1.0, 1, 0.0, False)]], [[(1.0, 2, pays, True)]], [over])
    later = OneHot(
        [[(1.0, 1, 0.0, False)]], [[(1.0, 2, 0.0, False)]], [[(1.0, 3, pays, True)]], [over]
    )
    to_the_fork = [(1.0, 1, 0.0, False)]
    fork = OneHot([to_the_fork] * 2, [[(1.0, 0, -pays, True)], [(1.0, 0, pays, True)]])
    paid_first = OneHot([[(1.0, 1, pays, False)]], [[(1.0, 1, 0.0, False)]], clock=2)
    clock = OneHot([[(1.0, 1, 0.0, False)]], [[(1.0, 1, 0.5, False)]], clock=3)
    stopped = OneHot([[(1.0, 1, 0.0, False)]], [[(1.0, 1, pays, False)]], clock=2)
    four, eight = {"batch_size": 4}, {"batch_size": 8, "atol": 0.01}
    many, news = {"batch_size": 32}, {"batch_size": 16, "atol": 0.02}
    half, look = {"gamma": 0.5}, {"gamma": 0.5, "begin": [[1.0]]}
    fair = {"epsilon": 1.0, "atol": 0.03}  # by chance alone, so each action comes often
    begin = {"begin": [[0.1], [0.0]]}
    moved_thrice = (1 + (1 + 7 / 8) / 8) * pays  # the copy at 1/4, then 15/32 of pays
    rows = [
        # name, the mistake that it isolates, world, steps, settings, the right weights
        ("one step", "takes no gradient step", one_way, 1, {"adam": 0.1}, [[0.1, 0]]),
        ("a surprise", "squares the error", surprise, 1, {"lr": 0.5}, [[0.5, 0]]),
        ("one look ahead", "never looks ahead", stays, 1, look | {"gamma": 1.0}, [[1 + pays]]),
        ("half of what comes", "forgets the discount", stays, 1, look, [[0.5 + pays]]),
        ("an end", "bootstraps through termination", leads_back, 1, look, [[pays]]),
        ("the same step twice", "adds up gradients", stays, 2, {"lr": 0.5}, [[0.75 * pays]]),
        ("three steps for a batch of four", "learns too early", stays, 3, four, [[0]]),
        (
            *("four steps for a batch of four", "adds up the rows", stays, 4),
            *(four | {"lr": 0.5}, [[pays / 2]]),
        ),
        ("round and round", "never moves on", loop, 22, {}, [[pays, -pays]]),
        ("many episodes", "goes on after an end", corridor, 22, {}, [[pays, -pays, 0]]),
        ("a batch of two kinds", "mixes the rows", loop, 28, eight, [[pays, -pays]]),
        (
            *("a step that never comes again", "learns from the newest", once, 84),
            *(many | {"lr": 6.0, "atol": 0.5 * pays}, [[0.8 * pays, 0]]),
        ),
        (
            *("two actions", "moves the best action", bandit, 44),
            *(eight | begin | fair, [[-pays], [pays]]),
        ),
        (
            *("epsilon 0", "explores too often", two_ways, 20),
            *({"epsilon": 0.0} | begin, [[pays / 2], [0]]),
        ),
        (
            *("two ways that pay", "never explores", two_ways, 25),
            *({"epsilon": 1.0}, [[pays / 2], [pays]]),
        ),
        (
            *("a copy that has to move", "never moves the copy", stays, 30),
            *(four | half | {"tau": 0.5, "atol": 0.9 * pays}, [[2 * pays]]),
        ),
        (
            *("news that comes late", "computes the target once", late, 34),
            *(news | half | {"tau": 0.5}, [[pays / 2, pays, 0]]),
        ),
        (
            *("a copy that moves half of the way", "asks the learner itself", stays, 2),
            *(half | {"tau": 0.5}, [[1.25 * pays]]),
        ),
        (
            *("a copy that moves by a quarter", "swaps the parts of the copy", stays, 3),
            *(half | {"tau": 0.25}, [[moved_thrice]]),
        ),
        (
            *("a copy that thinks otherwise", "acts by the copy", bandit, 12),
            *({"epsilon": 0.0, "tau": 0.0} | begin, [[-pays], [pays]]),
        ),
        (
            *("three states in a batch", "one maximum for the batch", later, 44),
            *(eight | half, [[pays / 4, pays / 2, pays, 0]]),
        ),
        (
            *("a fork", "averages the actions", fork, 88),
            *(eight | half | fair, [[pays / 2, -pays], [pays / 2, pays]]),
        ),
        (
            *("a clock after two steps", "keeps the wrong next state", paid_first, 30),
            *(eight | half, [[pays, 0]]),
        ),
        ("a clock", "takes the clock for an end", clock, 40, eight | half, [[0.5, 1]]),
        (
            *("a step at which the clock runs out", "drops the step at the clock", stopped, 44),
            *(eight | half, [[pays, 2 * pays]]),
        ),
    ]
    return [_probe(rng, *row) for row in rows]


def _probe(
    rng: np.random.Generator,
    name: str,
    isolates: str,
    world: OneHot,
    steps: int,
    changed: dict,
    right: list[list[float]],
) -> Case:
    settings = SETTINGS | changed
    atol, begin = settings.pop("atol", 1e-3), settings.pop("begin", None)
    lr, adam = settings.pop("lr", 1.0), settings.pop("adam", None)
    online = nn.Linear(len(right[0]), len(right), bias=False)
    with torch.no_grad():
        online.weight.copy_(torch.zeros_like(online.weight) if begin is None else Tensor(begin))
    parameters = online.parameters()
    optimizer = torch.optim.Adam(parameters, adam) if adam else torch.optim.SGD(parameters, lr)
    world = copy.copy(world)
    world.most = steps
    draw = np.random.default_rng(rng.integers(2**31))
    args = (world, online, optimizer, steps, *settings.values(), draw)
    return Case(name, args, {"weight": Tensor(right)}, atol=atol, isolates=isolates)


learn_from_replay = Exercise(
    reference=_learn_from_replay,
    cases=_probes,
    seconds=8.0,
    edits="""
    takes no gradient step: `optimizer.step()` goes. A world of one step, a batch of one row, and
        Adam as the optimizer: one gradient step moves the value of the first state by Adam's
        learning rate, 0.1, towards the reward. One row is enough for a batch of one.
        `loss.backward()` only computes the gradient; `optimizer.step()` moves the weights of
        `online`, not those of a copy.

    squares the error: `F.smooth_l1_loss(q, targets)` becomes `F.mse_loss(q, targets)`. The reward
        is above 4 and the value 0, so the error is large. The Huber loss pulls no harder than an
        error of 1, and with learning rate 0.5 a gradient step moves the value by 0.5. Yours moves
        it by something else.

    never looks ahead: `rewards + gamma * (1 - ended) * next_q.max(dim=1).values` becomes `rewards`.
        A state that leads back to itself and is worth 1 already. Gamma is 1: after one step it
        should be worth the reward and that 1. Your target lacks the next state's value, or a
        gradient flows through it: make targets under `torch.no_grad()`.

    forgets the discount: `gamma * ` goes. The same with gamma 0.5. The next state lies one step
        away: its value counts `gamma` times, the reward in full.

    bootstraps through termination: ` * (1 - ended)` goes. The episode terminates, and the next
        state has a value. Nothing follows an end: multiply the future by 1 - `terminated`.

    adds up gradients: `optimizer.zero_grad()` goes. The same step twice. `backward()` adds to the
        gradients that are there: without `optimizer.zero_grad()` the second gradient step takes
        the first one's along.

    learns too early: `if len(memory) < batch_size` becomes `if len(memory) < 1`. Three steps, and
        batches of four rows. With fewer rows than a batch has, there is nothing to learn from yet:
        the weights have to stay as they were.

    adds up the rows: `F.smooth_l1_loss(q, targets)` becomes
        `F.smooth_l1_loss(q, targets, reduction="sum")`. Four steps, all alike, and a batch of four:
        exactly one gradient step, right after the fourth, on the *mean* loss. The same number of
        rows is enough, and the sum of their losses would be four times as much.

    never moves on: `obs = next_obs` becomes `pass`. Two states, each leading to the other. One
        pays, the other costs. The second step starts where the first one led: `obs` has to become
        `next_obs`, after the row is kept.

    goes on after an end: `truncated: obs, _ = env.reset()` becomes `truncated: env.reset()`. When
        an episode has ended, `reset()` returns the observation that your next step starts from. A
        row that starts in the state after the end belongs to no episode.

    mixes the rows: `F.smooth_l1_loss(q, targets)` becomes
        `F.smooth_l1_loss(q[:, None].expand(-1, len(q)), targets.expand(len(q), -1))`. Batches of
        eight rows, of two kinds with different rewards. Each value has to meet its own target.
        Print the shapes: both (B,). A (B, 1) against a (B,) becomes (B, B), every row with every
        other, and so does `q[:, actions]`.

    learns from the newest: `rng.integers(len(memory), size=batch_size)` becomes
        `range(-batch_size, 0)`. One step is taken once, at the very beginning, and never again. It
        is learned only if it is drawn again and again: draw from *all* rows that are kept, each
        with the same chance.

    moves the best action: `online(seen)[torch.arange(batch_size), actions]` becomes
        `online(seen).max(dim=1).values`. Two actions, one pays and one costs. What moves is the
        value of the action that was *taken*: look it up with `actions`, row by row.

    explores too often: `rng.random() < epsilon` becomes `rng.random() < 1 - epsilon`. Epsilon is 0,
        and the first action has the larger value all the time: the other must never be taken. The
        chance of a random action is epsilon, that of the best one 1 - epsilon.

    never explores: `rng.random() < epsilon` becomes `False`. Two actions pay. The first that was
        tried looks better than the other, of which nothing is known yet, and with epsilon 1 every
        action is drawn by chance.

    never moves the copy: `slow += tau * (fast - slow)` becomes `pass`. A state that leads back to
        itself, and gamma 0.5: it is worth twice its reward. With a target network that stays at 0
        it gets no further than the reward. Move the copy after each gradient step.

    computes the target once: `np.float32(reward), next_obs, np.float32(terminated)` becomes
        `np.float32(reward + gamma * (1 - terminated) * float(
        target_network(torch.as_tensor(next_obs)[None]).detach().max())), next_obs, np.float32(1)`.
        Only the second step pays, and when the first was kept nothing was known of that yet. Keep
        the next observation, and ask the target network for its value each time the row is drawn:
        what it said long ago is out of date.

    asks the learner itself: `next_q = target_network(following)` becomes
        `next_q = online(following)`. After the first gradient step the copy moves half of the way,
        and the second target is made with that. Yours looks as if it were made with the network
        that learns. You ask `online`, or the copy takes over everything at once, or it is none:
        `slow = online` is a second name for one network, `copy.deepcopy(online)` makes another.
        (What you return are the weights of `online`.)

    swaps the parts of the copy: `slow += tau * (fast - slow)` becomes
        `slow += (1 - tau) * (fast - slow)`. Three gradient steps, each followed by a move of the
        copy, with `tau` 0.25. It keeps three quarters of itself and takes one quarter of the online
        network, once after each gradient step.

    acts by the copy: `online(torch.as_tensor(obs)[None])` becomes
        `target_network(torch.as_tensor(obs)[None])`. Epsilon is 0, and `tau` too. The online
        network learns at once that the first action costs, and takes the other. The target network
        goes on preferring the first. It is there for targets only: the online network acts.

    one maximum for the batch: `next_q.max(dim=1).values` becomes `next_q.max()`. Three states in a
        row, each worth half of the one after it, and all of them in one batch. Each row's next
        state has a maximum of its own: over the actions, `dim=1`.

    averages the actions: `next_q.max(dim=1).values` becomes `next_q.mean(dim=1)`. The first state
        leads to a fork: one way costs, the other pays. The target asks for the *best* next action,
        not for the mean, and not for the one that was taken.

    keeps the wrong next state: `np.float32(reward), next_obs,` becomes
        `np.float32(reward), env.reset()[0] if truncated else next_obs,`. The clock stops an episode
        after two steps. What was kept for the second step has to hold the observation that `step`
        returned, not the one from which `reset` starts anew.

    takes the clock for an end: `np.float32(terminated)` becomes `np.float32(terminated or
        truncated)`. A clock stops this world every three steps. Being `truncated` is no end: the
        world would go on, so the next state counts as ever. Keep `terminated` alone.

    drops the step at the clock: `memory.append(` becomes `truncated or memory.append(`. This clock
        runs out after two steps, and only the second pays. It is a step like any other: keep it,
        and reset afterwards.
    """,
    hints=(
        "Begin with `copy.deepcopy(online)`, an empty list, and `obs, _ = env.reset()`. Then a "
        "loop of `steps` rounds with five parts: act, keep, draw, one gradient step, move the "
        "copy.",
        "Keep (obs, action, reward, next_obs, terminated) in a list. To act, `online` wants a "
        "batch: `online(torch.as_tensor(obs)[None])`. To learn, draw numbers with "
        "`rng.integers(len(memory), size=batch_size)` and make one float32 tensor of each column; "
        "the actions stay integers.",
        "With `torch.no_grad()`: `targets = td_target(rewards, terminated, copied(next_obs), "
        "gamma)`. Then `loss, _ = dqn.dqn_loss(online(obs), actions, targets)`, "
        "`optimizer.zero_grad()`, `loss.backward()`, `optimizer.step()`, and each weight of the "
        "copy moves by `tau * (fast - slow)`, again without gradient.",
    ),
)
