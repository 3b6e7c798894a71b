"""Changes of this lesson's references that make no difference, with the reason for each."""

EQUIVALENT = {
    "confidence_bonus": {
        "1 -> 0, in bonus = width * np.sqrt(2 * np.log(pulls) / np.maximum(count": (
            "it only keeps NumPy from warning: what an arm without a pull gets is thrown away"
        ),
    },
}
