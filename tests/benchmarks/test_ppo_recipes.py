"""The two recipes that both programs train with say the same in either's words."""

import numpy as np
import pytest

from benchmarks.ppo import ppo_recipes
from benchmarks.ppo.ppo_peers import ZOO


def test_the_zoo_in_our_names():
    ours, zoo = ppo_recipes.ZOO_FOR_OURS, ZOO["CartPole-v1"]
    assert (ours.num_envs, ours.total_steps) == (zoo["n_envs"], zoo["n_timesteps"])
    assert (ours.rollout_length, ours.epochs) == (zoo["n_steps"], zoo["n_epochs"])
    assert (ours.gamma, ours.lam) == (zoo["gamma"], zoo["gae_lambda"])
    assert ours.minibatch_size == zoo["batch_size"]
    assert (ours.anneal, ours.entropy_coef) == (True, zoo["ent_coef"])
    assert zoo["learning_rate"] == f"lin_{ours.learning_rate}"
    assert zoo["clip_range"] == f"lin_{ours.clip}"
    assert not (ours.scale_rewards or ours.agent.normalize_obs or "normalize" in zoo)


def test_ours_has_the_keys_of_the_zoo():
    assert set(ZOO["CartPole-v1"]) <= set(ppo_recipes.OURS_FOR_SB3)
    assert ppo_recipes.OURS_FOR_SB3["learning_rate"] == "lin_0.003"


def test_a_ratio_is_taken_seed_by_seed():
    above, below = [{"steps": 2.0}, {"steps": 80.0}], [{"steps": 1.0}, {"steps": 20.0}]
    middle, low, high = ppo_recipes.ratio(above, below, "steps")
    assert middle == pytest.approx(np.sqrt(2 * 4)) and low < 1 < high
