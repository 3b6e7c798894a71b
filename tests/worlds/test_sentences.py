"""Every sentence means what stands beside it, and no row of questions gives away another's answer.

Ground truth: a reader of its own, which knows each word and has nothing of the module's templates,
and counts worked out by hand.
"""

import re
from collections import Counter

import pytest

from course_lib.worlds import sentences
from course_lib.worlds.sentences import Command, Goal

COLOURS = {
    "red": "red crimson scarlet tomato",
    "green": "green emerald olive grass",
    "blue": "blue azure navy sky",
    "purple": "purple violet lilac",
    "yellow": "yellow golden lemon",
    "grey": "grey silver ashen",
}
KINDS = {
    "key": "key keys passkey latchkey locks",
    "ball": "ball sphere orb bounces round",
    "box": "box crate chest parcel container carton",
    "door": "door gate doorway way",
}
# Opening is looked for first: one may "get the box open".
VERBS = {
    "open": r"open|unlock|unseal|look inside|undo|show me what is in|let some air|peek into",
    "pick up": r"pick up|take|get|lift|grab|fetch|collect|seize|bring|hand me|carry",
    "go to": r"go to|walk|head for|go over|approach|travel|visit|move towards|closer look|wait|"
    r"stand next to|go there",
}
FRAME_WORDS = "go to the walk up head for please over pick take get lift open"
TRAINED_WORDS = {*FRAME_WORDS.split(), *COLOURS, *KINDS}
BY_COUNT = {
    "seen": 180,
    "paraphrase": 180,
    "new verb": 180,
    "held-out pair": 36,
    "colour synonym": 90,
    "kind synonym": 90,
    "both synonyms": 180,
    "negation": 90,
    "relation": 70,
    "free words": 12,
    "blank": 45,
    "shuffled": 180,
}
AS_WRITTEN = ("seen", "paraphrase", "new verb", "held-out pair", "free words")
SYNONYMS = ("colour synonym", "kind synonym", "both synonyms")
ROWS = sentences.rows()


def said(sentence):
    return re.findall(r"[a-z]+", sentence)


def mentioned(sentence, lexicon):
    """Names of the lexicon, in the order in which the sentence speaks of them."""
    name = {word: name for name, words in lexicon.items() for word in words.split()}
    return [name[word] for word in said(sentence) if word in name]


def verb(sentence):
    return next(name for name, words in VERBS.items() if re.search(rf"\b({words})\b", sentence))


def without(sentence, words):
    """The sentence with a gap for each of these words."""
    return " ".join("_" if word in words else word for word in sentence.split())


def read(sentence):
    (colour,), (kind,) = mentioned(sentence, COLOURS), mentioned(sentence, KINDS)
    return Goal(verb(sentence), colour, kind)


# --- goals and training -------------------------------------------------------------------------


def test_there_are_54_goals_each_with_its_number():
    assert len(sentences.GOALS) == len(set(sentences.GOALS)) == 54 == 6 * (2 + 2 + 3 + 2)
    per_verb = Counter(goal.verb for goal in sentences.GOALS)
    assert per_verb == {"go to": 24, "pick up": 18, "open": 12}
    assert not {("pick up", "door"), ("open", "key"), ("open", "ball")} & {
        (goal.verb, goal.kind) for goal in sentences.GOALS
    }
    assert [sentences.NUMBER[goal] for goal in sentences.GOALS] == list(range(54))
    assert Goal("open", "red", "box").thing == ("red", "box")


def test_training_has_four_sentences_for_each_goal_but_those_held_out():
    training = sentences.training()
    assert len(training) == len({c.sentence for c in training}) == 180
    # Red boxes had three verbs, blue balls, green keys and yellow doors two: 54 - 9 goals.
    per_goal = Counter(command.goal for command in training)
    assert len(per_goal) == 45 and set(per_goal.values()) == {4}
    held_out = {("red", "box"), ("blue", "ball"), ("green", "key"), ("yellow", "door")}
    assert set(sentences.HELD_OUT) == held_out
    assert {goal.thing for goal in sentences.GOALS} - {goal.thing for goal in per_goal} == held_out
    assert {word for c in training for word in said(c.sentence)} == TRAINED_WORDS
    assert all(command.other is None and not command.beside for command in training)


def test_a_part_of_training_can_be_asked_for():
    some = sentences.training(("open",), ("door",), templates=2)
    assert some[:2] == [
        Command("open the red door", Goal("open", "red", "door")),
        Command("open up the red door", Goal("open", "red", "door")),
    ]
    assert len(some) == 2 * 5 and "yellow" not in {command.goal.colour for command in some}
    assert len(sentences.training(("go to", "pick up"), ("key", "ball"), 1)) == 2 * (5 + 5)


@pytest.mark.parametrize(
    "arguments", [(("pick up",), ("door",), 4), (("eat",),), (("open",), ("box",), 5), ((), (), 0)]
)
def test_training_that_would_be_empty_is_refused(arguments):
    with pytest.raises(ValueError, match=r"no sentence fits verbs .*, templates \d: verbs are"):
        sentences.training(*arguments)


# --- rows ---------------------------------------------------------------------------------------


def test_rows_are_as_long_as_goals_times_words():
    assert {name: len(row) for name, row in ROWS.items()} == BY_COUNT
    assert all(c.goal in sentences.NUMBER for row in ROWS.values() for c in row)


@pytest.mark.parametrize("row", [*AS_WRITTEN, *SYNONYMS])
def test_every_goal_is_what_the_sentence_says(row):
    for command in ROWS[row]:
        assert read(command.sentence) == command.goal, command
        assert command.other is None and not command.beside


def test_no_question_was_trained_on_and_none_is_asked_twice():
    trained = {command.sentence for command in ROWS["seen"]}
    assert ROWS["seen"] == sentences.training()
    met = set()
    for name in set(ROWS) - {"seen", "shuffled", "blank", "negation", "relation"}:
        row = {command.sentence for command in ROWS[name]}
        assert len(row) == len(ROWS[name]), name
        assert not row & (trained | met), name
        met |= row
    for name in ("blank", "negation", "relation"):
        assert not {command.sentence for command in ROWS[name]} & (trained | met), name


def test_only_held_out_pairs_ask_for_held_out_pairs_and_in_sentences_of_training():
    for name in set(ROWS) - {"held-out pair", "free words"}:
        assert not {c.goal.thing for c in ROWS[name]} & set(sentences.HELD_OUT), name
    assert {c.goal.thing for c in ROWS["held-out pair"]} == set(sentences.HELD_OUT)
    names = {*COLOURS, *KINDS}
    frames, held_out = (
        {without(c.sentence, names) for c in ROWS[name]} for name in ("seen", "held-out pair")
    )
    assert held_out == frames and len(frames) == 12


def test_a_paraphrase_is_a_new_frame_for_a_trained_verb():
    names = {*COLOURS, *KINDS}
    frames = {without(c.sentence, names) for c in ROWS["seen"]}
    for command in ROWS["paraphrase"]:
        assert without(command.sentence.strip("?"), names) not in frames
        assert set(said(command.sentence)) - TRAINED_WORDS, "some word around it is new"
    # Among the new words there is no verb that the row "new verb" asks about.
    asked = {word for c in ROWS["new verb"] for word in said(c.sentence)} - TRAINED_WORDS
    around = {word for c in ROWS["paraphrase"] for word in said(c.sentence)} - TRAINED_WORDS
    assert not asked & around


def test_a_new_verb_is_all_that_is_new_about_its_sentence():
    trained = {"go", "walk", "head", "pick", "take", "get", "lift", "open"}
    for command in ROWS["new verb"]:
        assert not set(said(command.sentence)) & trained
        assert command.sentence.endswith(f" the {command.goal.colour} {command.goal.kind}")
    assert len({said(c.sentence)[0] for c in ROWS["new verb"]}) == 12


def test_a_synonym_changes_its_word_and_no_other():
    for name in SYNONYMS:
        for command in ROWS[name]:
            verb, colour, kind = command.goal
            *frame, its_colour, its_kind = said(command.sentence)
            assert frame == [*said(verb), "the"]
            assert (its_colour in TRAINED_WORDS) == (name == "kind synonym")
            assert (its_kind in TRAINED_WORDS) == (name == "colour synonym")
            assert its_colour in COLOURS[colour].split() and its_kind in KINDS[kind].split()
    words = [*sentences.COLOUR_SYNONYMS.values(), *sentences.KIND_SYNONYMS.values()]
    flat = [word for pair in words for word in pair]
    assert len(flat) == len(set(flat)) == 2 * 10, "two words for each, none for two"


def test_negation_names_the_colour_that_is_not_meant():
    for command in ROWS["negation"]:
        (colour,), (kind,) = (
            mentioned(command.sentence, COLOURS),
            mentioned(command.sentence, KINDS),
        )
        assert "that is not" in command.sentence
        assert command.other == (colour, kind) and not command.beside
        assert (verb(command.sentence), kind) == (command.goal.verb, command.goal.kind)
        assert colour != command.goal.colour and command.other not in sentences.HELD_OUT


def test_a_relation_names_the_target_and_what_stands_beside_it():
    for command in ROWS["relation"]:
        what, beside = command.sentence.split(" next to ")
        assert read(what) == command.goal and command.beside
        (colour,), (kind,) = mentioned(beside, COLOURS), mentioned(beside, KINDS)
        assert command.other == (colour, kind) not in sentences.HELD_OUT
        assert colour != command.goal.colour and kind != command.goal.kind
        assert "door" not in (kind, command.goal.kind)


def test_blank_says_nothing_and_shuffled_the_wrong_thing():
    assert {c.sentence for c in ROWS["blank"]} == {sentences.BLANK}
    assert len({c.goal for c in ROWS["blank"]}) == 45
    assert not {*said(sentences.BLANK)} & TRAINED_WORDS
    seen, shuffled = ROWS["seen"], ROWS["shuffled"]
    assert Counter(c.sentence for c in seen) == Counter(c.sentence for c in shuffled)
    assert [c.goal for c in seen] == [c.goal for c in shuffled]
    right = sum(read(c.sentence) == c.goal for c in shuffled)
    assert right <= 16, "by chance 180 / 45 = 4 in the mean"


def test_free_words_ask_for_many_things_in_words_of_their_own():
    goals = [command.goal for command in ROWS["free words"]]
    assert len(set(goals)) == 12
    assert {g.verb for g in goals} == {*sentences.VERBS} and {g.kind for g in goals} == {*KINDS}
    assert {g.colour for g in goals} == {*COLOURS}
    plain = {*COLOURS, *KINDS}
    assert all(len(plain & set(said(c.sentence))) <= 1 for c in ROWS["free words"])


def test_a_seed_draws_what_is_put_together_and_nothing_else():
    assert sentences.rows(0) == ROWS
    other = sentences.rows(1)
    changed = {name for name, row in other.items() if row != ROWS[name]}
    assert changed == {"negation", "relation", "shuffled"}
