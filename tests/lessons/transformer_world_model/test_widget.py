"""The widget of lesson 12: keys, buttons, comparing, a page without a kernel."""

import numpy as np
import pytest
import torch

from course_lib.lessons.transformer_world_model import widget as widgets
from course_lib.lessons.transformer_world_model.widget import DreamGame
from course_lib.rl.envs import make
from course_lib.world_models.world_model import Config, Prediction, WorldModel

VIEW = "application/vnd.jupyter.widget-view+json"


class Fake:
    """Dreams by a rule: ``frames`` one after the other, the last of them an end if ``ends``."""

    config, obs_shape, num_actions = Config(), (4, 10, 10), 3

    def __init__(self, frames, ends=False):
        self.frames, self.ends = list(frames), ends
        self.heat = []

    def start(self, obs, actions, same_episode=None):
        assert obs.dtype == torch.uint8 and actions.dtype == torch.int64
        self.seen = obs.shape, actions.shape
        self.place = 0
        return "memory"

    def step(self, memory, obs, actions, generator=None, temperature=1.0):
        assert memory == "memory" and obs.shape == (1, 4, 10, 10) and actions.shape == (1,)
        self.heat.append(temperature)
        frame = torch.as_tensor(self.frames[min(self.place, len(self.frames) - 1)])[None]
        self.place += 1
        over = torch.tensor([self.ends and self.place == len(self.frames)])
        one = torch.ones(1)
        return Prediction(frame, one, over, over.float(), one, one, frame.float())


def truth(seed, actions):
    """What the real game of a `DreamGame` of that seed shows after each of the actions."""
    game = DreamGame(Fake([np.zeros((4, 10, 10), np.uint8)]), seed=seed, prelude=0)
    frames = []
    for action in actions:
        game.press(action)
        frames.append(game.real)
    return frames


@pytest.fixture
def perfect():
    """A game whose dream is right at every step."""
    return DreamGame(Fake(truth(0, ["left"] * 6)), prelude=0)


def test_both_start_from_one_real_state(perfect):
    assert np.array_equal(perfect.real, perfect.dream) and perfect.truth() == 1
    assert perfect.model.seen == ((1, 0, 4, 10, 10), (1, 0))
    assert perfect.status() == "Both start from the same real state."
    assert "ball at row" in repr(perfect) and "bricks" in repr(perfect)


def test_a_true_dream_is_told_true(perfect):
    for count in range(1, 5):
        perfect.press("left")
        assert perfect.truth() == 1 and not perfect.view()["wrong"]
        assert perfect.status() == f"All {count} dreamed frames so far are exactly right."


def test_a_false_dream_is_found_out():
    frames = truth(0, ["stay"] * 3)
    ghost = frames[1].copy()
    ghost[1, 9, 9] = 1
    game = DreamGame(Fake([frames[0], ghost, frames[2]]), prelude=0)
    for _ in range(3):
        game.press("stay")
        if game.steps == 2:
            assert game.view()["wrong"] == [99] and game.truth() == 0.99
            assert "ball at row" in game.words(game.dream) and " and row 9, column 9" in repr(game)
    assert game.status() == (
        "2 of 3 dreamed frames are exactly right; the first wrong one was frame 2."
    )


def test_one_world_ends_before_the_other_and_then_all_begins_anew():
    frames = truth(0, ["stay"] * 2)
    game = DreamGame(Fake(frames, ends=True), prelude=0)
    start = game.real.copy()
    game.press("stay")
    game.press("stay")
    assert game.over == {"real": False, "dream": True}
    assert "The dream says that the game is over; the real game goes on." in game.status()
    last, compared = game.dream.copy(), game.compared
    for _ in range(200):
        game.press("right")
        if game.over["real"]:
            break
        assert np.array_equal(game.dream, last) and game.compared == compared
    assert "Both say that the game is over." in game.status()
    game.press("stay")
    assert game.steps == 0 and game.view()["score"] == {"real": "0", "dream": "0"}
    assert not any(game.over.values()) and not np.array_equal(game.real, start)


def test_chance_concerns_both_worlds(perfect):
    perfect.press("left")
    perfect.chance(True)
    assert perfect.steps == 0 and perfect.view()["chance"] is True
    perfect.press("left")
    assert perfect.model.heat == [0.0, 1.0]


def test_the_same_seed_begins_alike_and_every_start_is_another():
    blank = [np.zeros((4, 10, 10), np.uint8)]
    one, two = DreamGame(Fake(blank), seed=3), DreamGame(Fake(blank), seed=3)
    assert np.array_equal(one.real, two.real)
    starts, read = set(), set()
    for _ in range(8):
        starts.add(one.real.tobytes())
        read.add(one.model.seen)
        one.reset()
    assert len(starts) > 3
    assert ((1, 3, 4, 10, 10), (1, 3)) in read, "the model reads the steps before the dream"


def test_a_real_model_dreams_on_beyond_its_context():
    model = WorldModel(Config(context=8), (4, 10, 10), 3)
    game = DreamGame(model)
    for i in range(40):
        game.press(game.actions[i % 3])
    assert game.steps > 0 and game.dream.dtype == np.uint8


@pytest.mark.parametrize("name", widgets.ACTIONS)
def test_actions_are_those_of_the_game(name):
    envs = make(name, num_envs=1)
    assert len(widgets.ACTIONS[name]) == envs.num_actions
    letters = {"n": "stay", "l": "left", "u": "up", "r": "right", "d": "down", "f": "fire"}
    game = envs._backend._games[0]
    assert widgets.ACTIONS[name] == tuple(
        letters[game.action_map[i]] for i in game.minimal_action_set()
    )
    model = WorldModel(Config(context=4), envs.obs_shape, envs.num_actions)
    other = DreamGame(model, name, prelude=2)
    other.press(widgets.ACTIONS[name][-1])
    assert set(np.ravel(other.view()["cells"]["real"])) <= set(range(envs.obs_shape[0] + 1))


def test_keys_and_buttons_end_in_python(perfect):
    box = perfect.widget()
    send = lambda action, press: box._handle_custom_msg({"action": action, "press": press}, [])  # noqa: E731
    assert box.view["press"] == 0 and len(box.view["cells"]["dream"]) == 100
    send("left", 1)
    assert box.view["press"] == 1 and box.view["steps"] == 1
    send("nonsense", 2)  # nothing happens, and the front end is told so
    assert box.view["press"] == 2 and box.view["steps"] == 1
    send("chance", 3)
    assert box.view["chance"] is True and box.view["steps"] == 0
    send("left", 4)
    send("reset", 5)
    assert box.view["steps"] == 0 and box.view["press"] == 5


def test_errors_are_sentences(perfect):
    with pytest.raises(ValueError, match="action must be one of stay, left, right, got 'up'"):
        perfect.press("up")
    with pytest.raises(ValueError, match=r"game must be one of MinAtar/Breakout, .*got 'Pong'"):
        DreamGame(perfect.model, "Pong")
    with pytest.raises(ValueError, match="prelude must not be negative, got -1"):
        DreamGame(perfect.model, prelude=-1)


def test_wrong_cells_are_crossed_in_the_picture(perfect):
    perfect.dream = perfect.dream.copy()
    right = perfect.picture()
    perfect.dream[0, 0, 0] ^= 1
    wrong = perfect.picture()
    assert right.shape == (160, 336, 3) and right.dtype == np.uint8
    changed = np.argwhere((right != wrong).any(-1))
    assert changed.min(0).tolist() == [0, 176] and changed.max(0).tolist() == [15, 191]


def test_the_stored_output_is_a_clip_and_words():
    model = WorldModel(Config(context=8), (4, 10, 10), 3)
    shown = widgets.play(model)
    stored = shown._repr_mimebundle_()
    assert stored[VIEW]["model_id"]
    assert "Recorded clip" in stored["text/plain"] and "Both start" in stored["text/plain"]
    page = stored["text/html"]
    assert "<video autoplay controls" in page and "data:video/mp4;base64," in page
    assert 'alt="' in page or "alt='" in page
    assert "Run this cell to play yourself." in page and len(page) < 400_000
    assert shown.game.steps == 0, "the clip is of another game"


def test_the_rule_plays_on():
    game = DreamGame(Fake([np.zeros((4, 10, 10), np.uint8)]), prelude=0)
    rng = np.random.default_rng(0)
    for _ in range(60):
        game.press(game.actions[int(widgets.by_rule(game.game, game.real[None], rng)[0])])
    assert game.score["real"] > 3 and not game.over["real"]
    assert widgets.by_rule("MinAtar/Freeway", np.zeros((5, 7, 10, 10)), rng).max() < 3
