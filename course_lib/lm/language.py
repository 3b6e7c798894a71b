"""A language that no model has read: Belu, invented for this course.

To see a model learn something that it cannot know, the task must not be on the internet. Belu has
20 words and three rules that English does not have:

- **Order**: the verb first, then the object, then the subject, as in Malagasy; the adjective stands
  *after* its noun, as in French.
- **Plural**: the ending "-ni", on the noun *and* on its adjective.
- **Agreement**: the verb takes "-ka" where its *subject* is plural, though the subject comes last.

"The old king sees the red birds" is "tamo pirini rasuni holu dema" in Belu: sees, birds, red,
king, old.

The split tests rules, not memory: some pairs of adjective and noun never occur among the training
sentences, and each held-out sentence has one of them.
"""

from typing import NamedTuple

import numpy as np

NOUNS = {
    "king": "holu",
    "bird": "piri",
    "horse": "bako",
    "child": "mise",
    "dog": "wado",
    "cat": "nefi",
    "doctor": "zulo",
    "farmer": "gatu",
}
PLURALS = {noun: f"{noun}s" for noun in NOUNS} | {"child": "children"}
ADJECTIVES = {
    "red": "rasu",
    "old": "dema",
    "big": "foku",
    "small": "liti",
    "happy": "jeba",
    "slow": "suno",
}
VERBS = {
    "see": "tamo",
    "hear": "kelu",
    "follow": "vori",
    "like": "yaso",
    "help": "bemi",
    "find": "dupa",
}
INSTRUCTION = "Translate into Belu."


class Phrase(NamedTuple):
    """The small birds: an adjective, a noun, and whether there are several."""

    adjective: str
    noun: str
    plural: bool


class Sentence(NamedTuple):
    """Who does what to whom."""

    subject: Phrase
    verb: str
    object: Phrase

    @property
    def english(self) -> str:
        """As an English speaker says it."""
        verb = self.verb if self.subject.plural else f"{self.verb}s"
        return f"{_english(self.subject)} {verb} {_english(self.object)}"

    @property
    def belu(self) -> str:
        """As a Belu speaker says it."""
        verb = VERBS[self.verb] + ("ka" if self.subject.plural else "")
        return f"{verb} {_belu(self.object)} {_belu(self.subject)}"


class Split(NamedTuple):
    """Pairs of an English sentence and its translation."""

    train: list[tuple[str, str]]
    held_out: list[tuple[str, str]]  # each with a pair of adjective and noun that train lacks


def held_out_pairs() -> set[tuple[str, str]]:
    """The pairs of adjective and noun that no training sentence has: one for each noun."""
    adjectives = list(ADJECTIVES)
    return {(adjectives[i % len(adjectives)], noun) for i, noun in enumerate(NOUNS)}


def sentences(train: int, held_out: int, seed: int = 0) -> Split:
    """So many different sentences, drawn at random."""
    rng = np.random.default_rng(seed)
    kept: dict[bool, dict[str, str]] = {True: {}, False: {}}
    reserved = held_out_pairs()
    wanted = {True: held_out, False: train}
    while any(len(kept[new]) < wanted[new] for new in kept):
        drawn = _draw(rng)
        new = any((phrase.adjective, phrase.noun) in reserved for phrase in (drawn[0], drawn[2]))
        if len(kept[new]) < wanted[new]:
            kept[new][drawn.english] = drawn.belu
    return Split(list(kept[False].items()), list(kept[True].items()))


def _draw(rng: np.random.Generator) -> Sentence:
    def phrase() -> Phrase:
        adjective = list(ADJECTIVES)[rng.integers(len(ADJECTIVES))]
        return Phrase(adjective, list(NOUNS)[rng.integers(len(NOUNS))], bool(rng.integers(2)))

    return Sentence(phrase(), list(VERBS)[rng.integers(len(VERBS))], phrase())


def _english(phrase: Phrase) -> str:
    noun = PLURALS[phrase.noun] if phrase.plural else phrase.noun
    return f"the {phrase.adjective} {noun}"


def _belu(phrase: Phrase) -> str:
    ending = "ni" if phrase.plural else ""
    return f"{NOUNS[phrase.noun]}{ending} {ADJECTIVES[phrase.adjective]}{ending}"
