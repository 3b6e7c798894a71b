"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import numpy as np


def greedy_ties_last(q, epsilon):
    best = np.zeros_like(q, dtype=float)
    last = q.shape[-1] - 1 - np.argmax(np.flip(q, -1), -1)
    np.put_along_axis(best, last[..., None], 1.0, -1)
    return epsilon / q.shape[-1] + (1 - epsilon) * best


def sarsa(env, steps, gamma, alpha, alpha_decay, epsilon, rng):
    """Learns about the action that it takes next, random ones too: its mistake has a name."""
    q = np.zeros((env.observation_space.n, env.action_space.n))
    n = np.zeros_like(q)

    def act(state):
        best = q[state] == q[state].max()
        chances = epsilon / len(best) + (1 - epsilon) * best / best.sum()
        return int(rng.choice(len(best), p=chances))

    state, _ = env.reset()
    action = act(state)
    for _ in range(steps):
        after, reward, terminated, truncated, _ = env.step(action)
        following = act(after)
        target = reward + gamma * q[after, following] * (not terminated)
        q[state, action] += (
            alpha / (1 + alpha_decay * n[state, action]) * (target - q[state, action])
        )
        n[state, action] += 1
        state, action = after, following
        if terminated or truncated:
            state, _ = env.reset()
            action = act(state)
    return q


def other_shape(env, steps, gamma, alpha, alpha_decay, epsilon, rng):
    return np.zeros((env.action_space.n, env.observation_space.n + 1))


def a_copy_of_the_table(env, steps, gamma, alpha, alpha_decay, epsilon, rng):
    return [{} for _ in range(env.observation_space.n)]


UNFORESEEN = {
    "learn_from_steps": {
        "another shape": other_shape,
        "a list of dictionaries": a_copy_of_the_table,
    },
    "bellman_backup": {
        "nothing for a reward of 0": lambda p, r, v, gamma: np.where(r == 0, 0, r + gamma * p @ v),
        "the likeliest successor alone": lambda p, r, v, gamma: r + gamma * v[p.argmax(-1)],
        "what ends stays where it is": lambda p, r, v, gamma: (
            r + gamma * (p @ v + (1 - p.sum(-1)) * v[:, None])
        ),
        "values never below zero": lambda p, r, v, gamma: r + gamma * p @ np.maximum(v, 0),
        "from the next state to this one": lambda p, r, v, gamma: (
            r + gamma * np.einsum("tas,t->sa", p, v)
        ),
    },
    "epsilon_greedy": {
        "the last of several best": greedy_ties_last,
        "the best never below zero": lambda q, e: (
            e / len(q) + (1 - e) * (q == max(0, q.max())) / max(1, (q == max(0, q.max())).sum())
        ),
        "shared in proportion to the values": lambda q, e: (
            e / len(q) + (1 - e) * (q - q.min() + 1e-9) / (q - q.min() + 1e-9).sum()
        ),
        "softmax of nine times the values": lambda q, e: (
            e / q.shape[-1] + (1 - e) * np.exp(9 * q) / np.exp(9 * q).sum(axis=-1, keepdims=True)
        ),
    },
    "q_update": {
        "an error cut at 1": lambda v, target, alpha: v + alpha * max(-1.0, min(1.0, target - v)),
        "right for values above zero": lambda v, target, alpha: (
            v + alpha * (target - v) if v > 0 else alpha * target
        ),
        "squares the step": lambda v, target, alpha: v + alpha**2 * (target - v),
        "sign of the error": lambda v, target, alpha: v + alpha * float(np.sign(target - v)),
    },
    "q_learning_target": {
        "right for the first case alone": lambda r, end, q, a, gamma: r + gamma * (1 - end) * q[1],
        "the reward at least": lambda r, end, q, a, gamma: max(r, r + gamma * (1 - end) * q.max()),
        "discounted twice": lambda r, end, q, a, gamma: r + gamma**2 * (1 - end) * q.max(),
        "never below zero": lambda r, end, q, a, gamma: (
            r + gamma * (1 - end) * max(0.0, float(q.max()))
        ),
        "largest in size": lambda r, end, q, a, gamma: (
            r + gamma * (1 - end) * float(q[np.abs(q).argmax()])
        ),
    },
    "sarsa_target": {
        "right for the first case alone": lambda r, end, q, a, gamma: r + gamma * (1 - end) * q[2],
        "the action's place in the order": lambda r, end, q, a, gamma: (
            r + gamma * (1 - end) * np.sort(q)[a]
        ),
        "the action after": lambda r, end, q, a, gamma: (
            r + gamma * (1 - end) * float(q[(a + 1) % len(q)])
        ),
        "discounts the reward as well": lambda r, end, q, a, gamma: (
            gamma * (r + (1 - end) * float(q[a]))
        ),
    },
}
