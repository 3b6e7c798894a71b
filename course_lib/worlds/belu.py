"""A language that no model has read: Belu, invented for this course.

To see a model learn something that it cannot know, the task must not be on the internet. Belu has
13 words and three rules that English does not have:

- **Order**: the verb comes first, as in Welsh; the adjective stands *after* its noun, as in French.
- **Plural**: the ending "-ni", on the noun *and* on its adjective.
- **Agreement**: the verb takes "-ka" where its subject is plural, before the subject is heard.

"The red birds sleep" is "tamoka pirini rasuni" in Belu: sleep, birds, red.

The split tests rules, not memory. Some pairs of adjective and noun never occur among the training
sentences: whoever learned the words and the rules can translate them nevertheless. Other held-out
sentences are new only as a whole.
"""

from itertools import product
from typing import NamedTuple

import numpy as np

NOUNS = {
    "king": "holu",
    "bird": "piri",
    "horse": "bako",
    "child": "mise",
    "dog": "wado",
}
PLURALS = {noun: f"{noun}s" for noun in NOUNS} | {"child": "children"}
ADJECTIVES = {
    "red": "rasu",
    "old": "dema",
    "big": "foku",
    "small": "liti",
}
VERBS = {
    "sleep": "tamo",
    "sing": "kelu",
    "walk": "vori",
    "wait": "bemi",
}
INSTRUCTION = "Translate into Belu."


class Sentence(NamedTuple):
    """Who does what: the small birds sing."""

    adjective: str
    noun: str
    verb: str
    plural: bool

    @property
    def english(self) -> str:
        """As an English speaker says it."""
        if self.plural:
            return f"the {self.adjective} {PLURALS[self.noun]} {self.verb}"
        return f"the {self.adjective} {self.noun} {self.verb}s"

    @property
    def belu(self) -> str:
        """As a Belu speaker says it."""
        agreement, ending = ("ka", "ni") if self.plural else ("", "")
        verb, noun, adjective = VERBS[self.verb], NOUNS[self.noun], ADJECTIVES[self.adjective]
        return f"{verb}{agreement} {noun}{ending} {adjective}{ending}"


class Split(NamedTuple):
    """Pairs of an English sentence and its translation, in random order."""

    train: list[tuple[str, str]]  # 90
    new_sentences: list[tuple[str, str]]  # 30 others, made of pairs of words that train has
    new_pairs: list[tuple[str, str]]  # 40, each with an adjective and a noun never met together


def held_out_pairs() -> set[tuple[str, str]]:
    """The pairs of adjective and noun that no training sentence has: one for each noun."""
    adjectives = list(ADJECTIVES)
    return {(adjectives[i % len(adjectives)], noun) for i, noun in enumerate(NOUNS)}


def all_sentences() -> list[Sentence]:
    """Every sentence there is: 160."""
    return [Sentence(*parts) for parts in product(ADJECTIVES, NOUNS, VERBS, (False, True))]


def split(seed: int = 0) -> Split:
    """All sentences. The pairs held out are always the same, the order depends on ``seed``."""
    order = np.random.default_rng(seed).permutation(len(all_sentences()))
    known, unknown = [], []
    for sentence in (all_sentences()[i] for i in order):
        part = unknown if (sentence.adjective, sentence.noun) in held_out_pairs() else known
        part.append((sentence.english, sentence.belu))
    return Split(known[:90], known[90:], unknown)
