"""Changes of this lesson's references that make no difference, with the reason for each."""

EQUIVALENT: dict[str, dict[str, str]] = {
    "token_logp": {
        "0 -> -1, in logp = logits[:, :-1].log_softmax(dim=-1).gather(-1, tokens[": (
            "`gather` leaves one number per token, the first and the last"
        ),
        (
            "torch.zeros_like -> torch.ones_like, in "
            "logp = torch.cat([torch.zeros_like(logp[:, :1]), logp], dim="
        ): "a prompt stands before each response, so the mask sets the first column to 0",
    },
    "terminal_rewards": {
        "1 -> 2, in last = torch.where(response_mask.bool(), column, -1).amax(di": (
            "any number below 0 is the place of no column"
        ),
    },
    "kl_shaped_rewards": {
        (
            "(logp - ref_logp).detach() -> logp - ref_logp, in "
            "shaped = rewards - beta * (logp - ref_logp).detach()"
        ): "`train` calls it with log-probabilities that were sampled without a gradient",
    },
    "collect_rollout": {
        (
            "probabilities.cumsum(dim=1) <= u[:, None] -> "
            "probabilities.cumsum(dim=1) < u[:, None], in "
            "token = (probabilities.cumsum(dim=1) <= u[:, None]).sum(dim="
        ): "no number lies exactly at a running sum, where rounding would decide",
        "True -> False, in responses = [row[keep].tolist() for row, keep in zip(tokens,": (
            "both have one row for each prompt"
        ),
    },
}
