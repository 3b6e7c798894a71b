"""Right answers in other styles: cells, each run after the first one alone."""

# ruff: noqa: B905, F811
# %% imports
import copy
import random

import numpy as np
import torch
import torch.nn.functional as F


# %% epsilon_schedule: an early return after the decay
def epsilon_schedule(step, start, end, decay_steps):
    if step >= decay_steps:
        return end
    return start - (start - end) * step / decay_steps


# %% epsilon_schedule: np.interp
def epsilon_schedule(step, start, end, decay_steps):
    return np.interp(step, [0, decay_steps], [start, end])


# %% epsilon_schedule: what is left of the decay
def epsilon_schedule(step, start, end, decay_steps):
    left = max(0, decay_steps - step) / decay_steps
    return left * start + (1 - left) * end


# %% epsilon_schedule: a line down, never below the end
def epsilon_schedule(step, start, end, decay_steps):
    slope = (end - start) / decay_steps
    return max(end, start + slope * step)


# %% ring_indices: one slot at a time
def ring_indices(written, count, capacity):
    rows = []
    for i in range(count):
        rows.append((written + i) % capacity)
    size = written + count
    if size > capacity:
        size = capacity
    return np.array(rows), size


# %% ring_indices: the two pieces joined
def ring_indices(written, count, capacity):
    start = written - capacity * (written // capacity)
    rows = np.arange(start, start + count)
    rows = np.where(rows >= capacity, rows - capacity, rows)
    return rows, min(capacity, written + count)


# %% ring_indices: NumPy's own wrapping
def ring_indices(written, count, capacity):
    rows = np.take(np.arange(capacity), range(written, written + count), mode="wrap")
    return rows, np.minimum(written + count, capacity)


# %% ring_indices: rolls the ring, and returns a list of both
def ring_indices(written, count, capacity):
    ring = np.roll(np.arange(capacity), -(written % capacity))
    return [ring[:count], sorted([capacity, written + count])[0]]


# %% td_target: masks with torch.where
def td_target(rewards, terminated, next_q, gamma):
    best = next_q.amax(-1)
    return rewards + torch.where(terminated.bool(), torch.zeros_like(best), gamma * best)


# %% td_target: one row after the other, then the discount
def td_target(rewards, terminated, next_q, gamma):
    following = torch.zeros(len(rewards))
    for i in range(len(rewards)):
        if terminated[i] == 0:
            following[i] = max(next_q[i])
    return rewards + gamma * following


# %% td_target: sets the future of ended rows to 0 in a copy
def td_target(rewards, terminated, next_q, gamma):
    best, _ = torch.max(next_q, dim=1)
    best = best.clone()
    best[terminated == 1] = 0.0
    return torch.add(rewards, best * gamma)


# %% td_target: float64, looked up with gather
def td_target(rewards, terminated, next_q, gamma):
    q = next_q.double()
    value = q.gather(1, q.argmax(1)[:, None]).squeeze(-1)
    target = rewards.double() + gamma * value - gamma * value * terminated.double()
    return target.float()


# %% td_target: NumPy and back
def td_target(rewards, terminated, next_q, gamma):
    best = next_q.numpy().max(axis=1)
    return rewards + gamma * torch.from_numpy(best) * (terminated < 0.5)


# %% n_step_target: finds the end first, then a dot product
def n_step_target(rewards, terminated, truncated, gamma):
    stops = np.flatnonzero(np.logical_or(terminated, truncated))
    steps = stops[0] + 1 if len(stops) else len(rewards)
    total = np.dot(rewards[:steps], gamma ** np.arange(steps))
    return total, steps, terminated[steps - 1]


# %% n_step_target: returns inside the loop
def n_step_target(rewards, terminated, truncated, gamma):
    total = 0.0
    for k in range(len(rewards)):
        total = total + gamma**k * rewards[k]
        if terminated[k]:
            return total, k + 1, True
        if truncated[k]:
            return total, k + 1, False
    return total, len(rewards), False


# %% n_step_target: recursion
def n_step_target(rewards, terminated, truncated, gamma):
    if len(rewards) == 1 or terminated[0] or truncated[0]:
        return float(rewards[0]), 1, bool(terminated[0])
    total, steps, ended = n_step_target(rewards[1:], terminated[1:], truncated[1:], gamma)
    return float(rewards[0]) + gamma * total, steps + 1, ended


# %% n_step_target: cumulative products of "goes on"
def n_step_target(rewards, terminated, truncated, gamma):
    goes_on = 1 - (terminated | truncated)
    counts = np.concatenate([[1], np.cumprod(goes_on)[:-1]])
    steps = int(counts.sum())
    total = float((counts * gamma ** np.arange(len(rewards)) * rewards).sum())
    return [total, steps, bool((terminated * counts).any())]


# %% n_step_target: a while loop
def n_step_target(rewards, terminated, truncated, gamma):
    k, total, ended = 0, 0, False
    while k < len(rewards):
        total += rewards[k] * gamma**k
        ended = terminated[k] == 1
        k += 1
        if ended or truncated[k - 1]:
            break
    return total, k, ended


# %% double_dqn_target: indices of rows and columns
def double_dqn_target(rewards, terminated, next_q_online, next_q_target, gamma):
    rows = torch.arange(len(rewards))
    value = next_q_target[rows, next_q_online.argmax(dim=1)]
    return rewards + gamma * (1 - terminated) * value


# %% double_dqn_target: a one-hot mask
def double_dqn_target(rewards, terminated, next_q_online, next_q_target, gamma):
    chosen = F.one_hot(next_q_online.argmax(-1), next_q_online.shape[-1])
    value = (chosen * next_q_target).sum(-1)
    return rewards + gamma * value.masked_fill(terminated == 1, 0.0)


# %% double_dqn_target: one row after the other
def double_dqn_target(rewards, terminated, next_q_online, next_q_target, gamma):
    values = []
    for online, slow, ended in zip(next_q_online, next_q_target, terminated):
        action = int(torch.argmax(online))
        values.append(0.0 if ended else float(slow[action]))
    return rewards + gamma * torch.tensor(values)


# %% double_dqn_target: einsum and NumPy
def double_dqn_target(rewards, terminated, next_q_online, next_q_target, gamma):
    picks = np.eye(next_q_online.shape[1])[next_q_online.numpy().argmax(axis=1)]
    value = torch.einsum("ba,ba->b", torch.from_numpy(picks).float(), next_q_target)
    return rewards + torch.where(terminated > 0, 0.0, gamma * value)


# %% double_dqn_target: take_along_dim, the maximum's indices
def double_dqn_target(rewards, terminated, next_q_online, next_q_target, gamma):
    _, action = next_q_online.max(dim=1, keepdim=True)
    future = torch.take_along_dim(next_q_target, action, dim=1).flatten()
    return rewards + (gamma - gamma * terminated) * future


# %% learn_from_replay: a class for the memory, one array per column, draws without replacement
class Memory:
    def __init__(self, steps, obs):
        self.obs = np.zeros((steps, len(obs)), np.float32)
        self.next_obs = np.zeros_like(self.obs)
        self.actions = np.zeros(steps, np.int64)
        self.rewards = np.zeros(steps, np.float32)
        self.goes_on = np.zeros(steps, np.float32)
        self.size = 0

    def add(self, obs, action, reward, next_obs, terminated):
        row = self.size
        self.obs[row], self.next_obs[row] = obs, next_obs
        self.actions[row], self.rewards[row] = action, reward
        self.goes_on[row] = not terminated
        self.size += 1

    def sample(self, count, rng):
        rows = rng.permutation(self.size)[:count]
        columns = self.obs, self.actions, self.rewards, self.next_obs, self.goes_on
        return [torch.from_numpy(column[rows]) for column in columns]


def learn_from_replay(env, online, optimizer, steps, gamma, epsilon, batch_size, tau, rng):
    slow = copy.deepcopy(online).requires_grad_(False)
    obs, _ = env.reset()
    memory = Memory(steps, obs)
    for _ in range(steps):
        q = online(torch.from_numpy(obs).unsqueeze(0)).detach().numpy()[0]
        chances = np.full(len(q), epsilon / len(q))
        chances[q.argmax()] += 1 - epsilon
        action = int(rng.choice(len(q), p=chances))
        next_obs, reward, terminated, truncated, _ = env.step(action)
        memory.add(obs, action, reward, next_obs, terminated)
        obs = env.reset()[0] if terminated or truncated else next_obs
        if memory.size >= batch_size:
            o, a, r, n, goes_on = memory.sample(batch_size, rng)
            y = r + gamma * goes_on * slow(n).amax(-1)
            loss = F.huber_loss(online(o).gather(1, a[:, None])[:, 0], y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for mine, theirs in zip(slow.parameters(), online.parameters()):
                mine.mul_(1 - tau).add_(theirs.detach(), alpha=tau)
    return online.state_dict()


# %% learn_from_replay: episode by episode, Python's own draws, Double DQN, weights in dictionaries
def learn_from_replay(env, online, optimizer, steps, gamma, epsilon, batch_size, tau, rng):
    random.seed(int(rng.integers(2**31)))
    target = copy.deepcopy(online)
    kept = []
    while len(kept) < steps:
        state, over = env.reset()[0], False
        while not over and len(kept) < steps:
            action = random.randrange(env.action_space.n)
            if random.random() >= epsilon:
                with torch.no_grad():
                    values = online(torch.tensor(state)[None])[0].tolist()
                action = random.choice([a for a, v in enumerate(values) if v == max(values)])
            after, reward, ended, cut, _ = env.step(action)
            kept.append((state, action, reward, after, ended))
            state, over = after, ended or cut
            if len(kept) >= batch_size:
                s, a, r, s2, d = zip(*random.choices(kept, k=batch_size))
                s, s2 = torch.tensor(np.stack(s)), torch.tensor(np.stack(s2))
                r, d = torch.tensor(r).float(), torch.tensor(d)
                with torch.no_grad():
                    best = online(s2).argmax(1)
                    future = target(s2)[range(batch_size), best].masked_fill(d, 0.0)
                optimizer.zero_grad(set_to_none=False)
                q = (online(s) * F.one_hot(torch.tensor(a), env.action_space.n)).sum(1)
                F.smooth_l1_loss(q, r + gamma * future).backward()
                optimizer.step()
                new, old = online.state_dict(), target.state_dict()
                target.load_state_dict({k: tau * new[k] + (1 - tau) * old[k] for k in new})
    return {name: weight.clone() for name, weight in online.state_dict().items()}


# %% learn_from_replay: one table of rows, the Huber loss by hand, the target built row by row
def huber(error):
    size = error.abs()
    return torch.where(size <= 1, error**2 / 2, size - 0.5).mean()


def learn_from_replay(env, online, optimizer, steps, gamma, epsilon, batch_size, tau, rng):
    frozen = copy.deepcopy(online)
    obs, _ = env.reset()
    width = len(obs)
    rows = np.empty((0, 2 * width + 3), np.float32)
    for step in range(1, steps + 1):
        greedy = int(torch.argmax(online(torch.as_tensor(obs[None])), dim=1).item())
        action = greedy if rng.uniform() > epsilon else int(env.action_space.n * rng.random())
        new, reward, terminated, truncated, _ = env.step(action)
        rows = np.vstack([rows, [*obs, *new, action, reward, float(terminated)]])
        obs = new
        if terminated or truncated:
            obs = env.reset()[0]
        if step < batch_size:
            continue
        batch = torch.tensor(rows[rng.choice(len(rows), batch_size)], dtype=torch.float32)
        before, after, (a, r, end) = batch[:, :width], batch[:, width:-3], batch[:, -3:].T
        y = [
            r[i] + (0 if end[i] else gamma * frozen(after[i : i + 1]).max().detach())
            for i in range(batch_size)
        ]
        loss = huber(torch.stack(y) - online(before)[torch.arange(batch_size), a.long()])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for slow, fast in zip(frozen.parameters(), online.parameters()):
            slow.data = (1 - tau) * slow.data + tau * fast.data
    return dict(online.named_parameters())
