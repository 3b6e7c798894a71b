"""Interrupted and resumed equals uninterrupted, to the bit."""

import itertools
import json
from dataclasses import replace

import pytest
import torch

from course_lib.rl import checkpoint, ppo
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.envs import make

SMALL = ppo.Config(
    total_steps=4 * 8 * 40, num_envs=4, rollout_length=40, epochs=2, minibatch_size=64
)
NORMALIZED = replace(SMALL, scale_rewards=True, agent=AgentConfig((8,), normalize_obs=True))
CASES = {
    "CartPole-v1": SMALL,
    "LunarLander-v3": replace(NORMALIZED, target_kl=0.02),
    "Pendulum-v1": NORMALIZED,
    "Hopper-v5": NORMALIZED,
    "MinAtar/Breakout": replace(SMALL, agent=AgentConfig((16,), shared=True, activation="relu")),
}


def begin(name, config):
    envs = make(name, config.num_envs, seed=3)
    agent = Agent(envs, config.agent, seed=3)
    return envs, agent, ppo.Run(agent, envs, config, seed=3)


@pytest.mark.parametrize("name", CASES)
def test_resumed_equals_uninterrupted(name, tmp_path):
    torch.set_num_threads(1)
    config = CASES[name]
    envs, whole, run = begin(name, config)
    expected = list(ppo.train(whole, envs, config, run=run))

    envs, agent, run = begin(name, config)
    first = list(itertools.islice(ppo.train(agent, envs, config, run=run), 3))
    checkpoint.save(tmp_path / "run", agent, envs, config, run)
    del agent, run
    envs = make(name, config.num_envs, seed=99)
    agent, run = checkpoint.load(tmp_path / "run", envs, config)
    rest = list(ppo.train(agent, envs, config, run=run))

    assert len(rest) == len(expected) - 3 > 0
    assert json.dumps(first + rest) == json.dumps(expected)  # as text, since nan != nan
    for key, value in whole.tensors().items():
        assert torch.equal(value, agent.tensors()[key]), key


def test_a_second_save_replaces_the_first_and_leaves_nothing_beside_it(tmp_path):
    envs, agent, run = begin("CartPole-v1", SMALL)
    for _ in itertools.islice(ppo.train(agent, envs, SMALL, run=run), 2):
        checkpoint.save(tmp_path / "run", agent, envs, SMALL, run)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["steps"] == 2 * 160


def test_what_others_wrote_is_left_alone(tmp_path, monkeypatch):
    envs, agent, run = begin("CartPole-v1", SMALL)
    work, file, leftover = tmp_path / "work", tmp_path / "notes", tmp_path / ".run.old"
    for folder in (work, leftover):
        folder.mkdir()
        (folder / "thesis.txt").write_text("three months")
    file.write_text("x")
    for folder, words in ((work, "holds thesis.txt"), (file, "Not a directory"), (".", "thesis")):
        monkeypatch.chdir(tmp_path if folder != "." else work)
        with pytest.raises((ValueError, NotADirectoryError), match=words):
            checkpoint.save(folder, agent, envs, SMALL, run)
    (empty := tmp_path / "empty").mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(ValueError, match="holds the running program"):
        checkpoint.save(".", agent, envs, SMALL, run)
    with pytest.raises(ValueError, match=r"\.run\.old holds thesis"):
        checkpoint.save(tmp_path / "run", agent, envs, SMALL, run)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".run.old", "empty", "notes", "work"]
    assert (work / "thesis.txt").read_text() == "three months"


def test_a_save_that_fails_keeps_the_earlier_one(tmp_path, monkeypatch):
    envs, agent, run = begin("CartPole-v1", SMALL)
    checkpoint.save(tmp_path / "run", agent, envs, SMALL, run)

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path / "run", agent, envs, SMALL, run)
    loaded, _ = checkpoint.load(tmp_path / "run", envs, SMALL)
    assert torch.equal(loaded.network.value_head.weight, agent.network.value_head.weight)


def test_wrong_use_gets_a_sentence(tmp_path):
    envs, agent, run = begin("CartPole-v1", SMALL)
    with pytest.raises(FileNotFoundError, match="holds no saved run"):
        checkpoint.load(tmp_path, envs, SMALL)
    checkpoint.save(tmp_path / "run", agent, envs, SMALL, run)
    with pytest.raises(ValueError, match=r"gamma was 0.99, now it is 0.9"):
        checkpoint.load(tmp_path / "run", envs, replace(SMALL, gamma=0.9))
    with pytest.raises(ValueError, match="cannot continue in 4 x Acrobot-v1"):
        checkpoint.load(tmp_path / "run", make("Acrobot-v1", 4), SMALL)
