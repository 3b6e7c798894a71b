"""Pairs of a concierge's replies: to be labelled, and to read off what a reward model values.

`staff_pairs` compares what the hotel's staff wrote: replies that differ in everything at once, of
which there can be thousands. `designed_pairs` differ in one or two traits: a label says more, so
they are the ones to ask a person about. `contrasts` hold everything equal but one trait: what a
reward model pays for it is the mean difference over such pairs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from course_lib.rlhf.preferences import Pair, make_pairs
from course_lib.rlhf.rollouts import Reward
from course_lib.worlds import concierge


@dataclass(frozen=True)
class Traits:
    """What a reply is made of. As it stands: the right place in one sentence, nothing else."""

    wrong: bool = False  # names another place
    way: bool = False  # directions to the right place
    greeting: bool = False
    hedge: bool = False
    chatter: bool = False
    rude: bool = False
    closings: int = 0  # 0 to 4


NAMES = tuple(Traits.__dataclass_fields__)


def write(question: str, traits: Traits, style: int = 0) -> str:
    """A reply with these traits; ``style`` chooses among sentences that mean the same."""
    draw = np.random.default_rng((style, 5))
    pick = lambda texts: texts[draw.integers(len(texts))]  # noqa: E731
    thing = concierge.thing_of(question)
    right = concierge.WHERE[thing]
    # All is drawn, used or not: replies of one style then share their sentences.
    other = pick([place for place in concierge.WAY if place != right])
    greeting, rude = pick(concierge.GREETINGS), pick(concierge.RUDE)
    hedge, answer, chatter = map(pick, (concierge.HEDGES, concierge.ANSWERS, concierge.CHATTER))
    answer = answer.format(other if traits.wrong else right, thing=thing)
    parts = [
        greeting if traits.greeting else "",
        rude if traits.rude else "",
        f"{hedge} {answer}" if traits.hedge else answer,
        concierge.WAY[right] if traits.way else "",
        chatter if traits.chatter else "",
        *draw.permutation(concierge.CLOSINGS)[: traits.closings],
    ]
    return " ".join(part for part in parts if part)


def staff_pairs(questions: Sequence[str], count: int, seed: int) -> list[Pair]:
    """``count`` pairs of replies by all kinds of staff (`concierge.EVERYBODY`)."""
    rng = np.random.default_rng((seed, 7))
    # n replies to a question make n (n - 1) / 2 pairs, some of them alike: with room to spare.
    each = int(np.ceil(2 * np.sqrt(count / len(questions)))) + 4
    staff = concierge.EVERYBODY
    replies = [
        [staff[rng.integers(len(staff))].reply(question, rng) for _ in range(each)]
        for question in questions
    ]
    return make_pairs(questions, replies, count, seed)


def designed_pairs(questions: Sequence[str], count: int, seed: int) -> list[Pair]:
    """``count`` pairs that differ in one trait or in two, each trait equally often."""
    rng = np.random.default_rng((seed, 8))
    pairs: list[Pair] = []
    while len(pairs) < count:
        number = len(pairs)
        question, style = questions[rng.integers(len(questions))], int(rng.integers(1000))
        common = Traits(*(bool(rng.random() < 0.2) for _ in NAMES[:-1]), int(rng.random() < 0.3))
        first = number % len(NAMES)
        changed = {NAMES[first]}
        if number % 2:  # one against the other: what weighs more?
            changed.add(NAMES[(first + int(rng.integers(1, len(NAMES)))) % len(NAMES)])
        new = {name: not getattr(common, name) for name in changed}
        if "closings" in changed:
            new["closings"] = 3 if common.closings else int(rng.choice([1, 3]))
        replies = [write(question, common, style), write(question, replace(common, **new), style)]
        rng.shuffle(replies)
        if (pair := Pair(question, *replies)) not in pairs:
            pairs.append(pair)
    return pairs


def contrasts(questions: Sequence[str]) -> dict[str, list[Pair]]:
    """Name of a trait: pairs, one per question, of which A has it, B has not, all else equal."""
    plain = Traits()
    both = {
        "the right place, not a wrong one": (plain, replace(plain, wrong=True)),
        "directions": (replace(plain, way=True), plain),
        "a greeting": (replace(plain, greeting=True), plain),
        "four closings, not one": (replace(plain, closings=4), replace(plain, closings=1)),
        "a hedge": (replace(plain, hedge=True), plain),
        "chatter": (replace(plain, chatter=True), plain),
        "rudeness": (replace(plain, rude=True), plain),
    }
    return {
        name: [Pair(q, write(q, has, i), write(q, lacks, i)) for i, q in enumerate(questions)]
        for name, (has, lacks) in both.items()
    }


def paid_for(reward: Reward, pairs_of: Mapping[str, Sequence[Pair]]) -> dict[str, np.ndarray]:
    """What ``reward`` pays more for A than for B, for each pair of `contrasts`: name -> (N,)."""
    found = {}
    for name, pairs in pairs_of.items():
        prompts = [concierge.prompt_tokens(pair.prompt) for pair in pairs]
        a = reward(prompts, [concierge.reply_tokens(pair.a) for pair in pairs])
        b = reward(prompts, [concierge.reply_tokens(pair.b) for pair in pairs])
        found[name] = (a - b).double().numpy()
    return found


def truly_paid_for(
    true_reward: Callable[[str, str], float], pairs_of: Mapping[str, Sequence[Pair]]
) -> dict[str, np.ndarray]:
    """The same for a reward of texts, such as `concierge.true_reward`: name -> (N,)."""
    return {
        name: np.array([true_reward(p.prompt, p.a) - true_reward(p.prompt, p.b) for p in pairs])
        for name, pairs in pairs_of.items()
    }
