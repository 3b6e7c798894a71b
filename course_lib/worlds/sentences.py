"""Sentences that ask for something in a room, those for training and those never trained on.

A goal is a verb, a colour and a kind of thing, as in BabyAI (Chevalier-Boisvert et al., arXiv
1810.08272): "go to", "pick up" or "open" one of 6 colours of key, ball, box or door. Not every verb
fits every kind, so there are 54 goals. Four pairs of a colour and a kind are never a target in
training, so that an agent can be asked for a combination that it has not met.

`training()` gives the sentences to train on; `rows()` gives one list of commands for each question
that one can ask about an agent's understanding. They were written for this course, by hand.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
VERBS = ("go to", "pick up", "open")
VERBS_OF = {
    "key": ("go to", "pick up"),
    "ball": ("go to", "pick up"),
    "box": ("go to", "pick up", "open"),
    "door": ("go to", "open"),
}
KINDS = tuple(VERBS_OF)


class Goal(NamedTuple):
    """What has to be done, whatever the words."""

    verb: str
    colour: str
    kind: str

    @property
    def thing(self) -> tuple[str, str]:
        """Colour and kind."""
        return self.colour, self.kind


class Command(NamedTuple):
    """A sentence, what it asks for, and what else has to stand in the room for it to make sense."""

    sentence: str
    goal: Goal
    other: tuple[str, str] | None = None  # colour and kind of a thing that the sentence speaks of
    beside: bool = False  # the target stands next to that other thing


GOALS = tuple(Goal(v, c, k) for k in KINDS for v in VERBS_OF[k] for c in COLOURS)
NUMBER = {goal: number for number, goal in enumerate(GOALS)}
HELD_OUT = (("red", "box"), ("blue", "ball"), ("green", "key"), ("yellow", "door"))

TRAINING = {
    "go to": (
        "go to the {c} {k}",
        "walk up to the {c} {k}",
        "head for the {c} {k}",
        "please go over to the {c} {k}",
    ),
    "pick up": (
        "pick up the {c} {k}",
        "take the {c} {k}",
        "get the {c} {k}",
        "please lift the {c} {k}",
    ),
    "open": (
        "open the {c} {k}",
        "open up the {c} {k}",
        "get the {c} {k} open",
        "please open the {c} {k}",
    ),
}
PARAPHRASES = {  # the verb is one of training, the frame is not
    "go to": (
        "i would like you to go to the {c} {k}",
        "could you walk to the {c} {k} for me?",
        "robot, head for that {c} {k} over there",
        "now go to the {k}, the {c} one",
    ),
    "pick up": (
        "i would like you to pick up the {c} {k}",
        "could you take the {c} {k} for me?",
        "robot, get that {c} {k} over there",
        "now pick up the {k}, the {c} one",
    ),
    "open": (
        "i would like you to open the {c} {k}",
        "could you open up the {c} {k} for me?",
        "robot, open that {c} {k} over there",
        "now open the {k}, the {c} one",
    ),
}
NEW_VERBS = {
    "go to": (
        "approach the {c} {k}",
        "travel to the {c} {k}",
        "visit the {c} {k}",
        "move towards the {c} {k}",
    ),
    "pick up": (
        "grab the {c} {k}",
        "fetch the {c} {k}",
        "collect the {c} {k}",
        "seize the {c} {k}",
    ),
    "open": (
        "unlock the {c} {k}",
        "unseal the {c} {k}",
        "look inside the {c} {k}",
        "undo the {c} {k}",
    ),
}
COLOUR_SYNONYMS = {
    "red": ("crimson", "scarlet"),
    "green": ("emerald", "olive"),
    "blue": ("azure", "navy"),
    "purple": ("violet", "lilac"),
    "yellow": ("golden", "lemon"),
    "grey": ("silver", "ashen"),
}
KIND_SYNONYMS = {
    "key": ("passkey", "latchkey"),
    "ball": ("sphere", "orb"),
    "box": ("crate", "chest"),
    "door": ("gate", "doorway"),
}
FREE = (  # as people might say it
    ("have a closer look at that crimson sphere", Goal("go to", "red", "ball")),
    ("i dropped my violet keys somewhere, bring them", Goal("pick up", "purple", "key")),
    ("show me what is in the emerald chest", Goal("open", "green", "box")),
    ("let some air in through the azure doorway", Goal("open", "blue", "door")),
    ("wait for me by the golden gate", Goal("go to", "yellow", "door")),
    ("hand me the silver thing that turns locks", Goal("pick up", "grey", "key")),
    ("take the lemon coloured toy that bounces", Goal("pick up", "yellow", "ball")),
    ("carry the purple parcel", Goal("pick up", "purple", "box")),
    ("stand next to the tomato coloured container", Goal("go to", "red", "box")),
    ("peek into the ashen carton", Goal("open", "grey", "box")),
    ("the round thing the colour of grass: get it", Goal("pick up", "green", "ball")),
    ("there is a way out the colour of the sky, go there", Goal("go to", "blue", "door")),
)
BLANK = "do something"


def training(
    verbs: Sequence[str] = VERBS, kinds: Sequence[str] = KINDS, templates: int = 4
) -> list[Command]:
    """The commands of training, ``templates`` sentences a goal: 180 for 45 goals as it stands.

    Only goals with one of ``verbs`` and ``kinds``; no target is a pair of ``HELD_OUT``. Raises
    ``ValueError`` where nothing is left.
    """
    goals = [g for g in GOALS if g.verb in verbs and g.kind in kinds and g.thing not in HELD_OUT]
    if not goals or not 1 <= templates <= 4:
        raise ValueError(
            f"no sentence fits verbs {tuple(verbs)}, kinds {tuple(kinds)}, templates {templates}: "
            f"verbs are {VERBS}, kinds {KINDS}, templates 1 to 4"
        )
    return [c for goal in goals for c in _filled(TRAINING, goal)[:templates]]


def rows(seed: int = 0) -> dict[str, list[Command]]:
    """What an agent can be asked, row by row of the table of generalisation.

    ``seed`` draws what "negation", "relation" and "shuffled" put together.
    """
    import numpy as np

    rng = np.random.default_rng((seed, 14))
    trained = [goal for goal in GOALS if goal.thing not in HELD_OUT]
    seen = training()
    order = rng.permutation(len(seen))
    return {
        "seen": seen,
        "paraphrase": [c for goal in trained for c in _filled(PARAPHRASES, goal)],
        "new verb": [c for goal in trained for c in _filled(NEW_VERBS, goal)],
        "held-out pair": [c for g in GOALS if g.thing in HELD_OUT for c in _filled(TRAINING, g)],
        "colour synonym": [
            _plain(g, c, g.kind) for g in trained for c in COLOUR_SYNONYMS[g.colour]
        ],
        "kind synonym": [_plain(g, g.colour, k) for g in trained for k in KIND_SYNONYMS[g.kind]],
        "both synonyms": [
            _plain(g, *words)
            for g in trained
            for words in product(COLOUR_SYNONYMS[g.colour], KIND_SYNONYMS[g.kind])
        ],
        "negation": [_negated(goal, rng) for goal in trained for _ in range(2)],
        "relation": [_related(g, rng) for g in trained if g.kind != "door" for _ in range(2)],
        "free words": [Command(sentence, goal) for sentence, goal in FREE],
        "blank": [Command(BLANK, goal) for goal in trained],
        "shuffled": [
            Command(seen[other].sentence, command.goal)
            for command, other in zip(seen, order, strict=True)
        ],
    }


def _filled(templates: dict[str, tuple[str, ...]], goal: Goal) -> list[Command]:
    return [Command(t.format(c=goal.colour, k=goal.kind), goal) for t in templates[goal.verb]]


def _plain(goal: Goal, colour: str, kind: str) -> Command:
    """The goal in the plainest sentence, with other words for its colour and kind."""
    return Command(f"{goal.verb} the {colour} {kind}", goal)


def _negated(goal: Goal, rng) -> Command:
    """Two things of one kind in the room, and the sentence names the colour that is *not* meant."""
    others = [c for c in COLOURS if c != goal.colour and (c, goal.kind) not in HELD_OUT]
    wrong = others[rng.integers(len(others))]
    sentence = f"{goal.verb} the {goal.kind} that is not {wrong}"
    return Command(sentence, goal, other=(wrong, goal.kind))


def _related(goal: Goal, rng) -> Command:
    """The sentence names the target and a thing beside it, of another colour and another kind.

    Neither is a door: what stands next to one would bar the way to it.
    """
    others = [
        (c, k)
        for c, k in product(COLOURS, KINDS)
        if c != goal.colour and k not in (goal.kind, "door") and (c, k) not in HELD_OUT
    ]
    colour, kind = others[rng.integers(len(others))]
    sentence = f"{goal.verb} the {goal.colour} {goal.kind} next to the {colour} {kind}"
    return Command(sentence, goal, other=(colour, kind), beside=True)
