"""Agents: what they read and choose, and that a saved one comes back the same."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from course_lib.rl import envs as environments
from course_lib.rl.agent import Agent, AgentConfig

CASES = {
    "CartPole-v1": AgentConfig(hidden=(8,), activation="relu", orthogonal_init=False),
    "Pendulum-v1": AgentConfig(hidden=(8, 4), normalize_obs=True, log_std=-1.0),
    "MinAtar/Breakout": AgentConfig(hidden=(8,), shared=True, channels=3),
}


def used(name, config=None, seed=0):
    """An agent whose statistics, if it has any, have seen something."""
    envs = environments.make(name, num_envs=5, seed=1)
    agent = Agent(envs, config or CASES[name], seed)
    obs = envs.reset()
    if agent.obs_normalizer is not None:
        agent.obs_normalizer.update(3 * obs + 1)
    return agent, obs


@pytest.mark.parametrize("name", CASES)
def test_a_saved_agent_comes_back_the_same(name, tmp_path):
    agent, obs = used(name)
    folder = tmp_path / "new" / "folder"
    agent.save(folder)
    back = Agent.load(folder)
    assert back.config == agent.config
    before, after = agent.tensors(), back.tensors()
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert torch.equal(value, after[key]) and value.dtype == after[key].dtype, key
    assert np.array_equal(agent.act(obs), back.act(obs))
    draws = [
        a.act(obs, greedy=False, generator=torch.Generator().manual_seed(3)) for a in (agent, back)
    ]
    assert np.array_equal(*draws)
    if agent.obs_normalizer is not None:
        assert back.obs_normalizer.moments.count == 5
        for a in (agent, back):  # the statistics go on alike
            a.obs_normalizer.update(obs)
        assert np.array_equal(agent.read(obs), back.read(obs))


@pytest.mark.parametrize("name", CASES)
def test_the_files_can_be_read_without_the_kit(name, tmp_path):
    agent, _ = used(name)
    agent.save(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"agent.json", "agent.safetensors"}
    record = json.loads((tmp_path / "agent.json").read_text())
    assert record["config"] == json.loads(json.dumps(dataclasses.asdict(agent.config)))
    weights = load_file(tmp_path / "agent.safetensors")
    count = sum(v.numel() for k, v in weights.items() if k.startswith("network."))
    assert count == sum(p.numel() for p in agent.network.parameters())


def test_saving_again_replaces(tmp_path):
    for seed in (0, 1):
        agent, _ = used("CartPole-v1", seed=seed)
        agent.save(tmp_path)
    loaded = Agent.load(tmp_path).tensors()
    assert all(torch.equal(v, loaded[k]) for k, v in agent.tensors().items())


def test_a_loaded_agent_shares_nothing_with_the_original(tmp_path):
    agent, obs = used("Pendulum-v1")
    agent.save(tmp_path)
    back = Agent.load(tmp_path)
    kept = agent.act(obs)
    with torch.no_grad():
        for p in back.network.parameters():
            p.add_(1.0)
    back.obs_normalizer.update(obs)
    assert np.array_equal(agent.act(obs), kept)


def test_a_wrong_folder_gets_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no saved agent: agent\.json is missing"):
        Agent.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere holds no saved agent"):
        Agent.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", CASES)
def test_actions_fit_the_environment(name):
    agent, obs = used(name)
    for greedy in (True, False):
        actions = agent.act(obs, greedy=greedy, generator=torch.Generator().manual_seed(0))
        envs = environments.make(name, num_envs=5, seed=1)
        envs.reset()
        envs.step(actions)
        shape, kind = ((5, 1), np.float32) if name == "Pendulum-v1" else ((5,), np.int64)
        assert actions.shape == shape and actions.dtype == kind


def test_greedy_repeats_and_drawn_varies():
    agent, obs = used("Pendulum-v1")
    assert np.array_equal(agent.act(obs), agent.act(obs))
    drawn = [agent.act(obs, False, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def test_the_network_sees_normalised_observations():
    agent, obs = used("Pendulum-v1")
    moments = agent.obs_normalizer.moments
    expected = (obs - moments.mean) / np.sqrt(moments.var + 1e-8)
    np.testing.assert_allclose(agent.read(obs), np.clip(expected, -10, 10), rtol=1e-5)
    plain, _ = used("Pendulum-v1", AgentConfig(hidden=(8,)))
    assert np.array_equal(plain.read(obs), obs)
    assert plain.obs_normalizer is None and not any("norm" in k for k in plain.tensors())


def test_a_seed_gives_the_weights_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    a, b, c = (used("CartPole-v1", seed=s)[0].tensors() for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(v, b[k]) for k, v in a.items())
    assert any(not torch.equal(v, c[k]) for k, v in a.items())
