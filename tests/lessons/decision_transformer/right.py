# ruff: noqa: F811
"""Right answers of lesson 13 in other styles."""

# %% imports
import itertools
import math
from collections import deque

import numpy as np
import torch
import torch.nn.functional as F

from course_lib.rl.dqn import dqn_loss


# %% returns_to_go: episode by episode, with cumsum from the back
def returns_to_go(rewards, ended):
    found, start = np.zeros(len(rewards), np.float32), 0
    for end in np.flatnonzero(ended):
        episode = rewards[start : end + 1]
        found[start : end + 1] = episode[::-1].cumsum()[::-1]
        start = end + 1
    return found


# %% returns_to_go: the total less what came before
def returns_to_go(rewards, ended):
    episode = np.concatenate([[0], np.cumsum(ended)[:-1]])
    total = np.bincount(episode, weights=rewards)[episode]
    before = np.cumsum(rewards) - rewards
    starts = np.concatenate([[True], ended[:-1]])
    at_start = before[starts][episode]
    return total - (before - at_start)


# %% returns_to_go: a list from the back
def returns_to_go(rewards, ended):
    rest, column = 0.0, []
    for reward, end in zip(rewards[::-1], ended[::-1], strict=True):
        if end:
            rest = 0.0
        rest += float(reward)
        column.append(rest)
    return np.array(column[::-1])


# %% returns_to_go: in place, each row adds what its successor has
def returns_to_go(rewards, ended):
    column = np.array(rewards, dtype=float)
    for t in range(len(column) - 2, -1, -1):
        if not ended[t]:
            column[t] += column[t + 1]
    return column


# %% interleave: a tensor to write into
def interleave(returns, states, actions):
    B, T, C = states.shape
    tokens = torch.zeros(B, 3 * T, C)
    tokens[:, 0::3] = returns
    tokens[:, 1::3] = states
    tokens[:, 2::3] = actions
    return tokens


# %% interleave: channels side by side, then a view
def interleave(returns, states, actions):
    B, T, C = returns.shape
    return torch.cat([returns, states, actions], dim=-1).reshape(B, 3 * T, C)


# %% interleave: the original's permute
def interleave(returns, states, actions):
    batch, steps, width = states.shape
    stacked = torch.stack((returns, states, actions), dim=1)
    return stacked.permute(0, 2, 1, 3).reshape(batch, 3 * steps, width)


# %% interleave: step by step
def interleave(returns, states, actions):
    tokens = []
    for t in range(states.size(1)):
        tokens += [returns[:, t], states[:, t], actions[:, t]]
    return torch.stack(tokens, dim=1)


# %% action_given_return: an early return
def action_given_return(prior, likelihood):
    if not np.any(prior * likelihood):
        return prior.copy()
    return prior * likelihood / np.dot(prior, likelihood)


# %% action_given_return: number by number
def action_given_return(prior, likelihood):
    both = [p * q for p, q in zip(prior, likelihood, strict=True)]
    if sum(both) == 0:
        return np.array(prior)
    return np.array([x / sum(both) for x in both])


# %% action_given_return: in logarithms
def action_given_return(prior, likelihood):
    with np.errstate(divide="ignore"):
        logs = np.log(prior) + np.log(likelihood)
    if np.isneginf(logs).all():
        return prior
    shares = np.exp(logs - logs.max())
    return shares / shares.sum()


# %% action_given_return: np.where
def action_given_return(prior, likelihood):
    joint = np.multiply(prior, likelihood)
    evidence = joint.sum(keepdims=True)
    return np.where(evidence > 0, joint / np.where(evidence > 0, evidence, 1), prior)


# %% conservative_loss: cross entropy is the gap
def conservative_loss(q, actions, targets, alpha):
    taken = q[torch.arange(len(q)), actions]
    gap = F.cross_entropy(q, actions)
    loss = F.smooth_l1_loss(taken, targets) + alpha * gap
    return loss, {"loss": loss.detach(), "q": taken.mean().detach(), "gap": gap.detach()}


# %% conservative_loss: dqn_loss of the library, numbers as metrics
def conservative_loss(q, actions, targets, alpha):
    errors, metrics = dqn_loss(q, actions, targets)
    gap = torch.logsumexp(q, -1).mean() - q.gather(1, actions.view(-1, 1)).mean()
    total = errors + alpha * gap
    return total, metrics | {"loss": total.item(), "gap": gap.item()}


# %% conservative_loss: the softmax policy's negative log-probability
def conservative_loss(q, actions, targets, alpha):
    rows = range(len(actions))
    gap = -q.log_softmax(dim=1)[rows, actions].mean()
    taken = q[rows, actions]
    loss = F.huber_loss(taken, targets) + alpha * gap
    return loss, {"gap": gap.detach(), "q": taken.detach().mean(), "loss": loss.detach()}


# %% conservative_loss: the largest value taken out, row by row
def conservative_loss(q, actions, targets, alpha):
    errors, gaps, taken = [], [], []
    for row, action, target in zip(q, actions, targets, strict=True):
        off = (row[action] - target).abs()
        errors.append(off**2 / 2 if off < 1 else off - 0.5)
        top = row.detach().max()
        gaps.append(top + (row - top).exp().sum().log() - row[action])
        taken.append(row[action].item())
    gap = sum(gaps) / len(gaps)
    loss = sum(errors) / len(errors) + alpha * gap
    return loss, {"loss": loss.item(), "q": sum(taken) / len(taken), "gap": gap.item()}


# %% expectile_loss: torch.where
def expectile_loss(values, targets, expectile):
    error = values - targets
    weight = torch.where(error < 0, expectile, 1 - expectile)
    loss = (weight * error.square()).mean()
    return loss, {"loss": loss.detach(), "value": values.detach().mean()}


# %% expectile_loss: two sides
def expectile_loss(values, targets, expectile):
    above = F.relu(targets - values)
    below = F.relu(values - targets)
    loss = (expectile * above**2 + (1 - expectile) * below**2).mean()
    return loss, {"loss": loss.item(), "value": values.mean().item()}


# %% expectile_loss: row by row
def expectile_loss(values, targets, expectile):
    total = 0.0
    for value, target in zip(values, targets, strict=True):
        share = expectile if target > value else 1 - expectile
        total = total + share * (target - value) ** 2
    loss = total / len(values)
    return loss, dict(loss=loss.detach(), value=values.detach().mean())


# %% expectile_loss: a half, and what leans to one side
def expectile_loss(values, targets, expectile):
    error = targets - values
    lean = (expectile - 0.5) * error.sign()
    loss = ((0.5 + lean) * error * error).sum() / error.numel()
    return loss, {"value": values.detach().mean(), "loss": loss.detach()}


# %% play_games: a record of steps for each environment
def play_games(policy, envs, target, episodes, context):
    quota = math.ceil(episodes / envs.num_envs)
    steps = [[[obs, 0, target]] for obs in envs.reset()]
    scores = [[] for _ in steps]
    while any(len(row) < quota for row in scores):
        shown = [row[-context:] for row in steps]
        actions = policy(*[[[step[k] for step in row] for row in shown] for k in range(3)])
        obs, rewards, terminated, truncated, valid = envs.step(actions)
        for i, row in enumerate(steps):
            if valid[i]:
                row[-1][1] = int(actions[i])
                row.append([obs[i], 0, row[-1][2] - float(rewards[i])])
                if terminated[i] or truncated[i]:
                    scores[i].append(target - row[-1][2])
            else:
                row[:] = [[obs[i], 0, target]]
    return np.array([score for row in scores for score in row[:quota]])


# %% play_games: deques that forget by themselves, a class for a game
class Game:
    def __init__(self, context):
        self.frames, self.actions, self.left = (deque(maxlen=context) for _ in range(3))
        self.returns = []

    def begin(self, obs, target):
        for column in (self.frames, self.actions, self.left):
            column.clear()
        self.total = 0.0
        self.note(obs, target)

    def note(self, obs, left):
        self.frames.append(obs)
        self.actions.append(0)
        self.left.append(left)


def play_games(policy, envs, target, episodes, context):
    games = [Game(context) for _ in range(envs.num_envs)]
    for game, obs in zip(games, envs.reset(), strict=True):
        game.begin(obs, target)
    per_game = (episodes + len(games) - 1) // len(games)
    while min(len(game.returns) for game in games) < per_game:
        actions = policy(
            [list(game.frames) for game in games],
            [list(game.actions) for game in games],
            [list(game.left) for game in games],
        )
        step = envs.step(np.asarray(actions))
        for i, game in enumerate(games):
            if not step.valid[i]:
                game.begin(step.obs[i], target)
                continue
            game.actions[-1] = actions[i]
            game.total += step.rewards[i]
            game.note(step.obs[i], target - game.total)
            if step.terminated[i] | step.truncated[i]:
                game.returns.append(game.total)
    return np.concatenate([game.returns[:per_game] for game in games]).astype(np.float64)


# %% play_games: arrays that grow, clears at the end and waits for the reset
def play_games(policy, envs, target, episodes, context):
    n = envs.num_envs
    first = envs.reset()
    history = [{"obs": [first[i]], "act": [], "rtg": [float(target)]} for i in range(n)]
    done, sums = [[] for _ in range(n)], [0.0] * n
    for _ in itertools.count():
        if all(len(d) * n >= episodes for d in done):
            break
        chosen = policy(
            [h["obs"][-context:] or [0] for h in history],
            [([*h["act"], 0])[-context:] for h in history],
            [h["rtg"][-context:] or [target] for h in history],
        )
        obs, rewards, terminated, truncated, _ = envs.step(chosen)
        for i in range(n):
            h = history[i]
            if not h["obs"]:
                h["obs"].append(obs[i])
                h["rtg"].append(float(target))
                continue
            sums[i] += float(rewards[i])
            h["act"].append(int(chosen[i]))
            h["obs"].append(obs[i])
            h["rtg"].append(target - sums[i])
            if terminated[i] or truncated[i]:
                if len(done[i]) * n < episodes:
                    done[i].append(sums[i])
                history[i], sums[i] = {"obs": [], "act": [], "rtg": []}, 0.0
    return np.array(done).flatten()


# %% play_games: one pass over flags, three lists of lists
def play_games(policy, envs, target, episodes, context):
    N = envs.num_envs
    S, A, R = [[o] for o in envs.reset()], [[0] for _ in range(N)], [[target] for _ in range(N)]
    returns = {i: [] for i in range(N)}
    running = np.zeros(N)
    while min(len(r) for r in returns.values()) < -(episodes // -N):
        last = [[row[-context:] for row in column] for column in (S, A, R)]
        a = policy(*last)
        obs, r, terminated, truncated, valid = envs.step(np.array(a))
        running = (running + r) * valid
        over = np.logical_or(terminated, truncated)
        for i in range(N):
            A[i][-1] = a[i]
            S[i].append(obs[i])
            A[i].append(0)
            R[i].append(target - running[i])
            if not valid[i]:
                S[i], A[i], R[i] = S[i][-1:], A[i][-1:], R[i][-1:]
            if over[i]:
                returns[i].append(running[i])
    return np.array([returns[i][: -(episodes // -N)] for i in range(N)]).ravel()
