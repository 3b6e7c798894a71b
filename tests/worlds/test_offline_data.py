"""The recordings that come with the course: what the files hold, and how they were made."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import harness
from benchmarks.decision_transformer import make_data
from course_lib.rl import dataset
from course_lib.rl.dataset import Dataset
from course_lib.rl.envs import make
from course_lib.worlds import breakout, offline_data

ROWS = {(row["game"], row["kind"]): row for row in offline_data.describe()}
NAMES = offline_data.names()


def same(a: Dataset, b: Dataset) -> bool:
    columns = all(
        np.array_equal(getattr(a, column), getattr(b, column)) for column in offline_data.COLUMNS
    )
    return columns and (a.obs_shape, a.num_actions) == (b.obs_shape, b.num_actions)


def tiny(**changes) -> Dataset:
    """Two episodes of observations of ten bits."""
    columns = {
        "frames": np.array([[170, 0], [255, 192], [0, 64]], np.uint8),
        "actions": np.array([0, 2, 1]),
        "rewards": np.array([127, -128, 0]),
        "terminated": np.array([False, True, False]),
        "truncated": np.array([False, False, True]),
    }
    return Dataset(**columns | changes, obs_shape=(1, 2, 5), num_actions=3)


# --- what is there ------------------------------------------------------------------------------


def test_names_and_rows_say_the_same():
    assert list(ROWS) == NAMES
    assert {kind for game, kind in NAMES if game == "Breakout"} == {
        *("replay", "random", "medium", "expert")
    }
    assert all(row["player"] for row in ROWS.values())


@pytest.mark.parametrize("name", NAMES, ids="_".join)
def test_a_recording_is_what_describe_says(name):
    data, row = offline_data.load(*name), ROWS[name]
    with np.load(offline_data.file_of(*name), allow_pickle=False) as file:
        rewards, ended = file["rewards"], file["terminated"] | file["truncated"]
    returns, running = [], 0
    for reward, end in zip(rewards.tolist(), ended.tolist(), strict=True):
        running += reward
        if end:
            returns.append(running)
            running = 0
    assert data.returns.tolist() == returns
    assert (row["steps"], row["episodes"]) == (len(rewards), len(returns))
    assert row["mean"] == pytest.approx(np.mean(returns), abs=0.005)
    assert (row["min"], row["max"]) == (min(returns), max(returns))
    assert row["kilobytes"] * 1000 == pytest.approx(
        offline_data.file_of(*name).stat().st_size, abs=50
    )


@pytest.mark.parametrize("name", NAMES, ids="_".join)
def test_a_recording_fits_its_game(name):
    data, envs = offline_data.load(*name), make(f"MinAtar/{name[0]}", 1)
    assert (data.obs_shape, data.num_actions) == (envs.obs_shape, envs.num_actions)
    frames = data.obs(np.arange(0, len(data), 97))
    assert frames.dtype == torch.uint8 and set(frames.unique().tolist()) == {0, 1}
    first = torch.as_tensor(envs.reset()[0])
    if name[0] in ("Breakout", "SpaceInvaders", "Asterix"):  # the same player's place each time
        assert (data.obs(data.starts)[:, 0] == first[0]).all()
    lengths = data.ends - data.starts + 1
    assert lengths.max() <= 1000
    assert (lengths[data.truncated[data.ends]] == 1000).all(), "only the clock truncates"
    assert set(np.unique(data.actions)) == set(range(data.num_actions))


@pytest.mark.parametrize("kind", ["replay", "random", "medium", "expert"])
def test_frames_of_breakout_show_one_ball_and_one_paddle(kind):
    data = offline_data.load("Breakout", kind)
    frames = data.obs(np.arange(0, len(data), 7))
    assert breakout.one_ball_one_paddle(frames).all()
    assert (frames[:, 0].sum((1, 2)) == frames[:, 0, 9].sum(1)).all(), "the paddle stays below"


def test_each_frame_of_breakout_leads_to_the_next():
    data = offline_data.load("Breakout", "medium")
    rows = np.flatnonzero(~data.ended)
    before, after = data.obs(rows), data.obs(data.successors(rows))
    paddles = [frames[:, 0, 9].int().argmax(1) for frames in (before, after)]
    assert (paddles[1] - paddles[0]).abs().max() == 1
    assert torch.equal(before[:, 1], after[:, 2]), "the trail lies where the ball was"


def test_players_differ_as_their_names_say():
    mean = {name: row["mean"] for name, row in ROWS.items()}
    assert mean["Breakout", "random"] < 1 < 3 < mean["Breakout", "medium"]
    assert mean["Breakout", "medium"] < 0.8 * mean["Breakout", "expert"]
    assert mean["Freeway", "expert"] > 11 and mean["Asterix", "expert"] > 20
    assert mean["SpaceInvaders", "expert"] > 10


def test_the_replay_holds_early_and_late_play():
    data = offline_data.load("Breakout", "replay")
    low, high = np.quantile(data.returns, [0.1, 0.95])
    assert low <= 1 and high > 12
    assert data.returns[:15].mean() < 1.5, "the first environment begins with beginner's play"
    assert data.returns[-20:].mean() > 5, "the last one ends with an expert's"


def test_all_files_are_small_and_told_to_the_installer():
    files = sorted(offline_data.FOLDER.iterdir())
    assert files == sorted(offline_data.file_of(*name) for name in NAMES)
    assert sum(path.stat().st_size for path in files) <= 1_450_000
    project = tomllib.loads(Path(harness.ROOT, "pyproject.toml").read_text(encoding="utf-8"))
    assert "**/*.npz" in project["tool"]["setuptools"]["package-data"]["course_lib"]


# --- written and read ---------------------------------------------------------------------------


def test_written_and_read_is_the_same_and_so_are_the_bytes(tmp_path):
    data, paths = tiny(), [tmp_path / "a.npz", tmp_path / "b.npz"]
    for path in paths:
        offline_data.write(data, path)
    assert same(offline_data.read(paths[0]), data)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("reward", [0.5, 200, -129, np.nan])
def test_rewards_that_do_not_fit_into_a_byte_are_refused(reward, tmp_path):
    with pytest.raises(ValueError, match="whole numbers from -128 to 127"):
        offline_data.write(tiny(rewards=np.array([reward, 0, 0])), tmp_path / "a.npz")


def test_frames_that_are_not_bits_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"frames must be bits.*record with pack=True"):
        offline_data.write(tiny(frames=np.zeros((3, 1, 2, 5))), tmp_path / "a.npz")


@pytest.mark.parametrize("name", [("Breakout", "best"), ("Pong", "expert"), ("expert", "Breakout")])
def test_an_unknown_recording_is_a_sentence_that_names_those_there_are(name):
    with pytest.raises(ValueError, match=r"there is no recording .*; there are: Breakout replay, "):
        offline_data.load(*name)


def test_a_missing_file_says_how_to_make_it(monkeypatch, tmp_path):
    monkeypatch.setattr(offline_data.file_of, "__defaults__", (tmp_path,))
    with pytest.raises(FileNotFoundError, match=r"is missing: .*python -m benchmarks make_data"):
        offline_data.load("Breakout", "expert")


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "bits", "column", "pickle", "array"])
def test_a_damaged_file_is_a_sentence(damage, tmp_path):
    path = tmp_path / "a.npz"
    offline_data.write(tiny(), path)
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-100])
    elif damage == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "bits":
        path.write_bytes(content[:200] + bytes(40) + content[240:])
    else:
        with np.load(path) as file:
            arrays = dict(file)
        if damage == "column":
            del arrays["rewards"]
        elif damage == "pickle":
            arrays["rewards"] = np.array([{}, {}, {}], object)
        else:
            arrays["obs_shape"] = np.array(3)
        np.savez_compressed(path, **arrays)
    with pytest.raises(ValueError, match="holds no whole recording"):
        offline_data.read(path)


# --- made again ---------------------------------------------------------------------------------


def test_what_passes_while_an_agent_learns_is_what_record_would_have_kept():
    def policy():
        rng = np.random.default_rng(3)
        return lambda obs: rng.integers(3, size=len(obs))

    play, envs = policy(), make_data.Recording(make("MinAtar/Breakout", 4, seed=2))
    obs = envs.reset()
    for _ in range(80):
        obs = envs.step(play(obs)).obs
    expected = dataset.record(make("MinAtar/Breakout", 4, seed=2), policy(), 80)
    assert same(envs.dataset(slice(None)), expected)
    some = envs.dataset(make_data.KEPT)  # environments 0 and 3, the first and the last
    assert 0 < len(some) < len(expected)
    assert np.array_equal(some.frames[-9:], expected.frames[-9:])
    assert envs.num_envs == 4 and envs.name == "MinAtar/Breakout"


@pytest.mark.parametrize(
    ("name", "player"),
    [
        (("Breakout", "random"), lambda: make_data.at_random(3)),
        (("Freeway", "expert"), lambda: make_data.with_slips(make_data.scripted.freeway, 3)),
        (("Asterix", "expert"), lambda: make_data.with_slips(make_data.scripted.asterix, 5)),
    ],
)
def test_what_needs_no_training_comes_out_again(name, player):
    """Training may round otherwise on another machine; these are whole numbers everywhere."""
    *_, data, _ = make_data.record(*name, player, quick=False)
    assert same(data, offline_data.load(*name))


def test_the_verdict_counts_all_files():
    run = {"game": "Breakout", "kind": "replay", "steps": 1000, "mean": 6.04, "seconds": 2.0}
    runs = [run | {"kilobytes": kilobytes, "same_bytes": True} for kilobytes in (900.0, 599.0)]
    size, means, again = make_data.judge({"runs": runs})
    assert size.met and size.measured == "1.50, 2,000 steps in 2 files"
    assert "Breakout replay 6.0" in means.measured
    assert again.measured == "2 of 2, 4 CPU seconds"
    runs[0]["kilobytes"] = 902.0
    assert not make_data.judge({"runs": runs})[0].met
