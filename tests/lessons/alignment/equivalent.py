"""Changes of this lesson's references that make no difference, with the reason for each."""

EQUIVALENT: dict[str, dict[str, str]] = {
    "best_value": {
        "True -> False, in ordered = value.double().gather(-1, proxy.argsort(dim=-1, st": (
            "Which of two equally good replies best-of-n keeps is left open; without ties every "
            "sort gives the same order."
        ),
    },
    "stop_at": {
        "second[i] > second[best] -> second[i] >= second[best], in if second[i] > second[best]: "
        "best = i": "Which of two equally good updates is the best so far is left open.",
    },
}
