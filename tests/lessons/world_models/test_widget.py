"""The widget of lesson 11: the truth is the simulator's, the dream is the model's."""

import gymnasium
import numpy as np
import pytest
import torch

from course_lib.lessons.world_models import widget as world_models
from course_lib.lessons.world_models.widget import DreamExplorer
from course_lib.world_models.dynamics import Config, Dynamics, Prediction

VIEW = "application/vnd.jupyter.widget-view+json"


class Oracle:
    """A model that knows Pendulum-v1's equations; each member with a gravity of its own."""

    def __init__(self, *gravities: float):
        self.config = Config(members=len(gravities))
        self.gravities = torch.tensor(gravities)[:, None]

    def predict(self, obs, actions):
        angle, speed = torch.atan2(obs[..., 1], obs[..., 0]), obs[..., 2]
        pull = 1.5 * self.gravities * torch.sin(angle) + 3 * actions[..., 0]
        speed = (speed + 0.05 * pull).clamp(-8, 8)
        angle = angle + 0.05 * speed
        next_obs = torch.stack([angle.cos(), angle.sin(), speed], -1)
        return Prediction(next_obs=next_obs, rewards=None)


@pytest.fixture
def explorer():
    return DreamExplorer({50: Oracle(9.0, 10.0, 11.0), 1_000: Oracle(10.0, 10.0)})


def test_the_truth_is_what_the_simulator_does():
    torques = np.array([2.0, -1.0, 0.5], np.float32)
    rows = world_models.real_pendulum(90, torques)
    env = gymnasium.make("Pendulum-v1").unwrapped
    env.reset(seed=3)
    env.state = np.array([np.pi / 2, 0.0])
    for row, torque in zip(rows[1:], torques, strict=True):
        assert row == pytest.approx(env.step(np.array([torque]))[0], abs=1e-6)
    assert rows.shape == (4, 3) and rows[0] == pytest.approx([0, 1, 0], abs=1e-6)


def test_a_perfect_model_dreams_the_truth(explorer):
    explorer.set(data=1_000, horizon=20)
    assert explorer.dream.error.max() < 0.05 and explorer.dream.apart.max() < 1e-3
    assert explorer.dream.members == pytest.approx(np.stack([explorer.dream.truth] * 2), abs=0.1)


def test_a_wrong_model_strays_and_its_members_disagree(explorer):
    words = explorer.set(data=50, horizon=30, start=15)
    dream = explorer.dream
    assert dream.error[-1] > 3 * dream.error[2] > 0 and dream.apart[-1] > 1
    assert (
        "Start 15° from upright, model of 50 real steps. After 30 imagined steps (1.50 s)" in words
    )
    assert f"off by {dream.error[-1]:.1f}°" in words and f"{dream.apart[-1]:.1f}° apart" in words


def test_a_whole_turn_is_no_error():
    angles = np.array([[370.0], [350.0]])
    assert world_models.rms_distance(angles, np.array([0.0])) == pytest.approx([10])


def test_the_longer_dream_begins_like_the_shorter_one(explorer):
    explorer.set(horizon=10)
    short = explorer.dream.truth
    explorer.set(horizon=30)
    assert explorer.dream.truth[:11] == pytest.approx(short)


def test_settings_that_are_not_there_get_a_sentence(explorer):
    with pytest.raises(ValueError, match="no model of 70 steps; there are: 50, 1000"):
        explorer.set(data=70)
    with pytest.raises(ValueError, match=r"horizon must lie in \[1, 80\], got 81"):
        explorer.set(horizon=81)
    with pytest.raises(ValueError, match=r"start must lie in \[-180, 180\], got 200"):
        explorer.set(start=200)
    with pytest.raises(ValueError, match="models must hold at least one model"):
        DreamExplorer({})


def test_the_form_calls_these_functions(explorer):
    rows, horizon, start, buttons, image, words = explorer.widget().children
    before = image.value
    rows.value = 1_000
    assert explorer.data == 1_000 and "model of 1,000 real steps" in words.value
    horizon.value, start.value = 25, -90
    assert (explorer.horizon, explorer.start) == (25, -90) and image.value != before
    torques = explorer.torques()
    buttons.children[0].click()
    assert not np.array_equal(explorer.torques(), torques)
    assert words.value == repr(explorer)


def test_the_library_model_fits_in():
    explorer = DreamExplorer({10: Dynamics(3, 1, Config(members=2, hidden=(8,)))}, horizon=5)
    assert explorer.dream.members.shape == (2, 6) and np.isfinite(explorer.dream.error).all()


def test_the_stored_output_reads_well_without_a_kernel(explorer):
    stored = explorer._repr_mimebundle_()
    assert stored[VIEW]["model_id"] and stored["image/png"]
    assert stored["text/plain"].startswith("Start 45° from upright, model of 50 real steps.")
