"""Changes of this lesson's references that make no difference, with the reason for each."""

EQUIVALENT: dict[str, dict[str, str]] = {
    "learn_from_groups": {
        "policy.detach() -> policy, in return policy.detach()": (
            "an answer is judged as numbers, with a gradient or without"
        ),
    },
}
