"""The widget of lesson 07: choosing, undo, going on after a restart, a kernel that is killed."""

import json
import os
import signal
import time

import numpy as np
import pytest
from matplotlib.figure import Figure

from course_lib.lessons.reward_models import widget as widgets
from course_lib.lessons.reward_models.widget import ENOUGH, Labelling
from course_lib.rlhf.preferences import LabelFile, Pair

VIEW = "application/vnd.jupyter.widget-view+json"
PAIRS = [Pair(f"where is room {i} ?", f"first {i} .", f"second <b> {i} .") for i in range(12)]
SIMULATED = dict.fromkeys(range(12), 0.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine" / "07.jsonl"


@pytest.fixture
def session(path):
    return Labelling(PAIRS, path, SIMULATED)


def side_of_a(session):
    number = session.current()
    return "left" if session.sides(number)[0] == PAIRS[number].a else "right"


def test_untouched_it_writes_nothing_and_trains_on_the_simulated_labels(session, path):
    repr(session), session.as_html(), session.widget()
    assert not path.exists()
    assert session.training_set() == (PAIRS, [0.0] * 12)
    assert "12 labels by a simulated human. You have given none yet" in session.whose()
    assert session.status() == "0 of 12 labelled"


def test_a_label_says_which_reply_whatever_its_side(session, path):
    other = {"left": "right", "right": "left"}
    for wanted in (1.0, 0.0, 0.5) * 4:
        choice = "tie" if wanted == 0.5 else side_of_a(session)
        session.choose(other[choice] if wanted == 0.0 else choice)
        assert list(LabelFile(path, PAIRS).labels.values())[-1] == wanted
    assert session.current() is None
    assert "All 12 pairs are labelled and saved" in session.status()
    session.choose("left")  # nothing left to label
    assert len(session.own) == 12


def test_sides_are_shuffled_and_the_same_after_a_restart(session, path):
    turned = [session.sides(i)[0] != pair.a for i, pair in enumerate(PAIRS)]
    assert 3 <= sum(turned) <= 9
    again = Labelling(PAIRS, path, SIMULATED)
    assert [again.sides(i) for i in range(12)] == [session.sides(i) for i in range(12)]


def test_undo_shows_the_pair_again_also_after_a_restart(session, path):
    session.choose("left")
    session.choose("tie")
    assert session.current() == 2
    assert session.undo() == "1 of 12 labelled, saved" and session.current() == 1
    again = Labelling(PAIRS, path, SIMULATED)
    again.undo()
    again.undo()  # nothing left to undo
    assert again.own == {} and again.current() == 0


def test_own_labels_are_used_from_ten_on(session):
    for _ in range(ENOUGH - 1):
        session.choose("tie")
    assert not session.uses_own() and session.training_set()[1] == [0.0] * 12
    assert "You have given 9 so far" in session.whose()
    session.choose("tie")
    assert session.training_set() == (PAIRS[:10], [0.5] * 10)
    assert session.whose() == "These are your own 10 labels."


def test_a_damaged_file_is_said_and_left_alone(session, path):
    session.choose("left")
    path.write_text("{}\nnonsense\n")
    broken = Labelling(PAIRS, path, SIMULATED)
    assert "holds no labels" in repr(broken) and "holds no labels" in broken.as_html()
    assert broken.view()["damaged"] and not broken.view()["open"]
    broken.choose("left")
    broken.undo()
    assert path.read_text() == "{}\nnonsense\n"
    assert broken.training_set() == (PAIRS, [0.0] * 12)


def test_errors_are_sentences(session):
    with pytest.raises(ValueError, match="choice must be one of left, right, tie, got 'up'"):
        session.choose("up")
    with pytest.raises(ValueError, match="a label for each of the 12 pairs, got 1"):
        Labelling(PAIRS, "labels.jsonl", {0: 1.0})


def test_buttons_and_keys_end_in_python(session):
    box = session.widget()
    send = lambda action, done: box._handle_custom_msg({"action": action, "done": done}, [])  # noqa: E731
    send("tie", 0)
    assert box.view["done"] == 1 and box.view["status"] == "1 of 12 labelled, saved"
    send("tie", 0)  # pressed twice before the next pair was there
    assert len(session.own) == 1
    send("undo", 1)
    assert session.own == {} and box.view["undo"] is False
    send("nonsense", 0)
    assert "choice must be one of" in box.view["status"]


def test_a_full_disk_is_said(session, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    box = session.widget()
    monkeypatch.setattr("course_lib.rlhf.preferences.os.fsync", full)
    box._handle_custom_msg({"action": "left", "done": 0}, [])
    assert "No space left" in box.view["status"]


def test_the_stored_output_reads_well_without_a_kernel(path):
    session = widgets.label_pairs(PAIRS, path, SIMULATED, note=lambda prompt: "(On the roof.)")
    stored = session._repr_mimebundle_()
    assert stored[VIEW]["model_id"]
    plain = stored["text/plain"]
    assert plain.startswith("A guest asks: Where is room 0? (On the roof.)\n  A (left):  ")
    assert "First 0." in plain and "Which reply is better? (0 of 12 labelled)" in plain
    assert "Second &lt;b&gt; 0." in stored["text/html"] and "Run this cell" in stored["text/html"]


def test_texts_are_shown_as_people_write_them():
    text = "hello . i am busy . you will find it . where is it ?"
    shown = "Hello. I am busy. You will find it. Where is it?"
    assert widgets.as_people_write(text) == shown


# --- Figures ---------------------------------------------------------------------------------


def test_values_are_drawn_with_their_range_and_the_truth():
    ax = Figure().subplots()
    paid = {"a greeting": np.array([1.0, 2.0, 6.0]), "rudeness": np.array([-1.0])}
    widgets.draw_values(paid, {"rudeness": -1.5, "a greeting": 0.5}, ax)
    assert [bar.get_width() for bar in ax.patches] == [3, -1]
    whisker = ax.collections[0].get_segments()[0]
    assert whisker[:, 0].tolist() == [1, 6]
    assert list(ax.lines[-2].get_xdata()) == [0.5, -1.5]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(paid)


def test_curves_show_means_and_ceilings():
    runs = [
        {"kind": "curve", "labeller": name, "labels": n, "seed": seed, "agreement": n / 100 + seed}
        for name in widgets.HUMANS
        for n in (10, 30)
        for seed in (0, 1)
    ]
    ax = Figure().subplots()
    measured = {"runs": runs, "ceilings": {"careful": 1.0, "noisy": 0.8, "long-winded": 0.7}}
    widgets.draw_label_curves(measured, "agreement", ax)
    assert ax.get_legend_handles_labels()[1] == list(widgets.HUMANS.values())
    drawn = [line.get_ydata() for line in ax.lines]
    assert any(np.allclose(y, [0.6, 0.8]) for y in drawn)
    flat = {float(y[0]) for y in drawn if len(y) == 2 and y[0] == y[1]}
    assert flat == {1.0, 0.8}


# --- A real kernel, killed ---------------------------------------------------------------------

SETUP = """
from course_lib.lessons.reward_models.widget import Labelling
from course_lib.rlhf.preferences import Pair
pairs = [Pair(f"where is room {{i}} ?", "a .", "b .") for i in range({total})]
session = Labelling(pairs, {path!r}, dict.fromkeys(range({total}), 0.0))
box = session.widget()
"""
PRESS = 'box._handle_custom_msg({"action": "left", "done": len(session.own)}, [])'


def test_killing_the_kernel_while_labelling_loses_no_saved_label(path):
    """The keys' own callback runs in a kernel, which then gets SIGKILL in the middle of it."""
    from jupyter_client import KernelManager

    total = 20_000
    pairs = [Pair(f"where is room {i} ?", "a .", "b .") for i in range(total)]
    said = 0
    for _ in range(2):
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel()
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            setup = SETUP.format(total=total, path=str(path))
            answer = client.execute_interactive(setup, timeout=60, output_hook=lambda _: None)
            assert answer["content"]["status"] == "ok", answer["content"]
            client.execute(f"for _ in range(10_000):\n    {PRESS}\n    print(len(session.own))")
            end = time.monotonic() + 20
            before = said
            while said < before + 20 and time.monotonic() < end:
                message = client.get_iopub_msg(timeout=20)
                if message["msg_type"] == "stream":
                    said = int(message["content"]["text"].split()[-1])
            os.kill(manager.provisioner.pid, signal.SIGKILL)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
        survived = LabelFile(path, pairs).labels
        assert said >= before + 20
        assert len(survived) >= said, "a label that was shown as saved is gone"
        assert list(survived) == list(range(len(survived)))
        said = len(survived)
    head, *lines = path.read_bytes().splitlines(keepends=True)
    assert json.loads(head)["kind"].startswith("preference labels") and len(lines) >= said
