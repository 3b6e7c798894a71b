"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

UNFORESEEN = {
    "success_rate": {
        "rounds to percent": lambda returns, goal: round(float((returns >= goal).mean()), 1),
        "mean return over goal": lambda returns, goal: float(min(1.0, returns.mean() / goal)),
        "one success too many": lambda returns, goal: float(
            ((returns >= goal).sum() + 1) / (len(returns) + 1)
        ),
        "returns and goal without their signs": lambda returns, goal: float(
            (abs(returns) >= abs(goal)).mean()
        ),
        "a goal that somebody always reaches": lambda returns, goal: float(
            (returns >= min(goal, returns.max())).mean()
        ),
        "rounds before it compares": lambda returns, goal: float(
            (returns.round() >= round(goal)).mean()
        ),
    },
    "discounted_return": {
        "an interest rate": lambda rewards, gamma: sum(
            r / (1 + gamma) ** t for t, r in enumerate(rewards)
        ),
        "the total from its end": lambda rewards, gamma: gamma ** (len(rewards) - 1) * sum(rewards),
        "without the last step": lambda rewards, gamma: sum(
            gamma**t * r for t, r in enumerate(rewards[:-1])
        ),
        "weights sum to one": lambda rewards, gamma: (
            sum(gamma**t * r for t, r in enumerate(rewards))
            / max(1e-12, sum(gamma**t for t in range(len(rewards))))
        ),
        "hyperbolic": lambda rewards, gamma: sum(
            r / (1 + t * (1 - gamma)) for t, r in enumerate(rewards)
        ),
    },
}
