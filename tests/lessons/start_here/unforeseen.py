"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

UNFORESEEN = {
    "success_rate": {
        "rounds to percent": lambda returns, goal: round(float((returns >= goal).mean()), 1),
        "mean return over goal": lambda returns, goal: float(min(1.0, returns.mean() / goal)),
        "one success too many": lambda returns, goal: float(
            ((returns >= goal).sum() + 1) / (len(returns) + 1)
        ),
    },
    "discounted_return": {
        "weights sum to one": lambda rewards, gamma: (
            sum(gamma**t * r for t, r in enumerate(rewards))
            / max(1e-12, sum(gamma**t for t in range(len(rewards))))
        ),
        "hyperbolic": lambda rewards, gamma: sum(
            r / (1 + t * (1 - gamma)) for t, r in enumerate(rewards)
        ),
    },
}
