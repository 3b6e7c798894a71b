"""Changes of this lesson's references that make no difference, with the reason for each."""

EQUIVALENT: dict[str, dict[str, str]] = {
    "return_to_go": {
        "0 -> -1, in following = torch.zeros_like(rewards[0])": "all rows have the same shape",
    },
    "policy_gradient_loss": {
        "advantages.detach() -> advantages, in return -(logp * advantages.detach() * mask).sum() "
        "/ mask.sum": "training hands over advantages that carry no gradient, and the exercise "
        "does not ask to detach them",
    },
    "gae": {
        "0 -> -1, in trace = torch.zeros_like(deltas[0])": "all rows have the same shape",
    },
}
