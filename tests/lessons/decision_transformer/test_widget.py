"""The widget of lesson 13: what it plays, what it writes down, what it shows without a kernel."""

import numpy as np
import pytest

from course_lib.agents import decision_transformer
from course_lib.lessons.decision_transformer import figures, widget as widgets
from course_lib.lessons.decision_transformer.widget import ReturnAsker
from course_lib.rl.envs import make

VIEW = "application/vnd.jupyter.widget-view+json"
CONFIG = decision_transformer.Config(context=2, layers=1, width=16, heads=2, channels=4)
RUNS = [{"got": {"0": 1.0 + i, "10": 6.0 + i}, "got_greedy": {"0": 9.0, "10": 9.5}} for i in (0, 1)]


@pytest.fixture
def asker(monkeypatch):
    monkeypatch.setattr(figures, "committed_result", lambda name: {"runs": RUNS})
    model = decision_transformer.DecisionTransformer((4, 10, 10), 3, CONFIG)
    return ReturnAsker(model, games=3)


def test_it_plays_what_is_asked_for_and_writes_it_down(asker, monkeypatch):
    asked = []

    def play(model, envs, target, episodes, seed):
        asked.append((target, episodes, envs.num_envs, seed))
        return np.full(episodes, target / 2) + np.arange(episodes)

    monkeypatch.setattr(decision_transformer, "play", play)
    asker.set(asked=8)
    words = asker.play()
    assert words == "Asked for 8 in 3 games: got 5.0 on average, from 4 to 6."
    asker.play()
    asker.set(asked=2)
    asker.play()
    assert asker.got() == {2.0: 2.0, 8.0: 5.0}
    assert [(target, n, envs) for target, n, envs, _ in asked] == [(8, 3, 3), (8, 3, 3), (2, 3, 3)]
    assert len({seed for *_, seed in asked}) == 3, "each press plays other games"
    assert asker.as_html().count("<tr>") == 4


def test_the_games_are_those_of_the_library_and_a_seed_repeats_them(asker):
    asker.play()
    again = ReturnAsker(asker.model, games=3)
    again.play()
    assert np.array_equal(asker.log[0].returns, again.log[0].returns)
    other = ReturnAsker(asker.model, games=3, seed=1)
    other.play()
    seed = int(np.random.SeedSequence((1, 0, 13)).generate_state(1)[0])
    envs = make("MinAtar/Breakout", 3, seed=seed)
    right = decision_transformer.play(asker.model, envs, 6.0, 3, seed=seed)
    assert np.array_equal(other.log[0].returns, right)


def test_the_button_adds_a_point_to_the_picture(asker):
    box = asker.widget()
    slider, row, image, page = box.children
    assert (slider.min, slider.max) == widgets.LIMITS["asked"]
    slider.value = 12
    before = image.value
    (button,) = row.children
    assert button.description == "Play"
    button.click()
    assert asker.asked == 12 and len(asker.log) == 1
    assert bytes(image.value) != bytes(before) and "Asked for 12 in 3 games" in page.value
    points = [line for line in asker.figure().axes[0].lines if line.get_marker() == "*"]
    assert points and list(points[0].get_xdata()) == [12]


def test_out_of_range_gets_a_sentence(asker):
    with pytest.raises(ValueError, match=r"asked must lie in \[0, 25\], got 30"):
        asker.set(asked=30)
    with pytest.raises(ValueError, match="games must be at least 1, got 0"):
        ReturnAsker(asker.model, games=0)


def test_the_stored_output_reads_well_without_a_kernel(asker):
    stored = asker._repr_mimebundle_()
    assert stored[VIEW]["model_id"] and stored["image/png"]
    assert stored["text/plain"] == "Nothing is asked for yet. Play asks for 6 in 3 games."
    assert "Run this cell to play." in stored["text/html"] and "table" not in stored["text/html"]


def test_the_notebook_s_name_for_it():
    assert widgets.ask_for_a_return is ReturnAsker
