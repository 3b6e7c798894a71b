"""Changes of this lesson's references that make no difference, with the reason for each."""

LAST = "the last row of a table ends its episode, so that what comes after it never counts"
METRICS = "metrics are read as numbers: that no gradient hangs on them saves memory, no more"

EQUIVALENT: dict[str, dict[str, str]] = {
    "returns_to_go": {
        "0.0 -> 1.0, in to_go, rest = (np.zeros(len(rewards), np.float64), 0.0)": LAST,
        "0.0 -> -1.0, in to_go, rest = (np.zeros(len(rewards), np.float64), 0.0)": LAST,
        "without rewards = np.asarray(rewards, np.float64)": (
            "it adds up float32 rewards in double precision, a matter of the eighth digit"
        ),
    },
    "conservative_loss": {
        "1 -> 0, in taken = q.gather(1, actions[:, None]).squeeze(1)": (
            "(B,) less (B, 1) is every row less every other, (B, B), and its mean is the same"
        ),
        "loss.detach() -> loss, in return (loss, {**metrics, 'loss': loss.detach(), 'gap': gap.": (
            METRICS
        ),
        "gap.detach() -> gap, in return (loss, {**metrics, 'loss': loss.detach(), 'gap': gap.": (
            METRICS
        ),
    },
    "expectile_loss": {
        "loss.detach() -> loss, in return (loss, {'loss': loss.detach(), 'value': values.detach": (
            METRICS
        ),
        "values.detach() -> values, in "
        "return (loss, {'loss': loss.detach(), 'value': values.detach": METRICS,
        "error < 0 -> error <= 0, in weight = (expectile - (error < 0).float()).abs()": (
            "an error of 0 costs nothing, whatever it weighs"
        ),
    },
    "play_games": {
        "-episodes // envs.num_envs -> -episodes / envs.num_envs, in share = "
        "-(-episodes // envs.num_envs)": (
            "a whole number below 1.5 is a whole number below 2: the share rounds itself up"
        ),
        "True -> False, in columns = zip(*histories, strict=True)": (
            "all histories have three columns"
        ),
        "without continue": (
            "what follows goes into the lists of the old episode, which nobody reads any more"
        ),
    },
}
