"""What lesson 05 asks to build: byte pair encoding, from counts of words to a list of merges."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np

from course_lib.classroom.check import Case, Exercise


def _learn_merges(words: dict[str, int], number: int) -> list[tuple[str, str]]:
    """Return the first ``number`` merges of byte pair encoding, fewer if no pair is left.

    ``words`` says how often each word occurs. Every word begins as its letters. Each merge joins
    the two neighbours that are most frequent within words; of several, those that come first.
    """
    pieces = {word: list(word) for word in words}
    merges = []
    while len(merges) < number:
        counts = Counter()
        for word, often in words.items():
            for pair in pairwise(pieces[word]):
                counts[pair] += often
        if not counts:
            break
        best = max(counts, key=counts.get)
        merges.append(best)
        for word, parts in pieces.items():
            joined = []
            for part in parts:
                if joined and (joined[-1], part) == best:
                    joined[-1] += part
                else:
                    joined.append(part)
            pieces[word] = joined
    return merges


def _by_replacing(words: dict[str, int], number: int) -> list[tuple[str, str]]:
    """The same with texts: two blanks between pieces, and `str.replace` joins them."""
    lines = [("  " + "  ".join(word) + "  ", often) for word, often in words.items()]
    merges = []
    for _ in range(number):
        seen = {}
        for line, often in lines:
            split = line.split()
            for place in range(len(split) - 1):
                seen.setdefault((split[place], split[place + 1]), []).append(often)
        if not seen:
            return merges
        most = max(map(sum, seen.values()))
        first, second = next(pair for pair, found in seen.items() if sum(found) == most)
        merges.append((first, second))
        old, new = f" {first}  {second} ", f" {first + second} "
        lines = [(line.replace(old, new), often) for line, often in lines]
    return merges


def _merge_cases(rng: np.random.Generator) -> list[Case]:
    letters = "abc"
    drawn = {
        "".join(rng.choice(list(letters), size=rng.integers(2, 7))): int(rng.integers(1, 9))
        for _ in range(8)
    }
    banana = {"banana": 1, "bandana": 1}
    return [
        Case("banana bandana", (banana, 3), [("a", "n"), ("b", "an"), ("an", "a")]),
        Case(
            "a rare word with many pairs, a frequent one with few",
            ({"xyxyxy": 1, "no": 5}, 2),
            [("n", "o"), ("x", "y")],
        ),
        Case("none is asked for", (banana, 0), []),
        Case("no pair is left", ({"ab": 2, "c": 9}, 5), [("a", "b")]),
        Case(
            "the same letter four times, then what came of it",
            ({"aaaa": 3, "ab": 1}, 3),
            [("a", "a"), ("aa", "aa"), ("a", "b")],
        ),
        Case(
            "no pair reaches from one word to the next",
            ({"ab": 1, "ba": 1, "bc": 2}, 2),
            [("b", "c"), ("a", "b")],
        ),
        Case(
            "two ways to the same letters",
            ({"ab": 6, "abc": 3, "bc": 5, "dbc": 1}, 3),
            [("a", "b"), ("b", "c"), ("ab", "c")],
        ),
        Case("words of chance", (drawn, 6), _by_replacing(drawn, 6)),
    ]


learn_merges = Exercise(
    reference=_learn_merges,
    cases=_merge_cases,
    edits="""
    counts every word once: `+= often` becomes `+= 1`. A pair in a word that occurs five times
        occurs five times: add the word's count, not 1.

    takes the last of several: `max(counts, key=counts.get)` becomes
        `max(reversed(counts), key=counts.get)`. Several pairs are equally frequent, and you took
        the last of them. Take the one that comes first, word after word.

    takes the rarest: `max(counts` becomes `min(counts`. The pair that is *most* frequent is joined.

    never joins anything: `pieces[word] = joined` becomes `pass`. After a merge the words have to be
        written with the new piece: the next pairs are counted between the pieces that are there.

    joins the first of each word only: `(joined[-1], part) == best` becomes
        `(joined[-1], part) == best and "".join(best) not in joined`. A pair may stand several times
        in one word, and all of them are joined.

    keeps the second part alone: `joined[-1] += part` becomes `joined[-1] = part`. The joined piece
        is both parts, one after the other.

    stops before the last pair: `if not counts` becomes `if len(counts) < 2`. You stopped while
        there was one pair left. Stop when there is none.
    """,
    hints=(
        "Keep for each word the list of its pieces, at first its letters. Each round has two "
        "halves: count the neighbours in all words, then write every word anew with the best pair "
        "joined.",
        "`itertools.pairwise(parts)` gives the neighbours, and a `Counter` keeps the order in "
        "which pairs came first: `max(counts, key=counts.get)` returns the first of several.",
        "To join: go through the pieces with a new list. If its last piece and the next one are "
        "the pair, lengthen the last piece, else append.",
    ),
)
