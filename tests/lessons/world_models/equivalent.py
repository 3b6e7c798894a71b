"""Changes of this lesson's references that make no difference, with the reason for each."""

IGNORED = "Q-learning's target ignores the next action."

DIVISOR = "Divided by one more or one less than 50 elites: a spread off by a hundredth."

EQUIVALENT: dict[str, dict[str, str]] = {
    "cross_entropy_plan": {
        "0 -> 1, in mean, std = (chosen.mean(0), chosen.std(0, correction=0))": DIVISOR,
        "0 -> -1, in mean, std = (chosen.mean(0), chosen.std(0, correction=0))": DIVISOR,
        "mean + std * noise -> mean - std * noise, in plans = mean + std * noise": (
            "The noise is as likely as its mirror image."
        ),
    },
    "dyna_update": {
        "0 -> 1, in target = q_learning_target(memory.reward, memory.terminated,": IGNORED,
        "0 -> -1, in target = q_learning_target(memory.reward, memory.terminated,": IGNORED,
    },
    "horizon_weights": {
        "1 -> 2, in certainty = 1 / (returns.var(0, correction=0) + floor)": (
            "A factor common to all certainties cancels when they are divided by their sum."
        ),
        "True -> False, in return certainty / certainty.sum(0, keepdim=True)": (
            "(K, B) divided by (B,) broadcasts to the same."
        ),
    },
}
