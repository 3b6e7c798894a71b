"""Changes of this lesson's references that make no difference, with the reason for each."""

_STRICT = "the columns, and the weights of a network and its copy, are always equally many"

EQUIVALENT: dict[str, dict[str, str]] = {
    "learn_from_replay": {
        "rng.random() < epsilon -> rng.random() <= epsilon, in if rng.random() < epsilon: "
        "action = int(rng.integers(env.act": "a draw is exactly epsilon with chance 2 ** -53",
        "F.smooth_l1_loss(q, targets) -> F.smooth_l1_loss(targets, q), in loss = "
        "F.smooth_l1_loss(q, targets)": "the Huber loss is the same for an error and its negative",
        "True -> False, in seen, actions, rewards, following, ended = map(torch.as_tens": _STRICT,
        "True -> False, in for slow, fast in zip(target_network.parameters(), online.pa": _STRICT,
    },
}
