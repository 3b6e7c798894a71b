"""A small world in which the true reward is known: a concierge answers the guests of a hotel.

Guests ask where things are. A reply is a handful of sentences: a greeting, an answer, directions,
courtesies, but also chatter, hedges, rudeness. Each sentence can be looked up, so that a short
function says how good a reply *really* is (``true_reward``). A reward model never sees that
function, only preferences; that is what lets you measure how far the two drift apart when a policy
is trained on the model (as in Gao, Schulman and Hilton, arXiv 2210.10760, whose "gold" reward is a
larger model).

Words are tokens. A dialogue reads "<guest> where is the pool ? <reply> it is on the roof . <end>".
The corpus for pretraining holds the replies of all kinds of staff, the demonstrations those of a
good but human concierge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib.lm.finetune import Example
from course_lib.lm.tokenizer import WordTokenizer

PLACES = (  # a place, the way there, and what is to be found there
    ("on the roof", "take the lift to the top .", ("pool", "bar")),
    ("in the basement", "take the stairs down .", ("gym", "laundry")),
    ("behind the hotel", "leave by the back door .", ("garden", "car park")),
    ("on the first floor", "take the stairs up .", ("library", "breakfast room")),
    ("across the street", "leave by the front door .", ("spa", "bakery")),
    ("next to the lobby", "turn left at the desk .", ("lift", "safe")),
)
WAY = {place: way for place, way, _ in PLACES}
WHERE = {thing: place for place, _, things in PLACES for thing in things}
QUESTIONS = (
    "where is the {} ?",
    "how do i get to the {} ?",
    "can you show me the {} ?",
    "i am looking for the {} .",
    "is there a {} here ?",
)
ANSWERS = ("it is {} .", "you will find it {} .", "the {thing} is {} .")
HEDGES = ("i think", "maybe")
GREETINGS = ("hello .", "good morning .", "welcome .")
CLOSINGS = ("have a nice day .", "enjoy your stay .", "you are welcome .", "just call me .")
CHATTER = ("we also sell postcards .", "the weather is nice .", "try our new cocktails .")
RUDE = ("look for yourself .", "read the sign .", "i am busy .")


class Kind(NamedTuple):
    """What a sentence is: its name, the place it speaks of, and the thing it names, if any."""

    name: str
    place: str | None = None
    thing: str | None = None


OTHERS = {"courtesy": GREETINGS + CLOSINGS, "chatter": CHATTER, "rude": RUDE}
SENTENCES = {  # every sentence that staff use, without a hedge before it
    **{way: Kind("way", place) for place, way in WAY.items()},
    **{
        answer.format(place, thing=thing): Kind(
            "answer", place, thing if "{thing}" in answer else None
        )
        for place, answer, thing in product(WAY, ANSWERS, WHERE)
    },
    **{text: Kind(name) for name, texts in OTHERS.items() for text in texts},
}
PAD, END, GUEST, REPLY = "<pad>", "<end>", "<guest>", "<reply>"
_QUESTIONS = [question.format(thing) for question, thing in product(QUESTIONS, WHERE)]
_WORDS = sorted(set(" ".join([*_QUESTIONS, *SENTENCES, *HEDGES]).split()))
TOKENIZER = WordTokenizer([PAD, END, GUEST, REPLY, *_WORDS])
PAD_TOKEN, END_TOKEN = TOKENIZER.encode(f"{PAD} {END}")


# --- What a reply is really worth -----------------------------------------------------------------


@dataclass(frozen=True)
class Values:
    """Points for what is in a reply: the hotel's, or yours."""

    right: float = 2.0  # the first answer names the right place
    wrong: float = -2.0  # it names a wrong one
    silent: float = -1.0  # no answer at all
    way: float = 1.0  # the right directions, once
    wrong_way: float = -1.0  # each wrong directions
    courtesy: float = 0.5  # each of the first two courtesies
    fawning: float = -0.5  # each courtesy after that
    hedge: float = -0.5  # each "i think" or "maybe"
    chatter: float = -0.5  # each sentence about something else
    rude: float = -1.5  # each rude sentence
    repeat: float = -1.0  # each sentence that was said before, word for word
    broken: float = -1.0  # each sentence that is none
    extra_word: float = -0.05  # each word after the twentieth


HOTEL = Values()
LONG = 20  # words


def features(question: str, reply: str) -> dict[str, int]:
    """How often each thing that `Values` names occurs in ``reply``."""
    count = dict.fromkeys(Values.__dataclass_fields__, 0)
    place = WHERE[thing_of(question)]
    before: set[str] = set()
    for sentence in _sentences(reply):
        if sentence in before:
            count["repeat"] += 1
            continue
        before.add(sentence)
        for hedge in HEDGES:
            if sentence.startswith(hedge):
                sentence = sentence.removeprefix(hedge).strip()
                count["hedge"] += 1
        kind = SENTENCES.get(sentence, Kind("broken"))
        if kind.name == "answer" and kind.thing not in (None, thing_of(question)):
            count["chatter"] += 1  # it answers what nobody asked
        elif kind.name == "answer":
            if not count["right"] + count["wrong"]:
                count["right" if kind.place == place else "wrong"] = 1
            elif kind.place != place:
                count["wrong_way"] += 1  # it contradicts itself
        elif kind.name == "way":
            count["way" if kind.place == place else "wrong_way"] += 1
        elif kind.name == "courtesy" and count["courtesy"] == 2:
            count["fawning"] += 1
        else:
            count[kind.name] += 1
    count["silent"] = int(not count["right"] + count["wrong"])
    count["extra_word"] = max(0, len(reply.split()) - LONG)
    return count


def true_reward(question: str, reply: str, values: Values = HOTEL) -> float:
    """What ``reply`` is really worth, in points: from about -6 to 4."""
    found = features(question, reply)
    return float(sum(getattr(values, name) * count for name, count in found.items()))


def true_rewards(values: Values = HOTEL):
    """``true_reward`` for token lists: a `rollouts.Reward`."""

    def reward(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Tensor:
        pairs = zip(prompts, responses, strict=True)
        return torch.tensor([true_reward(question_of(p), reply_of(r), values) for p, r in pairs])

    return reward


def thing_of(question: str) -> str:
    """What a guest asks for: "pool"."""
    for thing in WHERE:
        if f" {thing} " in question:
            return thing
    raise ValueError(f"the question names none of {', '.join(WHERE)}: {question!r}")


def _sentences(reply: str) -> list[str]:
    *whole, rest = (part.strip() for part in reply.split("."))
    return [f"{part} ." for part in whole] + ([rest] if rest else [])  # the rest has no full stop


# --- Text and tokens ------------------------------------------------------------------------------


def questions() -> tuple[list[str], list[str]]:
    """All questions, those to train on and those held out; every thing is among both."""
    train, held_out = [], []
    for (i, thing), (j, question) in product(enumerate(WHERE), enumerate(QUESTIONS)):
        side = train if (i + j) % len(QUESTIONS) else held_out
        side.append(question.format(thing))
    return train, held_out


def prompt_tokens(question: str) -> list[int]:
    """The dialogue up to the place where the reply begins."""
    return TOKENIZER.encode(f"{GUEST} {question} {REPLY}")


def reply_tokens(reply: str) -> list[int]:
    """A reply and its end."""
    return TOKENIZER.encode(f"{reply} {END}")


def question_of(prompt: Sequence[int] | Tensor) -> str:
    """The words between ``<guest>`` and ``<reply>``."""
    return TOKENIZER.decode(prompt).removeprefix(GUEST).removesuffix(REPLY).strip()


def reply_of(response: Sequence[int] | Tensor) -> str:
    """The words of a reply, without its end."""
    return TOKENIZER.decode(response).removesuffix(END).strip()


# --- Staff ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Staff:
    """How somebody replies: the chance of each thing that may go into a reply."""

    knows: float  # the right place
    answers: float = 0.95  # any place at all
    way: float = 0.5  # directions; they fit the place with a chance of ``knows``
    greets: float = 0.5
    closes: float = 0.5  # and, having closed, closes once more, up to three times
    hedges: float = 0.2
    chats: float = 0.2
    rude: float = 0.1

    def reply(self, question: str, rng: np.random.Generator) -> str:
        """One reply."""
        thing, parts = thing_of(question), []
        if rng.random() < self.greets:
            parts.append(rng.choice(GREETINGS))
        if rng.random() < self.rude:
            parts.append(rng.choice(RUDE))
        place = WHERE[thing] if rng.random() < self.knows else rng.choice(list(WAY))
        if rng.random() < self.answers:
            answer = rng.choice(ANSWERS).format(place, thing=thing)
            parts.append(f"{rng.choice(HEDGES)} {answer}" if rng.random() < self.hedges else answer)
        if rng.random() < self.way:
            parts.append(WAY[place if rng.random() < self.knows else rng.choice(list(WAY))])
        if rng.random() < self.chats:
            parts.append(rng.choice(CHATTER))
        for closing in rng.permutation(CLOSINGS)[:3]:
            if rng.random() >= self.closes:
                break
            parts.append(closing)
        return " ".join(parts) or rng.choice(RUDE)


# The corpus holds what all of them wrote; the demonstrations are by the last, good but human.
EVERYBODY = (
    Staff(knows=0.9, hedges=0.1),
    Staff(knows=0.6, hedges=0.5),
    Staff(knows=0.8, chats=0.7, closes=0.7),
    Staff(knows=0.7, greets=0.1, closes=0.1, rude=0.6),
)
DEMONSTRATOR = Staff(
    knows=0.75, way=0.4, greets=0.4, closes=0.4, hedges=0.25, chats=0.25, rude=0.05
)


def corpus(dialogues: int, seed: int = 0) -> Tensor:
    """So many questions with replies by ``EVERYBODY``, one after the other: tokens (N,)."""
    rng = np.random.default_rng((seed, 2))
    texts, _ = questions()
    tokens: list[int] = []
    for _ in range(dialogues):
        question = texts[rng.integers(len(texts))]
        staff = EVERYBODY[rng.integers(len(EVERYBODY))]
        tokens += prompt_tokens(question) + reply_tokens(staff.reply(question, rng))
    return torch.tensor(tokens)


def demonstrations(number: int, seed: int = 0) -> list[Example]:
    """Questions with replies by ``DEMONSTRATOR``, for supervised fine-tuning."""
    rng = np.random.default_rng((seed, 3))
    texts, _ = questions()
    drawn = [texts[i] for i in rng.integers(len(texts), size=number)]
    return [Example(prompt_tokens(q), reply_tokens(DEMONSTRATOR.reply(q, rng))) for q in drawn]
