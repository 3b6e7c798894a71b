"""Changes of this lesson's references that make no difference, with the reason for each."""

_ONE_ROW = "the exercise asks for one row (A,): its only axis is the first and the last"

EQUIVALENT: dict[str, dict[str, str]] = {
    "epsilon_greedy": {
        "1 -> 0, in best = q == q.max(axis=-1, keepdims=True)": _ONE_ROW,
        "True -> False, in best = q == q.max(axis=-1, keepdims=True)": _ONE_ROW,
        "1 -> 0, in return epsilon / q.shape[-1] + (1 - epsilon) * best / best.s": _ONE_ROW,
        "True -> False, in return epsilon / q.shape[-1] + (1 - epsilon) * best / best.s": _ONE_ROW,
    },
}
