"""Figures of lesson 12: what they draw, and what they count."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from course_lib.lessons.transformer_world_model import figures
from course_lib.rl.envs import Step, make
from course_lib.world_models.frame_tokenizer import FrameTokenizer
from course_lib.world_models.frames import FrameReplay, Recorder
from course_lib.world_models.imagination import Dream, from_replay
from course_lib.world_models.world_model import Config, WorldModel
from course_lib.worlds import breakout as truth


@pytest.fixture(scope="module")
def replay():
    rng = np.random.default_rng(0)
    envs = make("MinAtar/Breakout", num_envs=4, seed=0)
    replay = FrameReplay(4, envs.obs_shape, 40)
    Recorder(envs, replay).play(lambda obs: truth.follow_the_ball(obs, 0.1, rng), 40)
    return replay


class RealDream:
    """The real game behind the interface of a dream: its books are in order."""

    horizon, num_envs, num_actions = 12, 32, 3

    def __init__(self, tell=lambda step: step):
        self.tell = tell
        self.envs = make("MinAtar/Breakout", num_envs=32, seed=0)

    def reset(self):
        self.alive = np.ones(32, bool)
        self.envs = make("MinAtar/Breakout", num_envs=32, seed=0)
        return self.envs.reset()

    def step(self, actions):
        step = self.envs.step(actions)
        valid, self.alive = self.alive, self.alive & ~step.terminated
        return self.tell(step._replace(valid=valid))


def test_a_real_game_keeps_its_books():
    assert figures.audit(RealDream(), batches=1) == dict.fromkeys(figures.BOOKS, 0.0)
    assert figures.kept_whole(RealDream())[:5] == pytest.approx(1)


def test_false_books_are_found_out():
    never = figures.audit(RealDream(lambda s: s._replace(terminated=s.terminated & False)), 1)
    assert never["lost"] == 1 and never["ended"] == 0
    always = figures.audit(RealDream(lambda s: s._replace(rewards=s.rewards + 1)), 1)
    assert always["paid"] > 0.5 and always["unpaid"] == 0
    poor = figures.audit(RealDream(lambda s: s._replace(rewards=s.rewards * 0)), 1)
    assert poor["unpaid"] == 1


def test_ghosts_are_counted():
    def haunted(step: Step) -> Step:
        step.obs[:16, 1, 0, 0] = step.obs[:16, 1, 0, 9] = 1
        return step

    assert figures.kept_whole(RealDream(haunted))[0] == pytest.approx(0.5)


def test_a_model_that_knows_nothing_foretells_nothing():
    model = WorldModel(Config(), (4, 10, 10), 3)
    assert figures.foretold(model, lambda obs: np.zeros(len(obs), int), steps=5, games=8) == 0


def test_a_frame_of_probabilities_is_half_bright():
    frame = np.zeros((4, 10, 10))
    frame[1, 2, 3], frame[1, 2, 5] = 1.0, 0.5
    ax = figures.draw_frame(frame, Figure().subplots(), "title")
    picture = ax.images[0].get_array()
    full, half, none = picture[2, 3], picture[2, 5], picture[0, 0]
    assert np.allclose(half, (full + none) / 2) and ax.get_title() == "title"


def test_each_patch_carries_its_token(replay):
    tokenizer = FrameTokenizer.fit(replay.obs.flatten(0, 1)[:40])
    ax = figures.draw_tokens(replay.obs[0, 5], tokenizer, Figure().subplots())
    assert [int(text.get_text()) for text in ax.texts] == (
        tokenizer.encode(replay.obs[0, 5][None])[0].tolist()
    )


def test_futures_are_drawn_for_both_kinds_of_model(replay):
    windows = replay.starts(8, 4, torch.Generator().manual_seed(0))
    averaging = WorldModel(Config(frame_head="bernoulli"), (4, 10, 10), 3)
    drawing = WorldModel(Config(), (4, 10, 10), 3)
    chances = figures.cell_chances(averaging, windows)
    assert chances.shape == (8, 4, 10, 10) and 0 <= chances.min() <= chances.max() <= 1
    axes = Figure().subplots(1, 4)
    figures.draw_futures(averaging, drawing, windows, axes)
    assert [len(ax.images) for ax in axes] == [1] * 4
    shares = figures.kept_whole(Dream(drawing, from_replay(replay), num_envs=8, horizon=6))
    assert shares.shape == (6,)


def test_verdicts_need_intervals_apart():
    runs = [
        {"agent": agent, "return": value + seed / 100, "cpu": 10.0}
        for agent, value in (("dream", 4.0), ("PPO", 1.0), ("DQN 8", 4.0), ("oracle", 9.0))
        for seed in range(8)
    ]
    assert figures.verdicts(runs, "dream") == {
        "PPO": "above",
        "DQN 8": "no verdict",
        "oracle": "below",
    }
    ax = figures.draw_scores(runs, {"dream": "dreams", "PPO": "PPO", "none": "absent"}, None)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["dreams, 10 s", "PPO, 10 s"]
