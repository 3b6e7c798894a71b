"""Right answers in other styles: cells, each run after the first one alone."""

# ruff: noqa: F811
# %% imports
import numpy as np
import torch


# %% bellman_backup: three loops
def bellman_backup(transitions, rewards, values, gamma):
    states, actions = rewards.shape
    q = np.zeros((states, actions))
    for s in range(states):
        for a in range(actions):
            for following in range(states):
                q[s, a] += transitions[s, a, following] * values[following]
            q[s, a] = rewards[s, a] + gamma * q[s, a]
    return q


# %% bellman_backup: einsum
def bellman_backup(transitions, rewards, values, gamma):
    return np.einsum("ijk,k->ij", gamma * transitions, values) + rewards


# %% bellman_backup: one table of all moves, flat
def bellman_backup(transitions, rewards, values, gamma):
    flat = transitions.reshape(-1, len(values))
    return (rewards.ravel() + flat.dot(gamma * values)).reshape(rewards.shape)


# %% bellman_backup: broadcasting, in place on its own copy
def bellman_backup(transitions, rewards, values, gamma):
    q = rewards.copy()
    q += gamma * (transitions * values[None, None, :]).sum(axis=-1)
    return q


# %% bellman_backup: one action after the other, stacked
def bellman_backup(transitions, rewards, values, gamma):
    columns = [rewards[:, a] + gamma * transitions[:, a] @ values for a in range(rewards.shape[1])]
    return np.stack(columns, axis=1)


# %% epsilon_greedy: a loop with a count of the best
def epsilon_greedy(q, epsilon):
    highest = max(q)
    count = sum(1 for value in q if value == highest)
    chances = []
    for value in q:
        chance = epsilon / len(q)
        if value == highest:
            chance += (1 - epsilon) / count
        chances.append(chance)
    return np.array(chances)


# %% epsilon_greedy: indices of the best, early return when nothing is greedy
def epsilon_greedy(q, epsilon):
    if epsilon == 1:
        return np.ones(len(q)) / len(q)
    chances = np.full(q.shape, epsilon / q.size)
    best = np.flatnonzero(q == np.max(q))
    chances[best] += (1 - epsilon) / len(best)
    return chances


# %% epsilon_greedy: a mixture of two distributions, with np.isclose
def greedy(q):
    mark = np.isclose(q, q.max()).astype(float)
    return mark / np.linalg.norm(mark, 1)


def epsilon_greedy(q, epsilon):
    uniform = np.ones_like(q) / len(q)
    return epsilon * uniform + (1 - epsilon) * greedy(q)


# %% epsilon_greedy: torch and back
def epsilon_greedy(q, epsilon):
    row = torch.from_numpy(q)
    best = torch.where(row >= row.max(), 1.0, 0.0).double()
    return torch.lerp(best / best.sum(), torch.full_like(best, 1 / len(best)), epsilon).numpy()


# %% q_update: a weighted mean
def q_update(value, target, alpha):
    return alpha * target + (1 - alpha) * value


# %% q_update: the error first, early return where there is none
def q_update(value, target, alpha):
    error = target - value
    if error == 0:
        return value
    value += alpha * error
    return value


# %% q_update: down from the error of the other sign
def q_update(value, target, alpha):
    return value - (value - target) * alpha


# %% q_update: np.average with weights
def q_update(value, target, alpha):
    return np.average([value, target], weights=[1 - alpha, alpha])


# %% q_learning_target: an early return at the end
def q_learning_target(reward, terminated, next_q, next_action, gamma):
    if terminated:
        return reward
    return reward + gamma * max(next_q)


# %% q_learning_target: a loop over the actions
def q_learning_target(reward, terminated, next_q, next_action, gamma):
    best = -float("inf")
    for value in next_q:
        if value > best:
            best = value
    future = 0 if terminated else gamma * best
    return future + reward


# %% q_learning_target: sorts, and np.where
def q_learning_target(reward, terminated, next_q, next_action, gamma):
    return reward + np.where(terminated, 0.0, gamma * np.sort(next_q)[-1])


# %% q_learning_target: looks up the best action with `not`
def q_learning_target(reward, terminated, next_q, next_action, gamma):
    best_action = np.argmax(next_q)
    return reward + (not terminated) * gamma * next_q[best_action]


# %% q_learning_target: the best of the returns, one per action
def q_learning_target(reward, terminated, next_q, next_action, gamma):
    discount = 0.0 if terminated else gamma
    return max(reward + discount * value for value in next_q.tolist())


# %% sarsa_target: an early return at the end
def sarsa_target(reward, terminated, next_q, next_action, gamma):
    if terminated:
        return reward
    return reward + gamma * next_q[next_action]


# %% sarsa_target: a one-hot vector times the row
def sarsa_target(reward, terminated, next_q, next_action, gamma):
    one_hot = np.eye(len(next_q))[next_action]
    return reward + (0.0 if terminated else gamma) * np.dot(one_hot, next_q)


# %% sarsa_target: take, in torch
def sarsa_target(reward, terminated, next_q, next_action, gamma):
    following = torch.as_tensor(next_q).take(torch.tensor(next_action)).item()
    return sum([reward, gamma * following * (1.0 - float(terminated))])


# %% sarsa_target: enumerate, by Python's `and`
def sarsa_target(reward, terminated, next_q, next_action, gamma):
    future = 0.0
    for action, value in enumerate(next_q):
        if action == next_action and not terminated:
            future = value
    return float(reward + gamma * future)
