"""Changes of this lesson's references that make no difference, with the reason for each."""

WORDS = (
    "it serves an error on words that are no part of a goal, which the exercise asks for nowhere"
)

EQUIVALENT: dict[str, dict[str, str]] = {
    "whitening": {
        "False -> True, in _, singular, directions = torch.linalg.svd(vectors - mean, f": (
            "directions without a singular value come as well, and stand behind the K that are kept"
        ),
        "directions * largest.sign() -> directions / largest.sign(), "
        "in return (mean, (directions * largest.sign()).T / spread)": "a sign is 1 or -1",
    },
    "pick_up_or_drop": {
        "0 -> 1, in drops = (actions == DROP) & (ahead == EMPTY) & (carrying > 0": (
            "1 is a colour of what is not seen, and nobody carries that"
        ),
    },
    "chance": {
        "set(heard) - set(Goal._fields) -> set(heard), "
        "in unknown = set(heard) - set(Goal._fields)": WORDS,
        "set(heard) - set(Goal._fields) -> set(Goal._fields), "
        "in unknown = set(heard) - set(Goal._fields)": WORDS,
        "without unknown = set(heard) - set(Goal._fields)": WORDS,
    },
    "generalisation_table": {
        "-episodes // envs.num_envs -> -episodes / envs.num_envs, "
        "in share = -(-episodes // envs.num_envs)": (
            "a whole number below 1.5 is a whole number below 2: the share rounds itself up"
        ),
        "valid & (terminated | truncated) -> terminated | truncated, "
        "in ends = valid & (terminated | truncated) & (ended < share)": (
            "the row that begins an episode is neither terminated nor truncated"
        ),
    },
}
