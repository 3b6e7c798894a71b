"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

UNFORESEEN = {
    "regret": {
        "compares with the first arm": lambda chances, counts: float(
            counts @ (chances[0] - chances)
        ),
    },
}
