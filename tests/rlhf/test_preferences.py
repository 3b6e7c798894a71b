"""Preferences: the simulated human's choices, pairs, and labels that survive a crash."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from course_lib.rlhf import preferences
from course_lib.rlhf.preferences import LabelFile, Labeller, Pair, make_pairs

PAIRS = [Pair(f"question {i}", f"first {i}", f"second {i}") for i in range(6)]


def by_length(prompt, reply):
    return float(len(reply.split()))


def worth(prompt, reply):
    return {"good": 2.0, "fair": 1.0, "bad": 0.0}[reply.split()[0]]


# --- Bradley and Terry -------------------------------------------------------------------------


def test_probability_by_hand():
    p = preferences.preference_probability
    assert p(1.0, 0.0) == pytest.approx(1 / (1 + math.exp(-1)))
    assert p(1.0, 0.0, temperature=2.0) == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert p(3.0, 3.0) == p(3.0, 3.0, temperature=0) == 0.5
    assert p(1.0, 0.0, temperature=0) == 1.0 and p(0.0, 1.0, temperature=0) == 0.0
    assert p(9.0, 0.0, temperature=0, flip=0.2) == pytest.approx(0.8)
    assert p(0.3, 1.7, 0.7, 0.1) + p(1.7, 0.3, 0.7, 0.1) == pytest.approx(1)
    assert p(1e6, 0.0) == 1.0 and p(-1e6, 0.0) == 0.0


def test_labels_follow_the_probability():
    pair = Pair("q", "good", "bad")
    for labeller in (
        Labeller(worth, temperature=2.0),
        Labeller(worth, temperature=0, flip=0.3),
        Labeller(worth, temperature=1.0, length_bias=0.5),
    ):
        labels = labeller.label([pair] * 20_000, seed=0)
        assert set(labels) == {0.0, 1.0}
        assert np.mean(labels) == pytest.approx(labeller.probability(pair), abs=0.015)


def test_labels_repeat_with_the_seed_and_only_with_it():
    labeller = Labeller(worth, temperature=2.0)
    pairs = [Pair("q", "good", "bad")] * 50
    assert labeller.label(pairs, 3) == labeller.label(pairs, 3) != labeller.label(pairs, 4)


def test_a_careful_labeller_is_always_right_and_calls_equal_ones_a_coin():
    careful = Labeller(worth, temperature=0)
    assert careful.label([Pair("q", "good", "bad"), Pair("q", "bad", "fair")], 0) == [1, 0]
    assert np.mean(careful.label([Pair("q", "good", "good x")] * 4000, 0)) == pytest.approx(
        0.5, abs=0.04
    )


def test_ties_within_the_margin():
    labeller = Labeller(worth, temperature=0, tie_margin=1.5)
    pairs = [Pair("q", "good", "fair"), Pair("q", "bad", "fair"), Pair("q", "good", "bad")]
    assert labeller.label(pairs, 0) == [0.5, 0.5, 1.0]


def test_length_bias_is_per_word():
    labeller = Labeller(worth, temperature=0, length_bias=0.5)
    assert labeller.worth("q", "bad and so on and on") == 3.0
    assert labeller.label([Pair("q", "good", "bad and so on and on")], 0) == [0.0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"temperature": -1.0}, "temperature must not be negative, got -1"),
        ({"tie_margin": -0.1}, "must not be negative"),
        ({"flip": 1.2}, r"flip must lie in \[0, 1\], got 1.2"),
    ],
)
def test_settings_that_make_no_sense(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Labeller(worth, **settings)


# --- Pairs -------------------------------------------------------------------------------------


def test_pairs_are_different_replies_to_one_prompt_and_never_twice():
    prompts = [f"q{i}" for i in range(5)]
    replies = [[f"{p} {word}" for word in "abcda"] for p in prompts]  # "a" twice
    pairs = make_pairs(prompts, replies, 30, seed=0)
    assert len({(pair.prompt, frozenset(pair[1:])) for pair in pairs}) == 30  # all there are
    for pair in pairs:
        assert pair.a != pair.b
        assert pair.a.startswith(pair.prompt) and pair.b.startswith(pair.prompt)


def test_pairs_are_spread_over_prompts_and_sides():
    prompts = [f"q{i}" for i in range(10)]
    pairs = make_pairs(prompts, [list("abcdefgh")] * 10, 200, seed=1)
    counts = [sum(pair.prompt == prompt for pair in pairs) for prompt in prompts]
    assert set(counts) == {20}
    assert 0.35 < np.mean([pair.a < pair.b for pair in pairs]) < 0.65
    assert pairs == make_pairs(prompts, [list("abcdefgh")] * 10, 200, seed=1)
    assert pairs != make_pairs(prompts, [list("abcdefgh")] * 10, 200, seed=2)


def test_too_few_replies_get_a_sentence():
    with pytest.raises(ValueError, match="make 1 different pairs, fewer than 2"):
        make_pairs(["q", "q"], [["a", "b"], ["b", "a"]], 2, seed=0)
    with pytest.raises(ValueError, match="got 1 prompts but 2 lists of replies"):
        make_pairs(["q"], [["a", "b"], ["c", "d"]], 1, seed=0)


def test_pairs_keep_their_text_on_disk(tmp_path):
    pairs = [Pair("où ?", 'say "yes"', "no\nmore"), Pair("b", "c", "d")]
    preferences.save_pairs(tmp_path / "pairs.jsonl", pairs)
    assert preferences.load_pairs(tmp_path / "pairs.jsonl") == pairs
    (tmp_path / "other.jsonl").write_text("[1]\n")
    with pytest.raises(ValueError, match="was not written by `save_pairs`"):
        preferences.load_pairs(tmp_path / "other.jsonl")


# --- Labels on disk ----------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "labels.jsonl"


def test_labels_are_there_for_the_next_kernel(path):
    file = LabelFile(path, PAIRS)
    assert not path.exists(), "looking writes nothing"
    for pair, share in ((2, 1.0), (0, 0.0), (5, 0.5)):
        file.add(pair, share)
        assert LabelFile(path, PAIRS).labels == file.labels
    assert file.labels == {2: 1.0, 0: 0.0, 5: 0.5}
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_undo_takes_back_the_latest_and_is_itself_a_record(path):
    file = LabelFile(path, PAIRS)
    assert file.undo() is None and not path.exists()
    file.add(0, 1.0)
    file.add(1, 0.0)
    before = path.read_bytes()
    assert file.undo() == 1
    assert path.read_bytes().startswith(before), "the file only grows"
    again = LabelFile(path, PAIRS)
    assert again.labels == file.labels == {0: 1.0}
    again.add(1, 0.5)
    assert LabelFile(path, PAIRS).labels == {0: 1.0, 1: 0.5}
    assert [again.undo(), again.undo(), again.undo()] == [1, 0, None]


def test_a_pair_labelled_anew_is_the_latest(path):
    file = LabelFile(path, PAIRS)
    for pair, share in ((0, 1.0), (1, 1.0), (0, 0.0)):
        file.add(pair, share)
    assert file.labels == LabelFile(path, PAIRS).labels == {1: 1.0, 0: 0.0}
    assert list(LabelFile(path, PAIRS).labels) == [1, 0]
    assert file.undo() == 0


def test_a_crash_at_any_byte_loses_no_label_that_was_complete(path):
    file = LabelFile(path, PAIRS)
    complete = {0: {}}  # bytes of the file after each record: the labels until then
    for step in ((0, 1.0), (1, 0.5), None, (2, 0.0), (0, 0.5)):
        file.undo() if step is None else file.add(*step)
        complete[path.stat().st_size] = file.labels
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        survived = complete[max(size for size in complete if size <= cut)]
        again = LabelFile(path, PAIRS)
        assert again.labels == survived, cut
        assert path.read_bytes() == whole[:cut], "reading changes nothing"
        again.add(4, 1.0)  # and work goes on
        assert LabelFile(path, PAIRS).labels == {**survived, 4: 1.0}, cut


def test_two_programs_may_write_in_turns(path):
    one, other = LabelFile(path, PAIRS), LabelFile(path, PAIRS)
    one.add(0, 1.0)
    other.add(1, 0.0)
    one.add(2, 0.5)
    assert LabelFile(path, PAIRS).labels == {0: 1.0, 1: 0.0, 2: 0.5}
    assert other.undo() == 2


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (1, "{half"),
        (2, "not json"),
        (2, '{"pair": 0}'),
        (2, "7"),
        (2, '{"undo": 3}'),
        (3, "\x00\x00\x00"),
    ],
)
def test_a_damaged_file_is_named_with_its_line_and_left_alone(path, line, text):
    file = LabelFile(path, PAIRS)
    for pair in range(4):
        file.add(pair, 1.0)
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines) + "\n")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"line {line} of .* is damaged .*Nothing was changed"):
        LabelFile(path, PAIRS)
    assert path.read_bytes() == before


def test_labels_for_other_pairs_are_refused_and_left_alone(path):
    LabelFile(path, PAIRS).add(0, 1.0)
    before = path.read_bytes()
    for others in (PAIRS[:-1], [Pair("q", "a", "b"), *PAIRS[1:]], PAIRS[::-1]):
        with pytest.raises(ValueError, match=r"given for other pairs .* begin anew"):
            LabelFile(path, others)
    assert path.read_bytes() == before
    path.write_text('{"name": "something else"}\n')
    with pytest.raises(ValueError, match="holds no labels"):
        LabelFile(path, PAIRS)


@pytest.mark.parametrize(
    ("pair", "share", "sentence"),
    [
        (6, 1.0, r"pair must lie in \[0, 5\], got 6"),
        (-1, 1.0, "pair must lie in"),
        (0, 0.3, "share must be 0, 0.5 or 1, got 0.3"),
        (0, math.nan, "share must be"),
    ],
)
def test_labels_that_make_no_sense(path, pair, share, sentence):
    file = LabelFile(path, PAIRS)
    with pytest.raises(ValueError, match=sentence):
        file.add(pair, share)
    assert not path.exists()


LABEL_FOR_EVER = """
import sys
from course_lib.rlhf.preferences import LabelFile, Pair
pairs = [Pair(f"question {i}", "a", "b") for i in range(100_000)]
file = LabelFile(sys.argv[1], pairs)
for i in range(len(file.labels), 100_000):
    file.add(i, 1.0)
    print(i, flush=True)
"""


def test_a_killed_process_loses_no_label_that_it_had_reported(path):
    pairs = [Pair(f"question {i}", "a", "b") for i in range(100_000)]
    for kill in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", LABEL_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(5 + 3 * kill):
            assert process.stdout.readline()
        time.sleep(0.003 * kill)
        os.kill(process.pid, signal.SIGKILL)
        reported = [int(line) for line in process.stdout.read().split()]
        process.wait()
        labels = LabelFile(path, pairs).labels
        assert len(labels) > (reported[-1] if reported else 0)
        assert list(labels) == list(range(len(labels))), "and none twice or out of order"


def test_every_pair_can_be_labelled_every_way(path):
    for share, pair in itertools.product(preferences.SHARES, range(len(PAIRS))):
        LabelFile(path, PAIRS).add(pair, share)
    assert LabelFile(path, PAIRS).labels == dict.fromkeys(range(6), 1.0)
