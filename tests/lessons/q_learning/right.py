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


# %% learn_from_steps: a coin for exploring, ties broken by chance, counts in a dictionary
def learn_from_steps(env, steps, gamma, alpha, alpha_decay, epsilon, rng):
    states, actions = env.observation_space.n, env.action_space.n
    q = np.zeros((states, actions))
    counts = {}
    s, _ = env.reset(seed=0)
    for _ in range(steps):
        if rng.random() < epsilon:
            a = int(rng.integers(actions))
        else:
            a = int(rng.choice(np.flatnonzero(q[s] == q[s].max())))
        s2, r, terminated, truncated, _ = env.step(a)
        target = r
        if not terminated:
            target += gamma * max(q[s2])
        n = counts.get((s, a), 0)
        q[s, a] = q[s, a] + alpha / (1 + alpha_decay * n) * (target - q[s, a])
        counts[s, a] = n + 1
        if terminated or truncated:
            s, _ = env.reset()
        else:
            s = s2
    return q


# %% learn_from_steps: episode by episode, lists of floats until the end
def learn_from_steps(env, steps, gamma, alpha, alpha_decay, epsilon, rng):
    table = [[0.0] * env.action_space.n for _ in range(env.observation_space.n)]
    updates = [[0] * env.action_space.n for _ in range(env.observation_space.n)]
    left = steps
    while left > 0:
        state = env.reset()[0]
        running = True
        while running and left > 0:
            left -= 1
            row = table[state]
            greedy = [a for a, value in enumerate(row) if value == max(row)]
            explore = rng.random() < epsilon
            action = int(rng.choice(range(len(row)) if explore else greedy))
            after, reward, ended, stopped, _ = env.step(action)
            best = max(table[after])
            error = reward + (0 if ended else gamma * best) - row[action]
            row[action] += error * alpha / (1 + alpha_decay * updates[state][action])
            updates[state][action] += 1
            state, running = after, not (ended or stopped)
    return np.array(table)


# %% learn_from_steps: an agent of its own, a weighted mean for the update
class Agent:
    def __init__(self, states, actions, epsilon, rng):
        self.values = np.zeros((states, actions))
        self.tried = np.zeros((states, actions), dtype=int)
        self.epsilon, self.rng = epsilon, rng

    def act(self, state):
        row = self.values[state]
        chances = np.where(row == row.max(), 1.0, 0.0)
        chances = (1 - self.epsilon) * chances / chances.sum() + self.epsilon / len(row)
        return int(np.searchsorted(np.cumsum(chances), self.rng.random() * chances.sum()))

    def learn(self, state, action, target, alpha, alpha_decay):
        share = alpha / (1 + alpha_decay * self.tried[state, action])
        self.values[state, action] *= 1 - share
        self.values[state, action] += share * target
        self.tried[state, action] += 1


def learn_from_steps(env, steps, gamma, alpha, alpha_decay, epsilon, rng):
    agent = Agent(env.observation_space.n, env.action_space.n, epsilon, rng)
    state, _ = env.reset()
    for _ in range(steps):
        action = agent.act(state)
        following, reward, terminated, truncated, _ = env.step(action)
        future = (not terminated) * agent.values[following].max()
        agent.learn(state, action, reward + gamma * future, alpha, alpha_decay)
        state = env.reset()[0] if terminated or truncated else following
    return agent.values
