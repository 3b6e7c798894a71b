"""Changes of this lesson's references that make no difference, with the reason for each."""

_VALUES = "the values are judged; whether a gradient could flow back from them is nobody's question"

EQUIVALENT: dict[str, dict[str, str]] = {
    "train_lora": {
        "a.detach() -> a, in return (a.detach(), b.detach())": _VALUES,
        "b.detach() -> b, in return (a.detach(), b.detach())": _VALUES,
        "0 -> -1, in chosen = logp.gather(-1, tokens[:, 1:, None])[..., 0]": (
            "the axis has one entry: the first is the last"
        ),
    },
}
