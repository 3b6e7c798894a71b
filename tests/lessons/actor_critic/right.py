"""Right answers in other styles: cells, each run after the first one alone."""

# ruff: noqa: B905, F811
# %% imports
import numpy as np
import torch
import torch.nn.functional as F


# %% return_to_go: recursion
def return_to_go(rewards, gamma):
    if len(rewards) == 1:
        return rewards.clone()
    later = return_to_go(rewards[1:], gamma)
    return torch.cat([rewards[:1] + gamma * later[:1], later])


# %% return_to_go: a matrix of powers of gamma
def return_to_go(rewards, gamma):
    t = torch.arange(len(rewards))
    ahead = t[None, :] - t[:, None]
    powers = torch.where(ahead >= 0, gamma ** ahead.clamp(min=0), 0.0)
    return torch.tensordot(powers.to(rewards.dtype), rewards, dims=1)


# %% return_to_go: a list built backwards, stacked
def return_to_go(rewards, gamma):
    totals, total = [], 0.0
    for reward in reversed(list(rewards)):
        total = reward + gamma * total
        totals.insert(0, total)
    return torch.stack(totals)


# %% return_to_go: NumPy and back, in float64
def return_to_go(rewards, gamma):
    totals = rewards.numpy().astype(np.float64)
    for t in range(len(totals) - 2, -1, -1):
        totals[t] += gamma * totals[t + 1]
    return torch.from_numpy(totals).float()


# %% return_to_go: the double sum of the definition
def return_to_go(rewards, gamma):
    totals = torch.zeros_like(rewards)
    for t in range(rewards.shape[0]):
        for k in range(t, rewards.shape[0]):
            totals[t] += gamma ** (k - t) * rewards[k]
    return totals


# %% policy_gradient_loss: only the rows that count
def policy_gradient_loss(logp, advantages, mask):
    keep = mask.bool()
    return -(logp[keep] * advantages.detach()[keep]).mean()


# %% policy_gradient_loss: a loop over flat rows
def policy_gradient_loss(logp, advantages, mask):
    total, count = 0.0, 0
    for p, a, m in zip(logp.flatten(), advantages.flatten().tolist(), mask.flatten()):
        if m == 1:
            total = total - p * a
            count += 1
    return total / count


# %% policy_gradient_loss: a dot product with weights
def policy_gradient_loss(logp, advantages, mask):
    weights = (mask * advantages / mask.sum()).detach()
    return -torch.dot(weights.reshape(-1), logp.reshape(-1))


# %% policy_gradient_loss: torch.where, float64 inside
def policy_gradient_loss(logp, advantages, mask):
    with torch.no_grad():
        weights = advantages.double()
    terms = torch.where(mask > 0, -logp.double() * weights, 0.0)
    return (terms.sum() / torch.count_nonzero(mask)).float()


# %% return_to_go: a scan by doubling
def return_to_go(rewards, gamma):
    totals, reach = rewards.clone(), 1
    while reach < len(rewards):
        ahead = torch.cat([totals[reach:], torch.zeros_like(totals[:reach])])
        totals = totals + gamma**reach * ahead
        reach *= 2
    return totals


# %% leave_one_out: the mean of all, stretched
def leave_one_out(totals):
    n = totals.shape[1]
    return (totals - totals.mean(dim=1, keepdim=True)) * n / (n - 1)


# %% leave_one_out: two loops
def leave_one_out(totals):
    out = torch.zeros_like(totals)
    for t in range(totals.shape[0]):
        for i in range(totals.shape[1]):
            others = [totals[t, j] for j in range(totals.shape[1]) if j != i]
            out[t, i] = totals[t, i] - sum(others) / len(others)
    return out


# %% leave_one_out: a matrix without its diagonal
def leave_one_out(totals):
    n = totals.shape[-1]
    weights = (torch.ones(n, n) - torch.eye(n)) / (n - 1)
    return totals - totals @ weights


# %% leave_one_out: einsum with pairs
def leave_one_out(totals):
    gaps = totals[:, :, None] - totals[:, None, :]
    return torch.einsum("tij->ti", gaps) / (totals.size(1) - 1)


# %% leave_one_out: NumPy, deleting one column
def leave_one_out(totals):
    table = totals.numpy()
    baselines = [np.delete(table, i, axis=1).mean(axis=1) for i in range(table.shape[1])]
    return totals - torch.from_numpy(np.stack(baselines, axis=1))


# %% gae: the double sum of the definition, one environment at a time
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    out = torch.zeros_like(rewards)
    steps, envs = rewards.shape
    for i in range(envs):
        for t in range(steps):
            weight = 1.0
            for k in range(t, steps):
                future = 0.0 if terminated[k, i] else gamma * next_values[k, i]
                out[t, i] += weight * (rewards[k, i] + future - values[k, i])
                if terminated[k, i] or truncated[k, i]:
                    break
                weight *= gamma * lam
    return out


# %% gae: torch.where, a list, stacked
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    next_values = torch.where(terminated, 0.0, next_values)
    advantages, last = [], 0.0
    for t in range(len(rewards) - 1, -1, -1):
        delta = rewards[t] + gamma * next_values[t] - values[t]
        last = delta + gamma * lam * (~terminated[t] & ~truncated[t]) * last
        advantages.append(last)
    return torch.stack(advantages[::-1])


# %% gae: lambda returns, minus the values
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    returns = torch.zeros_like(values)
    for t in reversed(range(len(rewards))):
        ahead = next_values[t].clone()
        if t + 1 < len(rewards):
            inside = ~(terminated[t] | truncated[t])
            mixed = next_values[t] + lam * (returns[t + 1] - values[t + 1])
            ahead = torch.where(inside, mixed, ahead)
        returns[t] = rewards[t] + gamma * ahead.masked_fill(terminated[t], 0.0)
    return returns - values


# %% gae: recursion in NumPy, float64
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    r, v, w, end, cut = (x.numpy() for x in (rewards, values, next_values, terminated, truncated))

    def backwards(t):
        if t == len(r):
            return [], np.zeros(r.shape[1])
        rows, trace = backwards(t + 1)
        delta = r[t] + gamma * w[t] * np.logical_not(end[t]) - v[t]
        trace = delta + gamma * lam * np.where(end[t] | cut[t], 0.0, trace)
        return [trace, *rows], trace

    return torch.tensor(np.array(backwards(0)[0]), dtype=rewards.dtype)


# %% entropy_bonus: torch's own distribution
def entropy_bonus(logits):
    return torch.distributions.Categorical(logits=logits).entropy()


# %% entropy_bonus: logsumexp minus the mean logit
def entropy_bonus(logits):
    mean = (F.softmax(logits, dim=-1) * logits).sum(dim=-1)
    return torch.logsumexp(logits, dim=-1) - mean


# %% entropy_bonus: one action after the other
def entropy_bonus(logits):
    logp = F.log_softmax(logits, -1)
    entropy = torch.zeros(logits.shape[:-1])
    for a in range(logits.shape[-1]):
        entropy = entropy - logp[..., a].exp() * logp[..., a]
    return entropy


# %% entropy_bonus: a clamp under the logarithm
def entropy_bonus(logits):
    p = logits.softmax(-1)
    return -torch.sum(p * torch.log(p.clamp(min=1e-10)), dim=-1)


# %% entropy_bonus: by hand, float64, einsum
def entropy_bonus(logits):
    shifted = (logits - logits.max(-1, keepdim=True).values).double()
    norm = shifted.exp().sum(-1)
    weighted = torch.einsum("...a,...a->...", shifted.exp(), shifted) / norm
    return (norm.log() - weighted).float()


# %% entropy_bonus: log base 2, turned into nats
def entropy_bonus(logits):
    logp = logits - torch.logsumexp(logits, dim=-1, keepdim=True)
    bits = -(torch.exp(logp) * logp / np.log(2)).sum(-1)
    return bits * np.log(2)


# %% learn_from_batches: NumPy, the gradient of the softmax by hand
def learn_from_batches(env, batches, length, gamma, lam, policy_rate, value_rate, seed):
    rng = np.random.default_rng(seed)
    theta = np.zeros((env.observation_space.n, env.action_space.n))
    v = np.zeros(len(theta))
    s, _ = env.reset()
    for _ in range(batches):
        steps = []
        for _ in range(length):
            p = np.exp(theta[s] - theta[s].max())
            p /= p.sum()
            a = int(rng.choice(len(p), p=p))
            following, r, terminated, truncated, _ = env.step(a)
            delta = r - v[s] + (0.0 if terminated else gamma * v[following])
            steps.append([s, a, p, delta, terminated or truncated])
            s = env.reset()[0] if terminated or truncated else following
        theta_step, v_step = np.zeros_like(theta), np.zeros_like(v)
        advantage = 0.0
        for s_t, a_t, p_t, delta, ended in reversed(steps):
            advantage = delta + (0.0 if ended else gamma * lam * advantage)
            theta_step[s_t, a_t] += advantage
            theta_step[s_t] -= advantage * p_t
            v_step[s_t] += advantage
        theta += policy_rate / length * theta_step
        v += value_rate / length * v_step
    return torch.from_numpy(theta).float(), torch.from_numpy(v).float()


# %% learn_from_batches: a module of two embeddings, one loss, an optimiser for each
class ActorCritic(torch.nn.Module):
    def __init__(self, states, actions):
        super().__init__()
        self.actor = torch.nn.Embedding(states, actions)
        self.critic = torch.nn.Embedding(states, 1)
        torch.nn.init.zeros_(self.actor.weight)
        torch.nn.init.zeros_(self.critic.weight)

    def forward(self, states):
        policy = torch.distributions.Categorical(logits=self.actor(states))
        return policy, self.critic(states).squeeze(-1)


def learn_from_batches(env, batches, length, gamma, lam, policy_rate, value_rate, seed):
    torch.manual_seed(seed)
    net = ActorCritic(env.observation_space.n, env.action_space.n)
    optimizers = [
        torch.optim.SGD(net.actor.parameters(), lr=policy_rate),
        torch.optim.SGD(net.critic.parameters(), lr=value_rate),
    ]
    state = env.reset(seed=seed)[0]
    for _ in range(batches):
        obs, actions, rewards, next_obs, dones, deaths = ([] for _ in range(6))
        for _ in range(length):
            with torch.no_grad():
                action = net(torch.tensor(state))[0].sample().item()
            after, reward, terminated, truncated, _ = env.step(action)
            obs.append(state)
            actions.append(action)
            rewards.append(reward)
            next_obs.append(after)
            deaths.append(terminated)
            dones.append(terminated or truncated)
            state = env.reset()[0] if dones[-1] else after
        policy, v = net(torch.tensor(obs))
        with torch.no_grad():
            _, next_v = net(torch.tensor(next_obs))
            returns = torch.zeros(length)
            for t in range(length - 1, -1, -1):
                ahead = next_v[t]
                if t + 1 < length and not dones[t]:
                    ahead = (1 - lam) * ahead + lam * returns[t + 1]
                returns[t] = rewards[t] + (0.0 if deaths[t] else gamma * ahead)
        logp = policy.log_prob(torch.tensor(actions))
        loss = -(logp * (returns - v.detach())).mean() + 0.5 * F.mse_loss(v, returns)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    return net.actor.weight.detach(), net.critic.weight[:, 0].detach()


# %% learn_from_batches: one-hot rows, weights of who answers for whom as a matrix, no optimiser
def learn_from_batches(env, batches, length, gamma, lam, policy_rate, value_rate, seed):
    draw = torch.Generator().manual_seed(seed)
    number, choices = env.observation_space.n, env.action_space.n
    w = torch.zeros(number, choices, dtype=torch.float64)
    v = torch.zeros(number, dtype=torch.float64)
    here = env.reset()[0]
    for _ in range(batches):
        data = torch.zeros(length, 6, dtype=torch.float64)
        for t in range(length):
            noise = -torch.empty(choices).exponential_(generator=draw).log()  # Gumbel's
            action = int((w[here] + noise).argmax())
            there, reward, dead, late, _ = env.step(action)
            data[t] = torch.tensor([here, action, reward, there, dead, dead or late])
            here = env.reset()[0] if dead or late else there
        s, a, there_s = (data[:, k].long() for k in (0, 1, 3))
        one_hot = F.one_hot(s, number).double()
        delta = data[:, 2] + gamma * (1 - data[:, 4]) * v[there_s] - v[s]
        episode = torch.cumsum(data[:, 5], 0) - data[:, 5]
        steps = torch.arange(length)
        ahead = (steps[None, :] - steps[:, None]).clamp(min=0)
        mine = (episode[None, :] == episode[:, None]) & (steps[None, :] >= steps[:, None])
        advantage = ((gamma * lam) ** ahead.double() * mine) @ delta
        score = F.one_hot(a, choices).double() - w[s].softmax(-1)
        w = w + policy_rate * one_hot.T @ (score * advantage[:, None]) / length
        v = v + value_rate * one_hot.T @ advantage / length
    return w.float(), v.float()
