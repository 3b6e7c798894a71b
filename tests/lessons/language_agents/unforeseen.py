"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import numpy as np
import torch

from course_lib.agents import instructions
from course_lib.lessons.language_agents import build
from course_lib.worlds import commands, grid
from course_lib.worlds.sentences import GOALS, VERBS, VERBS_OF

asked = build.generalisation_table.reference
film, whitening, hands = instructions.film, instructions.whitening, grid.pick_up_or_drop


def with_signs(vectors, components, shrink, by):
    """A transform whose columns are turned so that ``by(transform)``, (K,), is positive."""
    mean, transform = whitening(vectors, components, shrink)
    return mean, transform * by(transform).sign()


def scaled(vectors, components, shrink, factor):
    mean, transform = whitening(vectors, components, shrink)
    return mean, transform * factor(vectors, mean, transform)


def one_for_all(ahead, carrying, actions):
    """What the first agent does, all do."""
    return hands(ahead, carrying, np.full_like(actions, actions[0]))


def loses_boxes(ahead, carrying, actions):
    boxes = grid.KIND_OF[ahead] == grid.KINDS["box"]
    there, held = hands(ahead, carrying, actions)
    return np.where(boxes, ahead, there), np.where(boxes, carrying, held)


def paints(ahead, carrying, actions):
    """A dropped thing is always red."""
    there, held = hands(ahead, carrying, actions)
    return np.where(there == ahead, there, there - grid.COLOUR_OF[there] * 3), held


def one_less(things, goal, heard):
    count = round(1 / commands.chance(things, goal, heard))
    return 1 / max(1, count - 1)


def over_things(things, goal, heard):
    """The mean over things of the chance to name the right verb."""
    return float(np.mean([1 / len(VERBS_OF[kind]) for _, kind in things]))


def looks_too_late(agent, rows, make_envs, episodes):
    """It looks at the reward where the next episode begins."""
    before, table = agent.sentences, {}
    for name, row in rows.items():
        agent.hear([command.sentence for command in row])
        envs, good = make_envs(row), []
        obs = envs.reset()
        while len(good) < episodes:
            obs, rewards, _, _, valid = envs.step(agent.act(obs))
            good += (rewards > 0)[~valid].tolist()
        table[name] = float(np.mean(good))
    agent.hear(before)
    return table


UNFORESEEN = {
    "film": {
        "a gate": lambda f, scale, shift: film(f, scale.sigmoid() - 1, shift),
        "the 1 is added": lambda f, scale, shift: film(f, scale - 1, shift + 1),
        "scale and shift change places": lambda f, scale, shift: film(f, shift, scale),
        "one sentence for all": lambda f, scale, shift: film(
            f, scale[:1].expand_as(scale), shift[:1].expand_as(shift)
        ),
        "exponential": lambda f, scale, shift: film(f, scale.exp() - 1, shift),
        "the places' mean": lambda f, scale, shift: film(f, scale, shift).mean(1),
        "detached scale": lambda f, scale, shift: film(f, scale.detach(), shift),
        "rounded": lambda f, scale, shift: film(f, scale, shift).round(),
        "in NumPy": lambda f, scale, shift: film(f, scale, shift).detach().numpy(),
    },
    "whitening": {
        "the first entry above 0": lambda *args: with_signs(*args, lambda t: t[0]),
        "the sum above 0": lambda *args: with_signs(*args, lambda t: t.sum(0)),
        "the largest entry below 0": lambda *args: with_signs(
            *args, lambda t: -t.gather(0, t.abs().argmax(0, keepdim=True))[0]
        ),
        "vectors of length 1": lambda *args: scaled(
            *args, lambda v, m, t: 1 / ((v - m) @ t).norm(dim=1).mean()
        ),
        "twice the shrink": lambda v, k, shrink: whitening(v, k, 2 * shrink),
        "one mean": lambda v, k, shrink: (v.mean(), whitening(v, k, shrink)[1]),
        "the median": lambda v, k, shrink: (v.median(0).values, whitening(v, k, shrink)[1]),
        "the vectors too": lambda v, k, shrink: (
            v.mean(0),
            (v - v.mean(0)) @ whitening(v, k, shrink)[1],
        ),
        "turned back": lambda v, k, shrink: (
            v.mean(0),
            whitening(v, min(v.shape[1], len(v)), shrink)[1] @ torch.linalg.qr(v.T @ v)[0][:, :k]
            if len(v) > v.shape[1]
            else whitening(v, k, shrink)[1].flip(1),
        ),
    },
    "pick_up_or_drop": {
        "the other way round": lambda *args: hands(*args)[::-1],
        "PICKUP and DROP change places": lambda ahead, carrying, actions: hands(
            ahead, carrying, np.choose(actions, [0, 1, 2, 4, 3, 5, 6])
        ),
        "one for all": one_for_all,
        "boxes are heavy": loses_boxes,
        "paints what it drops": paints,
        "toggles lift too": lambda ahead, carrying, actions: hands(
            ahead, carrying, np.where(actions == grid.TOGGLE, grid.PICKUP, actions)
        ),
        "one array": lambda *args: np.stack(hands(*args)),
        "lists": lambda *args: tuple(x.tolist() for x in hands(*args)),
    },
    "chance": {
        "one goal too few": one_less,
        "a percentage": lambda *args: 100 * commands.chance(*args),
        "over the things": over_things,
        "all 54": lambda things, goal, heard: 1 / len(GOALS),
        "three verbs, then things": lambda things, goal, heard: 1 / len(VERBS) / len(things),
        "does not listen": lambda things, goal, heard: commands.chance(things, goal, ()),
        "hears all": lambda things, goal, heard: commands.chance(things, goal, goal._fields),
        "the target stands first": lambda things, goal, heard: commands.chance(
            things, goal, (*heard, "colour")
        ),
    },
    "generalisation_table": {
        "looks too late": looks_too_late,
        "a list": lambda *args: list(asked(*args).values()),
        "the mean of all rows": lambda *args: float(np.mean(list(asked(*args).values()))),
        "percent": lambda *args: {name: f"{100 * x:.0f} %" for name, x in asked(*args).items()},
        "an array for each": lambda *args: {k: np.array([x]) for k, x in asked(*args).items()},
        "whole numbers of the rows": lambda *args: {
            k: x for k, x in enumerate(asked(*args).values())
        },
    },
}
