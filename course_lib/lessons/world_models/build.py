"""What lesson 11 asks to build: the cross-entropy method, judged by its plans in toy models."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.cases import floats
from course_lib.classroom.check import Case, Exercise

Step = tuple[Tensor, Tensor, Tensor]  # next states (N, D), rewards (N,), ended (N,)
Model = Callable[[Tensor, Tensor], Step]  # from states (N, D) and actions (N, A)


def _cross_entropy_plan(
    model: Model,
    state: Tensor,
    mean: Tensor,
    std: Tensor,
    gamma: float,
    population: int,
    elites: int,
    rounds: int,
    generator: torch.Generator,
) -> Tensor:
    """Return the mean plan (H, A) after so many rounds of the cross-entropy method.

    ``state`` is (D,); ``mean`` and ``std`` (H, A) say where the first plans are drawn, from a
    normal distribution. A plan's return is its discounted rewards in ``model``, up to and with
    that of the step that ends it. The ``elites`` best plans give the next mean and spread.
    """
    for _ in range(rounds):
        noise = torch.randn((population, *mean.shape), generator=generator)
        plans = mean + std * noise  # (P, H, A)
        states = state.expand(population, -1)
        returns, alive = torch.zeros(population), torch.ones(population)
        for step in range(len(mean)):
            states, rewards, ended = model(states, plans[:, step])
            returns += gamma**step * alive * rewards
            alive = alive * ~ended
        chosen = plans[returns.topk(elites).indices]
        mean, std = chosen.mean(0), chosen.std(0, correction=0)
    return mean


# --- Toy models: each is one rule, for any number of plans at once --------------------------------


@dataclass(frozen=True)
class Toy:
    """A model made of one rule, strict about shapes."""

    rule: Model

    def __call__(self, states: Tensor, actions: Tensor) -> Step:
        if states.ndim != 2 or actions.ndim != 2 or len(states) != len(actions):
            raise ValueError(
                "the model takes states (N, D) and actions (N, A), a state and an action for each "
                f"plan; it got {tuple(states.shape)} and {tuple(actions.shape)}"
            )
        return self.rule(states, actions)


def _never(states: Tensor) -> Tensor:
    return torch.zeros(len(states), dtype=torch.bool)


def _pays(states: Tensor, actions: Tensor) -> Step:
    return states, actions[:, 0], _never(states)


def _costs(states: Tensor, actions: Tensor) -> Step:
    return states, -actions[:, 0], _never(states)


def _pays_by_state(states: Tensor, actions: Tensor) -> Step:
    return states, states[:, 0] * actions[:, 0], _never(states)


def _pays_where_it_stands(states: Tensor, actions: Tensor) -> Step:
    return states + actions, states[:, 0], _never(states)


def _turns_round(states: Tensor, actions: Tensor) -> Step:
    return -states, states[:, 0] * actions[:, 0], _never(states)


def _ends(states: Tensor, actions: Tensor) -> Step:
    return states, actions[:, 0], ~_never(states)


def _ends_at_zero(states: Tensor, actions: Tensor) -> Step:
    return states + 1, actions[:, 0], states[:, 0] == 0


def _ends_above(states: Tensor, actions: Tensor) -> Step:
    """The state is (clock, edge): whoever is above the edge at clock 0 ends; only clock 1 pays."""
    clock, edge = states.T
    rewards = clock * (10 + actions[:, 0])
    return states + torch.tensor([1.0, 0.0]), rewards, (clock == 0) & (actions[:, 0] > edge)


def _walks(states: Tensor, actions: Tensor) -> Step:
    """A walk in the plane to the origin: being far costs, and so does a long step."""
    places = states + actions
    return places, -places.square().sum(-1) - 0.2 * actions.square().sum(-1), _never(states)


def _best_walk(start: np.ndarray, steps: int) -> np.ndarray:
    """The best plan (H, 2) of `_walks`, by least squares."""
    places = np.tril(np.ones((steps, steps)))  # where one is after each step, from the steps
    rows = np.vstack([places, 0.2**0.5 * np.eye(steps)])
    wanted = np.vstack([np.tile(-start, (steps, 1)), np.zeros((steps, 2))])
    return np.linalg.lstsq(rows, wanted, rcond=None)[0]


# Draw from a bell curve of mean 0 and spread 1 and keep the upper half: its mean, its spread.
HALF, NARROWER = math.sqrt(2 / math.pi), math.sqrt(1 - 2 / math.pi)
BOTH = HALF / math.sqrt(2)  # the same of two numbers, where their sum decides
TOP, TIGHT = 2.063, 0.371  # the same of the top twentieth
TWO_ROUNDS = HALF * (1 + NARROWER)
TWO_FEW = TOP * (1 + TIGHT)

SETTINGS = {"gamma": 1.0, "population": 1_000, "elites": 500, "rounds": 1}


def _probes(rng: np.random.Generator) -> list[Case]:
    """Models in the order in which they are tried: each adds one thing that can go wrong."""
    x, low = float(rng.choice([-1, 1]) * rng.uniform(1, 2)), float(rng.uniform(0.2, 0.35))
    sign, weights = float(np.sign(x)), np.array([[1], [low], [low**2]])
    later = HALF * weights / np.linalg.norm(weights)
    two, few = {"rounds": 2}, {"rounds": 2, "elites": 50}
    far = rng.uniform(0.5, 1, size=2) * rng.choice([-1, 1], size=2)
    rows = [
        # name, the mistake that it isolates, rule, state, settings, where the plan moves (
        # times std), and what it may be off (in units of about 1)
        ("plans without spread", "loses the mean", _pays, [0], {"std": [[0]]}, [[0]], 1e-3),
        ("the lower, the better", "keeps the worst", _costs, [0], {"elites": 50}, [[-TOP]], 3.0),
        ("the upper half", "follows the best alone", _pays, [0], {}, [[HALF]], 1.0),
        ("the higher, the better", "keeps all plans", _pays, [0], {"elites": 50}, [[TOP]], 1.3),
        ("the lower half", "draws on one side only", _costs, [0], {}, [[-HALF]], 0.5),
        ("two steps that pay", "counts one step only", _pays, [0], {}, [[BOTH]] * 2, 0.4),
        (
            *("a state that decides which way", "begins somewhere else", _pays_by_state, [x]),
            *({}, [[sign * HALF]], 0.3),
        ),
        (
            *("a step that pays at the next one", "never moves on", _pays_where_it_stands, [x]),
            *({"std": [[1], [0]]}, [[HALF], [0]], 0.3),
        ),
        (
            *("up, then down", "draws once for all steps", _turns_round, [sign]),
            *({}, [[sign * BOTH], [-sign * BOTH]], 0.3),
        ),
        (
            *("a reward that is later counts less", "forgets the discount", _pays, [0]),
            *({"gamma": low}, later, 0.23),
        ),
        ("a step that ends", "drops the reward of the end", _ends, [0], {}, [[HALF]], 0.3),
        ("two steps, an end", "counts beyond an end", _ends, [0], {}, [[HALF], [0]], 0.3),
        (
            *("an end, said once", "comes back to life", _ends_at_zero, [0]),
            *({}, [[HALF], [0], [0]], 0.3),
        ),
        (
            *("an end for some", "one end ends all", _ends_above, None),
            *({"elites": 250}, [[-HALF], [HALF]], 0.4),
        ),
        ("two rounds, few elites", "never refits the spread", _pays, [0], few, [[TWO_FEW]], 1.0),
        (
            *("two rounds, wide plans", "takes the variance", _pays, [0]),
            *(two | {"std": [[10]]}, [[TWO_ROUNDS]], 10.0),
        ),
        ("two rounds", "starts each round anew", _pays, [0], two, [[TWO_ROUNDS]], 0.3),
        (
            *("two rounds from one state", "goes on where it stopped", _turns_round, [sign]),
            *(two, [[sign * TWO_ROUNDS]], 0.4),
        ),
        (
            *("two numbers in an action", "one spread for all", _pays, [0]),
            *(two | {"std": [[0.3, 3]]}, [[TWO_ROUNDS, 0]], 1.1),
        ),
    ]
    cases = []
    for name, isolates, rule, state, changed, moves, off in rows:
        settings, spread = SETTINGS | changed, rng.uniform(0.8, 1.25)
        mean = rng.uniform(-2, 2, size=np.shape(moves))
        std = spread * np.broadcast_to(settings.pop("std", 1.0), mean.shape)
        state = [0, mean[0, 0]] if state is None else state
        draw = torch.Generator().manual_seed(int(rng.integers(2**31)))
        args = (Toy(rule), floats(state), floats(mean), floats(std))
        args += (*settings.values(), draw)
        expected = floats(mean + std * np.array(moves))
        cases.append(Case(name, args, expected, atol=off * spread, isolates=isolates))
    draw = torch.Generator().manual_seed(int(rng.integers(2**31)))
    args = (Toy(_walks), floats(far), torch.zeros(2, 2), torch.ones(2, 2), 1.0, 200, 20, 8, draw)
    walk = Case("a walk of two steps, eight rounds", args, floats(_best_walk(far, 2)), atol=0.2)
    return [*cases, walk]


cross_entropy_plan = Exercise(
    reference=_cross_entropy_plan,
    cases=_probes,
    seconds=8.0,  # with the five seeds of the grader 40 s, less than an exercise gets there
    edits="""
    loses the mean: `mean + std * noise` becomes `std * noise`. The spread is 0, so every plan is
        the mean you were given, and so is what you return. Draw plans around `mean`:
        `mean + std * noise`.

    keeps the worst: `topk(elites)` becomes `topk(elites, largest=False)`. One step; the lower the
        action, the higher its reward. The elites, 50 of 1,000 plans, lie far below the mean that
        you were given. Elites are the plans with the *highest* returns.

    keeps all plans: `plans[returns.topk(elites).indices]` becomes `plans`. One step, one round; the
        action is the reward, and the best 50 of 1,000 plans lie far above the mean that you
        were given. Yours do not: look at whether the returns are added up at every step, whether
        they choose the elites, and whether the elites' mean is what you return.

    follows the best alone: `chosen.mean(0)` becomes `chosen[0]`. Half of the plans are elites.
        The next mean is the mean of *all* elites, and yours is not near it.

    draws on one side only: `torch.randn(` becomes `torch.rand(`. Half of the plans lie below the
        mean, and here these are the elites. Yours hardly get below it: `torch.randn` draws on both
        sides of 0, `torch.rand` between 0 and 1.

    counts one step only: `returns += gamma` becomes `returns = gamma`. Both steps pay what their
        action is, so both should move up by as much. In your plan one of them hardly matters: the
        return is the *sum* over all H steps.

    begins somewhere else: `state.expand` becomes `torch.zeros_like(state).expand`. The reward is
        the state times the action, so the sign of the state decides which way is up. Every plan
        begins in `state`.

    never moves on: `states, rewards, ended = model` becomes `_, rewards, ended = model`. A step
        pays nothing where it is made, but it leads to a state that pays at the *next* step. Ask the
        model for step k + 1 from the states to which step k led.

    draws once for all steps: `torch.randn((population, *mean.shape), generator=generator)` becomes
        `torch.randn((population, 1, mean.shape[1]), generator=generator)`. Best is up at the first
        step and down at the second. Each step of a plan needs a draw of its own: the noise has the
        shape (P, H, A).

    forgets the discount: `gamma**step * alive` becomes `alive`. Three steps pay what their action
        is, but gamma is small: the first should move much further than the last. The reward of
        step k, counted from 0, counts gamma to the power k.

    drops the reward of the end: `alive * rewards` becomes `alive * ~ended * rewards`. The only
        step ends the plan, and its reward counts. Add the reward first, and only then note that
        the plan has ended.

    counts beyond an end: `alive = alive * ~ended` becomes `pass`. The first step ends the plan.
        What the model says of the second is no longer real, so nothing should move there. Keep for
        each plan whether it still runs.

    comes back to life: `alive = alive * ~ended` becomes `alive = 1.0 * ~ended`. The model says
        `ended` once, after the first step, and goes on. A plan that has ended stays ended: what you
        knew before must stay in it.

    one end ends all: `~ended` becomes `~ended.any()`. Some plans end at their first step, and only
        the others are paid at the second. `ended` has a value for each plan: it stops this plan,
        and no other.

    never refits the spread: `mean, std = chosen.mean(0), chosen.std(0, correction=0)` becomes
        `mean = chosen.mean(0)`. Two rounds; 50 of 1,000 plans are elites. They lie close to each
        other, so the second round should draw close to their mean, and move on only a little. The
        next `std` is the spread of the elites.

    takes the variance: `chosen.std(` becomes `chosen.var(`. The first plans are drawn with a spread
        of about ten, and the second round should be somewhat narrower. The standard deviation is
        the square root of the variance: which of them do you draw with?

    starts each round anew: `for _ in range(rounds)` becomes
        `for mean, std in [(mean, std)] * rounds`. Two rounds, and half of the plans are elites. The
        second round draws around what the first one found, and should get further up. Look at
        whether `mean` and `std` are the new ones, and how many rounds there are.

    goes on where it stopped: `states = state.expand(population, -1)` becomes
        `states = state.expand(population, -1) if _ == 0 else states`. Every step turns the state
        round, and with it what pays. Nothing is done for real while you plan: every round begins
        in `state` again.

    one spread for all: `chosen.std(0, correction=0)` becomes `chosen.std(correction=0)`. An action
        is two numbers, and only the first matters. Each number of each step has a draw, a mean and
        a spread of its own: take all of them along the first dimension, over the plans.
    """,
    hints=(
        "Two loops. The outer one counts rounds: draw plans, find their returns, choose elites, "
        "take their mean and spread. The inner one goes through the H steps and follows all plans "
        "at once.",
        "`plans = mean + std * torch.randn((population, *mean.shape), generator=generator)` are "
        "(P, H, A), and `state.expand(population, -1)` is a start for each. "
        "`model(states, plans[:, step])` takes all of them one step on.",
        "Add `gamma**step * alive * rewards` to the returns (P,), then "
        "`alive = alive * ~ended`; both begin anew in each round. `plans[returns.topk(elites)"
        ".indices]` are the elites: their `mean(0)` and `std(0, correction=0)` are where the next "
        "plans are drawn.",
    ),
)
