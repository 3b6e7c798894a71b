# ruff: noqa: F811
"""Right answers of lesson 14 in other styles."""

# %% imports
import copy
from collections import Counter, defaultdict
from itertools import product

import numpy as np
import torch

from course_lib.worlds import grid
from course_lib.worlds.grid import DROP, EMPTY, KIND_OF, KINDS, PICKUP, PORTABLE
from course_lib.worlds.sentences import GOALS, VERBS_OF, Goal


# %% film: one axis more for both
def film(features, scale, shift):
    if features.ndim == 3:
        return features * (1 + scale[:, None, :]) + shift[:, None]
    return features * (1 + scale) + shift


# %% film: what it adds
def film(features, scale, shift):
    while scale.dim() < features.dim():
        scale, shift = scale[:, None], shift[:, None]
    return features + features * scale + shift


# %% film: places first
def film(features, scale, shift):
    if len(features.shape) == 2:
        return torch.addcmul(shift, features, scale + 1)
    return (features.transpose(0, 1) * (scale + 1) + shift).transpose(0, 1)


# %% film: row by row
def film(features, scale, shift):
    rows = [f * (s + 1.0) + t for f, s, t in zip(features, scale, shift, strict=True)]
    return torch.stack(rows)


# %% film: einsum
def film(features, scale, shift):
    scaled = torch.einsum("b...c,bc->b...c", features, 1 + scale)
    return scaled + shift.view(len(shift), *[1] * (features.dim() - 2), -1)


# %% whitening: eigenvectors of the covariance
def whitening(vectors, components, shrink=0.1):
    mean = vectors.mean(dim=0)
    centred = vectors - mean
    covariance = centred.T @ centred / vectors.shape[0]
    variance, columns = torch.linalg.eigh(covariance)
    variance, columns = variance.flip(0)[:components], columns.flip(1)[:, :components]
    largest = columns.abs().argmax(dim=0)
    columns = columns * columns[largest, torch.arange(components)].sign()
    return mean, columns / (variance + shrink * variance.mean()).sqrt()


# %% whitening: NumPy in double precision
def whitening(vectors, components, shrink=0.1):
    x = vectors.double().numpy()
    mean = x.mean(axis=0)
    _, singular, rows = np.linalg.svd(x - mean)
    variance = singular[:components] ** 2 / len(x)
    columns = []
    for row, v in zip(rows[:components], variance, strict=True):
        row = row if row[np.abs(row).argmax()] > 0 else -row
        columns.append(row / np.sqrt(v + shrink * variance.mean()))
    return torch.from_numpy(mean).float(), torch.from_numpy(np.stack(columns, axis=1)).float()


# %% whitening: torch.cov, loops over columns
def whitening(vectors, components, shrink=0.1):
    mean = vectors.sum(0) / len(vectors)
    values, columns = torch.linalg.eigh(torch.cov(vectors.T, correction=0))
    order = values.argsort(descending=True)[:components]
    floor = shrink * values[order].sum() / components
    transform = torch.empty(vectors.shape[1], components)
    for k, place in enumerate(order):
        u = columns[:, place]
        if u.max() < -u.min():
            u = -u
        transform[:, k] = u / torch.sqrt(values[place] + floor)
    return mean, transform


# %% whitening: the spread by measuring it
def whitening(vectors, components, shrink=0.1):
    centred = vectors - vectors.mean(0, keepdim=True)
    _, _, directions = torch.svd(centred)
    directions = directions[:, :components]
    variance = (centred @ directions).var(0, correction=0)
    top = directions.gather(0, directions.abs().max(0).indices[None])
    return vectors.mean(0), directions * torch.sign(top) / torch.sqrt(
        variance + shrink * torch.mean(variance)
    )


# %% pick_up_or_drop: copies and masks
def pick_up_or_drop(ahead, carrying, actions):
    there, hands = ahead.copy(), carrying.copy()
    lifts = (actions == PICKUP) & PORTABLE[ahead] & (carrying == 0)
    drops = (actions == DROP) & (ahead == EMPTY) & (carrying != 0)
    there[lifts], hands[lifts] = EMPTY, ahead[lifts]
    there[drops], hands[drops] = carrying[drops], 0
    return there, hands


# %% pick_up_or_drop: room by room
def pick_up_or_drop(ahead, carrying, actions):
    there, hands = [], []
    for cell, held, action in zip(ahead, carrying, actions, strict=True):
        if action == grid.PICKUP and held == 0 and grid.PORTABLE[cell]:
            cell, held = grid.EMPTY, cell
        elif action == grid.DROP and held > 0 and cell == grid.EMPTY:
            cell, held = held, 0
        there.append(cell)
        hands.append(held)
    return np.array(there, dtype=np.uint8), np.array(hands, dtype=np.uint8)


# %% pick_up_or_drop: kinds, whole numbers of another size
def pick_up_or_drop(ahead, carrying, actions):
    ahead, carrying = ahead.astype(int), carrying.astype(int)
    portable = np.isin(KIND_OF[ahead], [KINDS[k] for k in ("key", "ball", "box")])
    up = portable & (actions == 3) & ~carrying.astype(bool)
    down = (KIND_OF[ahead] == KINDS["empty"]) & (actions == 4) & carrying.astype(bool)
    there = np.select([up, down], [EMPTY, carrying], ahead)
    hands = np.select([up, down], [ahead, 0], carrying)
    return there, hands


# %% pick_up_or_drop: both change places
def pick_up_or_drop(ahead, carrying, actions):
    full = carrying > 0
    swaps = np.where(full, (actions == DROP) & (ahead == EMPTY), (actions == PICKUP))
    swaps &= full | PORTABLE[ahead]
    handed = np.where(full, carrying, EMPTY)
    taken = np.where(ahead == EMPTY, 0, ahead)
    return np.where(swaps, handed, ahead), np.where(swaps, taken, carrying)


# %% chance: count in loops
def chance(things, goal, heard):
    left = 0
    for colour, kind in things:
        for verb in VERBS_OF[kind]:
            if "verb" in heard and verb != goal.verb:
                continue
            if "colour" in heard and colour != goal.colour:
                continue
            if "kind" in heard and kind != goal.kind:
                continue
            left += 1
    return 1.0 / left


# %% chance: sum of a generator over all goals
def chance(things, goal, heard):
    there = set(things)
    return 1 / sum(
        (other.colour, other.kind) in there
        and {part: getattr(other, part) for part in heard}
        == {part: getattr(goal, part) for part in heard}
        for other in GOALS
    )


# %% chance: a table of what was heard
def chance(things, goal, heard):
    places = [Goal._fields.index(part) for part in heard]
    counts = Counter(
        tuple((verb, *thing)[place] for place in places)
        for thing in things
        for verb in VERBS_OF[thing[1]]
    )
    return 1 / counts[tuple(goal[place] for place in places)]


# %% chance: strike out
def chance(things, goal, heard):
    verbs = [goal.verb] if "verb" in heard else ["go to", "pick up", "open"]
    if "colour" in heard:
        things = [t for t in things if t[0] == goal.colour]
    if "kind" in heard:
        things = [t for t in things if t[1] == goal.kind]
    return 1 / len([1 for verb, (_, kind) in product(verbs, things) if verb in VERBS_OF[kind]])


# %% chance: the mean of hits
def chance(things, goal, heard):
    agree = [
        Goal(verb, colour, kind)
        for colour, kind in things
        for verb in VERBS_OF[kind]
        if all((verb, colour, kind)[Goal._fields.index(p)] == getattr(goal, p) for p in heard)
    ]
    return np.mean([guess == goal for guess in agree])


# %% generalisation_table: lists of episodes, environment by environment
def generalisation_table(agent, rows, make_envs, episodes):
    heard_before = list(agent.sentences)
    table = {}
    for name, commands in rows.items():
        agent.hear([c.sentence for c in commands])
        envs = make_envs(commands)
        quota = int(np.ceil(episodes / envs.num_envs))
        results = [[] for _ in range(envs.num_envs)]
        obs = envs.reset()
        while any(len(row) < quota for row in results):
            step = envs.step(agent.act(obs))
            obs = step.obs
            for i in range(envs.num_envs):
                if not step.valid[i]:
                    continue
                if step.terminated[i]:
                    results[i].append(step.rewards[i] > 0)
                elif step.truncated[i]:
                    results[i].append(False)
        table[name] = float(np.mean([row[:quota] for row in results]))
    agent.hear(heard_before)
    return table


# %% generalisation_table: a function for a row, gives back after each
def play_row(agent, envs, quota):
    played, won = np.zeros(envs.num_envs, int), 0
    obs = envs.reset()
    while (played < quota).any():
        obs, rewards, terminated, truncated, valid = envs.step(agent.act(obs))
        over = valid & (terminated | truncated)
        won += int((over & terminated & (rewards > 0) & (played < quota)).sum())
        played = played + over
    return won / (quota * envs.num_envs)


def generalisation_table(agent, rows, make_envs, episodes):
    table, before = {}, agent.sentences
    try:
        for name in rows:
            envs = make_envs(rows[name])
            agent.hear([command.sentence for command in rows[name]])
            share = (episodes + envs.num_envs - 1) // envs.num_envs
            table[name] = play_row(agent, envs, share)
            agent.hear(before)
    finally:
        agent.hear(before)
    return table


# %% generalisation_table: without `valid`, hears at each step
def generalisation_table(agent, rows, make_envs, episodes):
    old = agent.sentences
    shares = {}
    for name, commands in rows.items():
        envs = make_envs(commands)
        n = envs.num_envs
        left, good = np.full(n, -(-episodes // n)), []
        obs = envs.reset()
        while left.max() > 0:
            agent.hear(envs.sentences)
            obs, r, terminated, truncated, _ = envs.step(agent.act(obs, greedy=False))
            for i in np.flatnonzero((terminated | truncated) & (left > 0)):
                left[i] -= 1
                good.append(bool(terminated[i] and r[i] > 0))
        shares[name] = sum(good) / len(good)
        envs.close()
    agent.hear(old)
    return shares


# %% generalisation_table: all steps are written down first, then counted
def generalisation_table(agent, rows, make_envs, episodes):
    start, found = agent.sentences, defaultdict(float)
    for name, commands in rows.items():
        agent.hear([command.sentence for command in commands])
        envs, steps = make_envs(commands), []
        share = -(-episodes // envs.num_envs)
        obs = envs.reset()
        ends = np.zeros(envs.num_envs)
        while ends.min() < share:
            steps.append(envs.step(agent.act(obs)))
            obs = steps[-1].obs
            ends += steps[-1].terminated | steps[-1].truncated
        rewards, terminated, truncated = (np.stack(x) for x in list(zip(*steps, strict=True))[1:4])
        over = terminated | truncated
        counted = over & (np.cumsum(over, axis=0) <= share)
        found[name] = ((rewards > 0) & terminated)[counted].mean()
    agent.hear(start)
    return dict(found)


# %% generalisation_table: a copy of the agent hears, the agent itself never does
def generalisation_table(agent, rows, make_envs, episodes):
    listener, table = copy.deepcopy(agent), {}
    for name, commands in rows.items():
        listener.hear([c.sentence for c in commands])
        envs = make_envs(commands)
        share = -(-episodes // envs.num_envs)
        ended, won = [0] * envs.num_envs, [0] * envs.num_envs
        obs = envs.reset()
        while min(ended) < share:
            obs, rewards, terminated, truncated, valid = envs.step(listener.act(obs))
            for i in range(envs.num_envs):
                if valid[i] and (terminated[i] or truncated[i]) and ended[i] < share:
                    ended[i] += 1
                    won[i] += terminated[i] and rewards[i] > 0
        table[name] = sum(won) / sum(ended)
    return table


# %% generalisation_table: a column of ends for each environment
def generalisation_table(agent, rows, make_envs, episodes):
    before, table = agent.sentences, dict.fromkeys(rows, 0.0)
    for name, commands in rows.items():
        agent.hear([command.sentence for command in commands])
        envs = make_envs(commands)
        quota = -(-episodes // envs.num_envs)
        history, obs = [], envs.reset()
        while not history or min(map(sum, zip(*[h != 0 for h in history], strict=True))) < quota:
            obs, rewards, terminated, truncated, valid = envs.step(agent.act(obs))
            good = terminated & (rewards > 0)
            # 0: goes on, 1: a success, -1: a failure
            history.append(np.where(valid & (terminated | truncated), np.where(good, 1, -1), 0))
        columns = np.array(history).T
        first = [column[column != 0][:quota] for column in columns]
        table[name] = float((np.concatenate(first) > 0).mean())
    agent.hear(before)
    return table
