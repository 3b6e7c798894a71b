"""The committed model to play in: small, and true to the game that it stands for."""

import numpy as np
import torch

from course_lib.lessons.transformer_world_model import play_model
from course_lib.rl.envs import make
from course_lib.worlds import breakout as truth


def test_the_checkpoint_is_small_and_says_how_it_was_made():
    file = play_model.FOLDER / "model.safetensors"
    assert file.stat().st_size < 3_000_000
    head = file.read_bytes()[:5_000].decode("utf-8", errors="ignore")
    assert "play_model.made(seed=0)" in head and "CPU-s" in head


def test_the_likeliest_dream_stays_in_step_with_the_game():
    model, games = play_model.play_model(), 32
    envs = make("MinAtar/Breakout", games, 50_000, sticky_actions=0.0)
    real, rng = envs.reset(), np.random.default_rng(0)
    obs = torch.as_tensor(real)
    memory = model.start(obs[:, None][:, :0], torch.zeros(games, 0, dtype=torch.int64))
    same = np.ones(games, bool)
    for _ in range(10):
        actions = truth.follow_the_ball(real, 0.1, rng)
        predicted = model.step(memory, obs, torch.as_tensor(actions), temperature=0.0)
        step = envs.step(actions)
        obs, real = predicted.next_obs, step.obs
        same &= (obs.numpy() == real).all((1, 2, 3))
    assert same.mean() > 0.9


def test_the_players_are_of_all_strengths():
    envs = make("MinAtar/Breakout", play_model.NUM_ENVS, 0)
    actions = play_model.player(0)(envs.reset())
    assert actions.shape == (play_model.NUM_ENVS,) and set(actions) <= {0, 1, 2}
