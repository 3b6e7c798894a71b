"""The transformer as a game: who sees what, dreaming step by step, what is learned."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.world_models import world_model
from course_lib.world_models.frames import Windows
from course_lib.world_models.world_model import Config, Training, WorldModel
from tests.world_models.test_frames import SHAPE, played

SMALL = Config(width=32, encoder=32, hidden=32, filters=8)
TRAINING = Training(batch_size=8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_windows(batch: int = 3, length: int = 6, ended: tuple = ()) -> Windows:
    drawn = generator(1)
    obs = torch.randint(2, (2, batch, length, *SHAPE), generator=drawn, dtype=torch.uint8)
    actions = torch.randint(3, (batch, length), generator=drawn)
    terminated = torch.zeros(batch, length, dtype=torch.bool)
    terminated[:, list(ended)] = True
    return Windows(
        obs[0], actions, torch.zeros(batch, length), obs[1], terminated, terminated & False
    )


def states(model: WorldModel, windows: Windows) -> torch.Tensor:
    from course_lib.world_models.sequence import block_causal_mask

    mask = block_causal_mask(windows.ended, 1)
    return model.transformer(model.embed(windows.obs, windows.actions), mask=mask)


@pytest.mark.parametrize("ended", [(), (2,)])
def test_neither_a_later_frame_nor_another_episode_changes_a_prediction(ended):
    model, windows = WorldModel(SMALL, SHAPE, 3), random_windows(ended=ended)
    before = states(model, windows)
    for changed in range(6):
        for what in ("obs", "actions"):
            other = getattr(windows, what).clone()
            other[:, changed] = 1 - other[:, changed] if what == "obs" else (
                (other[:, changed] + 1) % 3
            )  # fmt: skip
            moved = (states(model, windows._replace(**{what: other})) - before).abs().amax((0, 2))
            for t in range(6):
                cut = any(changed <= end < t for end in ended)
                may_move = t >= changed and not cut
                assert (moved[t] > 1e-4) if may_move else (moved[t] == 0), (what, changed, t)


@pytest.mark.parametrize("past", [0, 1, 5])
def test_dreaming_step_by_step_agrees_with_one_full_pass(past):
    model, windows = WorldModel(SMALL, SHAPE, 3), random_windows(length=8)
    whole = states(model, windows)
    memory = model.start(windows.obs[:, :past], windows.actions[:, :past])
    for t in range(past, 8):
        embedded = model.embed(windows.obs[:, t : t + 1], windows.actions[:, t : t + 1])
        with torch.no_grad():
            state = model._advance(memory, embedded)
        assert torch.allclose(state, whole[:, t], atol=1e-5), t


def test_steps_of_an_earlier_episode_are_not_seen_in_a_dream():
    model, windows = WorldModel(SMALL, SHAPE, 3), random_windows()
    same = torch.tensor([[False, False, True, True]] * 3)
    obs, actions = windows.obs[:, :4], windows.actions[:, :4]
    other = obs.clone()
    other[:, :2] = 1 - other[:, :2]
    now, action = windows.obs[:, 4], windows.actions[:, 4]
    logits = [
        model.step(model.start(past, actions, same), now, action, generator()).logits
        for past in (obs, other)
    ]
    assert torch.equal(*logits)


def test_a_dream_goes_on_when_the_memory_is_full():
    model = WorldModel(replace(SMALL, context=6), SHAPE, 3)
    windows = random_windows(batch=2)
    memory, obs = model.start(windows.obs[:, :3], windows.actions[:, :3]), windows.obs[:, 3]
    for t in range(20):
        predicted = model.step(memory, obs, torch.tensor([t % 3, 0]), generator(t))
        obs = predicted.next_obs
        assert memory.cache.length == memory.embedded.shape[1] == memory.visible.shape[1] <= 6
    with pytest.raises(ValueError, match="look back on 5 steps"):
        model.start(windows.obs, windows.actions)


def test_with_a_context_of_1_each_dreamed_step_is_predicted_from_its_own_pair_alone():
    model = WorldModel(replace(SMALL, context=1), SHAPE, 3)
    windows = random_windows(length=5)
    nothing = windows.obs[:, :0], windows.actions[:, :0]
    memory = model.start(*nothing)
    for t in range(5):
        pair = windows.obs[:, t], windows.actions[:, t]
        dreamed = model.step(memory, *pair, generator(t))
        alone = model.step(model.start(*nothing), *pair, generator(t))
        assert all(torch.equal(*values) for values in zip(dreamed, alone, strict=True)), t
        assert memory.cache.length == memory.embedded.shape[1] == memory.visible.shape[1] == 1


@pytest.mark.parametrize(("context", "kept"), [(2, 1), (3, 1), (5, 2), (6, 3)])
def test_a_full_memory_keeps_its_newer_half(context, kept):
    model = WorldModel(replace(SMALL, context=context), SHAPE, 3)
    windows = random_windows(length=context + 1)
    memory = model.start(windows.obs[:, :0], windows.actions[:, :0])
    for t in range(context + 1):
        model.step(memory, windows.obs[:, t], windows.actions[:, t], generator())
    newest = windows.obs[:, -kept - 1 :], windows.actions[:, -kept - 1 :]
    assert torch.allclose(memory.embedded, model.embed(*newest), atol=1e-6)


@pytest.mark.parametrize("frame_head", world_model.FRAME_HEADS)
@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_a_prediction_has_exact_shapes_and_ranges(frame_head, temperature):
    model, windows = WorldModel(replace(SMALL, frame_head=frame_head), SHAPE, 3), random_windows()
    memory = model.start(windows.obs[:, :2], windows.actions[:, :2])
    p = model.step(memory, windows.obs[:, 2], windows.actions[:, 2], generator(), temperature)
    assert p.next_obs.shape == (3, *SHAPE) and p.next_obs.dtype == torch.uint8
    assert p.logits.shape == (3, *SHAPE) and p.next_obs.max() <= 1
    assert p.rewards.shape == p.terminated.shape == p.end.shape == (3,)
    assert p.terminated.dtype == torch.bool and ((p.end >= 0) & (p.end <= 1)).all()
    codes = SMALL.codes if frame_head == "chance" else 1
    assert p.chance_probs.shape == (3, codes)
    assert torch.allclose(p.chance_probs.sum(1), torch.ones(3))


def test_temperature_0_needs_no_chance():
    model, windows = WorldModel(SMALL, SHAPE, 3), random_windows()
    args = windows.obs[:, 0], windows.actions[:, 0]
    none = windows.obs[:, :0], windows.actions[:, :0]
    one, two = (model.step(model.start(*none), *args, generator(s), 0.0) for s in (1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("frame_head", world_model.FRAME_HEADS)
def test_learning_lowers_the_loss_and_repeats_with_its_seed(frame_head):
    replay, training = played()[0], replace(TRAINING, learning_rate=1e-2)
    curves = []
    for _ in range(2):
        model = WorldModel(replace(SMALL, frame_head=frame_head), SHAPE, 3, seed=5)
        rows = world_model.train(model, replay, training, 100, seed=5)
        curves.append([row["loss"] for row in rows])
    assert curves[0] == curves[1]
    assert np.mean(curves[0][-5:]) < 0.6 * np.mean(curves[0][:5])


def test_training_goes_on_where_it_stopped():
    replay = played()[0]
    model = WorldModel(SMALL, SHAPE, 3)
    run = world_model.Run(model, TRAINING, 0)
    first = list(world_model.train(model, replay, TRAINING, 5, run=run))
    list(world_model.train(model, replay, TRAINING, 4, run=run))
    assert [row["updates"] for row in first] == [1, 2, 3, 4, 5]
    assert {int(state["step"]) for state in run.optimizer.state.values()} == {9}


@pytest.mark.parametrize("event_head", world_model.EVENT_HEADS)
def test_reward_and_end_belong_to_the_action_of_their_own_step(event_head):
    """A world with one frame, where action 1 earns and action 2 ends: only the action tells."""
    length, batch = 6, 16
    config = replace(SMALL, event_head=event_head)
    actions = torch.randint(3, (batch, length), generator=generator(2))
    obs = torch.zeros(batch, length, *SHAPE, dtype=torch.uint8)
    next_obs = obs.clone()
    for a, b in itertools.product(range(batch), range(length)):
        next_obs[a, b, 0, 0, actions[a, b]] = 1  # and the next frame shows it
    windows = Windows(obs, actions, (actions == 1).float(), next_obs, actions == 2, actions == 9)
    model = WorldModel(config, SHAPE, 3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        loss, parts = model.loss(windows, generator())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert parts["events"] < 0.05
    none = torch.zeros(3, 0, *SHAPE, dtype=torch.uint8), torch.zeros(3, 0, dtype=torch.int64)
    p = model.step(model.start(*none), obs[:3, 0], torch.arange(3), temperature=0.0)
    assert p.rewards.tolist() == [0, 1, 0] and p.terminated.tolist() == [False, False, True]


def test_a_saved_model_dreams_the_same(tmp_path):
    model, windows = WorldModel(SMALL, SHAPE, 3), random_windows()
    world_model.save(model, tmp_path / "model.safetensors", made_by="a test")
    again = world_model.load(tmp_path / "model.safetensors")
    assert again.config == SMALL and again.obs_shape == SHAPE
    args = windows.obs[:, :2], windows.actions[:, :2]
    now = windows.obs[:, 2], windows.actions[:, 2]
    one, two = (m.step(m.start(*args), *now, generator()) for m in (model, again))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    (tmp_path / "other").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="holds no weights of the kind 'world_model'"):
        world_model.load(tmp_path / "other")


def test_the_recipe_is_small_and_unknown_heads_are_named():
    assert WorldModel(Config(), SHAPE, 3).num_parameters() < 500_000
    with pytest.raises(ValueError, match="frame_head must be one of"):
        Config(frame_head="gaussian")
