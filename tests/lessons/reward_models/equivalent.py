"""Changes of this lesson's references that make no difference, with the reason for each."""

EQUIVALENT: dict[str, dict[str, str]] = {
    "fit_reward_model": {
        "surprise < lowest -> surprise <= lowest, in if surprise < lowest: best, lowest = "
        "(weights.detach().clone": "which of several equally good is returned is left open",
        "weights.detach() -> weights, in best, lowest = (weights.detach().clone(), "
        "loss(*held_out).it": "the clone is not used for a gradient",
        "weights.detach() -> weights, in best, lowest = (weights.detach().clone(), surprise)": (
            "the clone is not used for a gradient"
        ),
    },
    "last_token": {
        "0 -> -1, in picked = values.gather(1, last.clamp(min=0)[:, None])[:, 0]": (
            "`gather` leaves one column, which is the first and the last"
        ),
        "1 -> 2, in last = torch.where(valid_mask.bool(), column, -1).amax(dim=1": (
            "any number below 0 says that a row has no token"
        ),
    },
}
