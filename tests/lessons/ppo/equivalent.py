"""Changes of this lesson's references that make no difference, with the reason for each."""

EQUIVALENT: dict[str, dict[str, str]] = {
    "learn_from_rollout": {
        "logits.detach() -> logits, in return logits.detach()": (
            "the numbers are the same; that no gradient hangs on them is a courtesy to the caller"
        ),
        "kl > target_kl -> kl >= target_kl, in if kl > target_kl: return logits.detach()": (
            "a mean KL equals its limit to the last bit in no rollout; at a limit of 0 it would, "
            "but there rounding decides whether equal policies have a KL of exactly 0"
        ),
    },
}
