"""FrozenLake in words: each transition of the game as a prompt and a response.

"Frozen lake, two two: hole, two four: hole, three four: hole, four one: hole, four four: goal.
You stand at two one. You move down to" -> " three one: ice, reward zero, end no."

Every lake of four by four with four holes and a way to the goal, 757 of them, in Gymnasium's own
game. The ice is not slippery, so that there is one right response. Lakes are split by map, and a
fifth of the (state, action) pairs never occurs in training.
"""

import functools
import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv, is_valid

from course_lib.lm import finetune

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SIZE, HOLES = 4, 4  # of a lake: rows and columns, and holes, as in the lake that Gymnasium ships
GOAL = SIZE * SIZE - 1  # the last state
NUMBERS = ("one", "two", "three", "four")
MOVES = ("left", "down", "right", "up")  # FrozenLake's actions 0 to 3
TILES = ("ice", "hole", "goal")
RULES = (
    "A game on a frozen lake with four rows and four columns. A place is its row and its column. "
    "Up is towards row one, left is towards column one. Whoever would leave the lake stays where "
    "they are. A hole ends the game with reward zero, the goal ends it with reward one.\n\n"
)
# What is written before each blank, and the words that may fill it.
FORM = (
    ("", NUMBERS),
    ("", NUMBERS),
    (":", TILES),
    (", reward", ("zero", "one")),
    (", end", ("no", "yes")),
)

Lake = tuple[int, ...]  # where the holes are: their states, row * SIZE + column, in order
Question = tuple[Lake, int, int]  # a lake, a state and an action: what a prediction is about


class Transition(NamedTuple):
    """One move, and what came of it: the fields of the last line are predicted."""

    lake: Lake
    state: int
    action: int
    next_state: int
    tile: str  # what lies there
    reward: int
    end: bool

    @property
    def question(self) -> Question:
        """What a prediction is given."""
        return self[:3]


class Split(NamedTuple):
    """Transitions to learn from, and to be tested on: no lake of the test is ever in training."""

    train: list[Transition]
    seen_pairs: list[Transition]  # a new lake; (state, action) occurs in training on other lakes
    new_pairs: list[Transition]  # a new lake, and a (state, action) that training never shows
    test_lakes: list[Lake]


# --- The lake ------------------------------------------------------------------------------------


def rows(lake: Lake) -> list[str]:
    """The map as Gymnasium writes it: ["SFFF", "FHFH", ...]."""
    tiles = ["S", *["F"] * (GOAL - 1), "G"]
    for hole in lake:
        tiles[hole] = "H"
    return ["".join(tiles[i : i + SIZE]) for i in range(0, SIZE * SIZE, SIZE)]


@functools.cache
def all_lakes() -> list[Lake]:
    """Every lake with ``HOLES`` holes that has a way from the start to the goal."""
    inner = range(1, GOAL)
    choices = itertools.combinations(inner, HOLES)
    return [lake for lake in choices if is_valid([list(row) for row in rows(lake)], SIZE)]


@functools.cache
def transitions(lake: Lake) -> list[Transition]:
    """What Gymnasium's game does, for each place where one can stand and each of the moves."""
    table = FrozenLakeEnv(desc=rows(lake), is_slippery=False).P
    found = []
    for state, action in itertools.product(range(GOAL), range(len(MOVES))):
        if state not in lake:
            ((_, after, reward, end),) = table[state][action]
            tile = "hole" if after in lake else "goal" if after == GOAL else "ice"
            found.append(Transition(lake, state, action, after, tile, int(reward), bool(end)))
    return found


def truth(lake: Lake, state: int, action: int) -> Transition:
    """What the game does there; ``state`` must be ice."""
    for t in transitions(lake):
        if t.question == (lake, state, action):
            return t
    what = "a hole" if state in lake else "the goal or no place"
    raise ValueError(f"state {state} of this lake is {what}: nobody moves from there")


def split(seed: int, train: int = 320, test: int = 64, held_out: int = 12) -> Split:
    """Random transitions; a third of the lakes and ``held_out`` of the 60 pairs only for the test.

    ``test`` of each kind. Half of the moves end the game, so that "nothing happens" is no good
    guess. The first n of ``train`` are the smaller training sets: drawn alike.
    """
    rng = np.random.default_rng(np.random.SeedSequence((seed, 7)))
    lakes = [all_lakes()[i] for i in rng.permutation(len(all_lakes()))]
    border = len(lakes) // 3
    pairs = list(itertools.product(range(GOAL), range(len(MOVES))))
    new = {pairs[i] for i in rng.permutation(len(pairs))[:held_out]}

    def draw(among: Sequence[Lake], number: int, of_new_pairs: bool) -> list[Transition]:
        drawn: dict[Transition, None] = {}  # a set that keeps the order
        while len(drawn) < number:
            options = transitions(among[rng.integers(len(among))])
            options = [t for t in options if ((t.state, t.action) in new) == of_new_pairs]
            options = [t for t in options if t.end == (len(drawn) % 2 == 0)]
            if options:
                drawn[options[rng.integers(len(options))]] = None
        return list(drawn)

    test_lakes, train_lakes = lakes[:border], lakes[border:]
    tests = (draw(test_lakes, test, of_new_pairs) for of_new_pairs in (False, True))
    return Split(draw(train_lakes, train, False), *tests, test_lakes)


# --- In words ------------------------------------------------------------------------------------


def place(state: int) -> str:
    """Row and column, from one on: "two three"."""
    return f"{NUMBERS[state // SIZE]} {NUMBERS[state % SIZE]}"


def prompt(lake: Lake, state: int, action: int) -> str:
    """The lake and the move. As many words for each lake, so that batches need no padding."""
    marks = ", ".join([*(f"{place(hole)}: hole" for hole in lake), f"{place(GOAL)}: goal"])
    return f"Frozen lake, {marks}.\nYou stand at {place(state)}. You move {MOVES[action]} to"


def response(t: Transition) -> str:
    """What happens: the form with its blanks filled."""
    row, column = place(t.next_state).split()
    words = (row, column, t.tile, "one" if t.reward else "zero", "yes" if t.end else "no")
    return "".join(f"{before} {word}" for (before, _), word in zip(FORM, words, strict=True)) + "."


class Words:
    """A tokenizer for models from scratch: one number for each word that the game's text uses."""

    eos_token_id = 0

    def __init__(self) -> None:
        texts = []
        for t in transitions(all_lakes()[0]):
            texts.append(prompt(t.lake, t.state, t.action) + response(t))
        texts += [f"{before} {word}" for before, words in FORM for word in words]
        words = sorted({word for text in texts for word in self.split(text)})
        self.numbers = {word: number for number, word in enumerate(words, start=1)}

    @staticmethod
    def split(text: str) -> list[str]:
        """Words with the blank before them, and marks: [" two", ":", " ice"]."""
        return re.findall(r" ?\w+|[^\w ]", text)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Token numbers of ``text``; a word from elsewhere is a KeyError."""
        return [self.numbers[word] for word in self.split(text)]

    def __len__(self) -> int:
        return len(self.numbers) + 1


def examples(
    tokenizer: "Words | PreTrainedTokenizerFast", known: Sequence[Transition]
) -> list[finetune.Example]:
    """Transitions as prompts and responses to learn, for ``finetune.train``."""
    encode = tokenizer.encode
    return [
        finetune.Example(
            encode(prompt(t.lake, t.state, t.action), add_special_tokens=False),
            [*encode(response(t), add_special_tokens=False), tokenizer.eos_token_id],
        )
        for t in known
    ]
