"""Counts as the control of a head start: 5-grams of Shakespeare, of film reviews, and of both.

The lesson continues its character model on film reviews and compares it with new weights. Here
counting does the same: what followed each four characters in the plays, in a stretch of reviews as
long as what the networks read by then, or in both together (`pretrain_chars.counted_bits`). Judged
on the lesson's 15,000 last characters of the reviews. The stretch starts at a random place, five
seeds.
"""

from __future__ import annotations

import collections
import random

from benchmarks.harness import Goal, by, reported
from benchmarks.transformer.pretrain_chars import counted_bits
from course_lib.evaluation import t_interval
from course_lib.lm.tokenizer import CharTokenizer
from course_lib.worlds import corpus, tasks

SEEDS = (200, 201, 202, 203, 204)
ORDER = 5  # of the n-grams
JUDGED = 15_000
READ = (0, 30_720, 61_440, 92_160)  # characters after 0, 60, 120 and 180 of the lesson's updates

Tables = list[dict[str, collections.Counter]]


def counts_for(test: str, train: str, order: int = ORDER) -> Tables:
    """What followed each context of ``test`` in ``train``, for contexts of 0 to order - 1."""
    tables: Tables = []
    for k in range(order):
        table: dict = {test[i - k : i]: collections.Counter() for i in range(k, len(test))}
        for i in range(k, len(train)):
            if (counter := table.get(train[i - k : i])) is not None:
                counter[train[i]] += 1
        tables.append(table)
    return tables


def added(a: Tables, b: Tables) -> Tables:
    """The counts of both, without contexts that neither has seen."""
    pairs = zip(a, b, strict=True)
    sums = [{context: one[context] + other[context] for context in one} for one, other in pairs]
    return [{context: counter for context, counter in table.items() if counter} for table in sums]


def measure(quick: bool) -> dict:
    works = corpus.load()
    letters = CharTokenizer.train(works.train_text)
    text = "".join(c for c in "\n".join(tasks.reviews().texts) if c in letters.characters)
    reviews, unseen = text[:-JUDGED], text[-JUDGED:]
    plays = counts_for(unseen, works.train_text[:100_000] if quick else works.train_text)
    nothing, runs = counts_for(unseen, ""), []
    for seed in SEEDS[:1] if quick else SEEDS:
        start = random.Random(seed).randrange(len(reviews) - READ[-1])
        for characters in READ[:2] if quick else READ:
            read = counts_for(unseen, reviews[start : start + characters])
            for source, before in (("reviews", nothing), ("Shakespeare and reviews", plays)):
                bits = counted_bits(added(before, read), letters.vocab_size, unseen)
                row = {"seed": seed, "counted on": source, "characters": characters}
                runs.append(row | {"bits_per_character": round(bits, 4)})
    return {"seeds": list(SEEDS), "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    for (source, characters), runs in by(result["runs"], "counted on", "characters").items():
        middle, low, high = t_interval([run["bits_per_character"] for run in runs])
        goals.append(
            reported(
                f"film reviews, {ORDER}-grams of {source}, {characters:,} characters of reviews: "
                "bits per character [t interval]",
                f"{middle:.2f} [{low:.2f}, {high:.2f}]",
            )
        )
    return goals
