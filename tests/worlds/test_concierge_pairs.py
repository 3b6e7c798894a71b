"""Pairs of replies: what differs in them, and that every sentence is one that staff use."""

from pathlib import Path

import numpy as np
import pytest

from course_lib.rlhf import preferences
from course_lib.worlds import concierge, concierge_pairs
from course_lib.worlds.concierge_pairs import Traits, contrasts, designed_pairs, staff_pairs, write

TRAIN, HELD_OUT = concierge.questions()
QUESTION = "where is the pool ?"


def counts(reply):
    return {name: n for name, n in concierge.features(QUESTION, reply).items() if n}


@pytest.mark.parametrize("style", range(20))
def test_traits_are_what_the_hotel_sees(style):
    assert counts(write(QUESTION, Traits(), style)) == {"right": 1}
    assert counts(write(QUESTION, Traits(wrong=True, hedge=True), style)) == {
        "wrong": 1,
        "hedge": 1,
    }
    whole = Traits(way=True, greeting=True, chatter=True, rude=True)
    found = counts(write(QUESTION, whole, style))
    found.pop("extra_word", None)
    assert found == {"right": 1, "way": 1, "courtesy": 1, "chatter": 1, "rude": 1}
    assert counts(write(QUESTION, Traits(closings=4), style))["fawning"] == 2


def test_replies_of_one_style_share_their_sentences():
    for style in range(10):
        short = write(QUESTION, Traits(way=True), style)
        assert write(QUESTION, Traits(way=True, greeting=True), style).endswith(short)
        assert write(QUESTION, Traits(way=True, closings=2), style).startswith(short)


@pytest.mark.parametrize("make", [designed_pairs, staff_pairs])
def test_pairs_are_new_and_repeat_with_the_seed(make):
    pairs = make(TRAIN, 60, 0)
    assert len(set(pairs)) == len(pairs) == 60
    assert all(pair.a != pair.b and pair.prompt in TRAIN for pair in pairs)
    assert pairs == make(TRAIN, 60, 0) != make(TRAIN, 60, 1)
    for pair in pairs:
        assert not concierge.features(pair.prompt, pair.a)["broken"]
        assert concierge.TOKENIZER.decode(concierge.reply_tokens(pair.b)).startswith(pair.b)


def test_there_are_thousands_of_staff_pairs():
    assert len(set(staff_pairs(TRAIN, 3000, 5))) == 3000


def test_designed_pairs_differ_in_one_or_two_traits():
    differing = []
    for pair in designed_pairs(TRAIN, 140, 3):
        a, b = (concierge.features(pair.prompt, reply) for reply in pair[1:])
        about = {"right": "place", "wrong": "place", "fawning": "courtesy"}
        differing.append(
            {about.get(name, name) for name in a if a[name] != b[name]} - {"extra_word"}
        )
    assert all(1 <= len(names) <= 3 for names in differing)
    everything = set().union(*differing)
    assert everything >= {"place", "way", "courtesy", "hedge", "chatter", "rude"}
    for name in everything:
        assert sum(name in names for names in differing) >= 15, name


def test_contrasts_hold_all_else_equal():
    truth = concierge_pairs.truly_paid_for(concierge.true_reward, contrasts(HELD_OUT))
    expected = {
        "the right place, not a wrong one": 4,
        "directions": 1,
        "a greeting": 0.5,
        "a hedge": -0.5,
        "chatter": -0.5,
        "rudeness": -1.5,
    }
    for name, worth in expected.items():
        assert truth[name].tolist() == [worth] * len(HELD_OUT), name
    assert (truth["four closings, not one"] < 0).all()


def test_what_a_reward_pays_is_the_same_for_texts_and_tokens():
    pairs_of = contrasts(HELD_OUT)
    texts = concierge_pairs.truly_paid_for(concierge.true_reward, pairs_of)
    tokens = concierge_pairs.paid_for(concierge.true_rewards(), pairs_of)
    for name in texts:
        assert np.allclose(texts[name], tokens[name])


def test_the_committed_pairs_and_labels_are_made_as_the_lesson_says():
    folder = Path(__file__).parents[2] / "notebooks" / "labels"
    pairs = preferences.load_pairs(folder / "07_pairs.jsonl")
    assert pairs == designed_pairs(TRAIN, 30, seed=0)
    labels = preferences.LabelFile(folder / "07_simulated.jsonl", pairs).labels
    human = preferences.Labeller(concierge.true_reward, temperature=0.5)
    assert labels == dict(enumerate(human.label(pairs, seed=0)))
