"""Changes of this lesson's references that make no difference, with the reason for each."""

NO_STEP = "The mean over no valid step is left open, and no batch of windows is without one."

EQUIVALENT: dict[str, dict[str, str]] = {
    "event_nll": {
        "kept.sum().clamp(min=1) -> kept.sum(), in return ((reward + end) * kept).sum() / "
        "kept.sum().clamp(min=": NO_STEP,
        "1 -> 0, in return ((reward + end) * kept).sum() / kept.sum().clamp(min=": NO_STEP,
    },
    "sample_frame": {
        "cumulative <= draws[:, None] -> cumulative < draws[:, None], in tokens = (cumulative <= "
        "draws[:, None]).sum(-1)": (
            "A draw exactly on the mark between two sectors belongs to either: it has no "
            "probability."
        ),
    },
}
