"""How far luck leads: what somebody reaches who heard a part of each sentence and guesses the rest.

A number between 0 and 1 says little by itself. An agent that ignores colours can do no better than
the guesser who heard verb and kind, and one above that guesser has understood more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from course_lib.worlds import commands
from course_lib.worlds.commands import LEVELS
from course_lib.worlds.sentences import Command

HEARD = {
    "nothing": (),
    "verb": ("verb",),
    "colour": ("colour",),
    "kind": ("kind",),
    "verb, colour": ("verb", "colour"),
    "verb, kind": ("verb", "kind"),
    "colour, kind": ("colour", "kind"),
    "all": ("verb", "colour", "kind"),
}


def chances(
    rows: Mapping[str, Sequence[Command]], seed: int = 0, rooms: int = 400, level: str = "Commands"
) -> dict[str, dict[str, float]]:
    """For each row of commands, and each of ``HEARD``, the mean chance over ``rooms`` drawn rooms.

    All parts are guessed in the same rooms, so that they can be compared.
    """
    if rooms < 1:
        raise ValueError(f"rooms must be at least 1, got {rooms}")
    found = {}
    for name, row in rows.items():
        rng = np.random.default_rng((seed, 16))
        drawn = [row[number] for number in rng.integers(len(row), size=rooms)]
        places = [
            (commands.things_in_the_room(command, LEVELS[level], rng), command.goal)
            for command in drawn
        ]
        found[name] = {
            heard: float(np.mean([commands.chance(*place, parts) for place in places]))
            for heard, parts in HEARD.items()
        }
    return found
