"""The peer of the world model is what it says it is; the failures remove what they say."""

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks.transformer_world_model import context, dream_failures, world_model_breakout
from benchmarks.transformer_world_model.iris_peer import TokenWorldModel
from course_lib.world_models.frame_tokenizer import FrameTokenizer
from course_lib.world_models.imagination import Dream, from_replay
from course_lib.world_models.world_model import Config
from course_lib.worlds.breakout import same_frame
from tests.world_models.test_frames import played


def token_model(replay, patch: int = 5) -> TokenWorldModel:
    tokenizer = FrameTokenizer.fit(replay.obs.flatten(0, 1), patch)
    return TokenWorldModel(tokenizer, num_actions=3, layers=2, width=32)


@pytest.mark.parametrize("patch", [2, 5])
def test_the_token_model_dreams_what_one_full_pass_says(patch):
    replay = played()[0]
    model = token_model(replay, patch)
    windows = replay.windows(3, 6, torch.Generator().manual_seed(0))
    tokens = model.tokens(windows.obs, windows.actions)
    assert tokens.shape == (3, 6 * model.places)
    whole = model.transformer(model.embedding(tokens))
    same = torch.ones(3, 4, dtype=torch.bool)
    memory = model.start(windows.obs[:, :4], windows.actions[:, :4], same)
    with torch.no_grad():
        state = model._read(memory, tokens[:, 4 * model.places : 5 * model.places])
    assert torch.allclose(state, whole[:, 5 * model.places - 1], atol=1e-5)


def test_the_token_model_runs_in_the_same_dream():
    replay = played()[0]
    dream = Dream(token_model(replay), from_replay(replay), 8, horizon=4)
    dream.reset()
    for t in range(9):
        step = dream.step(np.zeros(8, int))
        assert step.obs.shape == (8, 4, 10, 10)
        assert step.valid.any() is np.True_ or t % 5 > 0


def test_the_token_model_learns_next_tokens_but_no_action_and_no_new_episode():
    replay = played()[0]
    model = token_model(replay)
    windows = replay.windows(8, 6, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss, parts = model.loss(windows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(parts["frame"].detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_one_side_holds_whole_episodes_launched_from_the_left():
    replay = played(200)[0]
    few = dream_failures.one_sided(replay)
    left = dream_failures.launched_left(few)
    real = torch.arange(few.actions.shape[1]) < few.lengths[:, None]
    assert 0 < len(few) < len(replay) and left[real].all()
    starts = few.take(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), 1)
    assert starts.obs[0, 0, 1, 3, 0] == 1, "the ball stands where it is launched from the left"


def test_the_exam_knows_what_came(monkeypatch):
    monkeypatch.setattr(world_model_breakout, "STEPS", 30)
    rng = np.random.default_rng(0)
    paper = world_model_breakout.exam(lambda obs: rng.integers(3, size=len(obs)), seed=0)
    replay = paper.replay
    use = torch.arange(30) < replay.lengths[:, None]
    same = (paper.obs == replay.next_obs[:, :, None]).flatten(3).all(3)
    assert same.any(2)[use].all(), "what came was one of the two things that could come"
    assert 0.9 < same[..., 0][use].float().mean() < 1.0, "actions stick now and then"


def test_games_by_side_cover_both():
    agent = type("Agent", (), {"act": lambda self, obs, greedy, generator: np.zeros(len(obs), int)})
    sides = dream_failures.by_side(agent(), seed=0)
    assert set(sides) == {"left", "right"}


def test_the_exam_of_contexts_asks_whole_stretches_of_one_episode():
    replay = context.play(8, 60, seed=0, sticky=0.0)
    exam = context.stretches(replay)
    assert len(exam.obs) > 20 and not exam.ended[:, :-1].any()
    assert same_frame(exam.next_obs[:, :-1], exam.obs[:, 1:]).all()
    hidden = context.stretches(context.drawn_as(context.GAMES["no trail"], replay))
    assert torch.equal(hidden.actions, exam.actions) and torch.equal(
        hidden.obs[:, :, 1], exam.obs[:, :, 1]
    )
    assert not hidden.obs[:, :, 2].any() and exam.obs[:, :, 2].any()


class Oracle:
    """A model that knows the answers of an exam, but for those from step ``wrong`` on."""

    def __init__(self, exam, size: int, wrong: int = 99):
        self.exam, self.config, self.wrong = exam, Config(context=size), wrong

    def start(self, obs, actions):
        self.past, self.now = obs, None

    def step(self, memory, obs, actions, temperature):
        if self.now is None:  # the step after what it was given
            frames = enumerate(self.exam.obs.unbind(1))
            (self.now,) = (t for t, frame in frames if torch.equal(frame, obs))
        assert torch.equal(actions, self.exam.actions[:, self.now]) and temperature == 0
        told = self.exam.next_obs[:, self.now].clone()
        if self.now >= self.wrong:
            told[:, 1] = 1 - told[:, 1]
        self.now += 1
        return type("Told", (), {"next_obs": told})


@pytest.mark.parametrize(("size", "given"), [(1, 0), (2, 1), (16, 3)])
def test_the_exam_of_contexts_marks_an_oracle(size, given):
    exam = context.stretches(context.play(8, 60, seed=0, sticky=0.0))
    oracle = Oracle(exam, size)
    assert context.one_step(oracle, exam) == {"frame": 1.0, "ball": 1.0}
    assert oracle.past.shape[1] == size - 1
    assert context.true_steps(oracle, exam) == 12.0
    assert oracle.past.shape[1] == given
    assert context.true_steps(Oracle(exam, size, wrong=8), exam) == 5.0  # steps 3 to 7
    assert context.one_step(Oracle(exam, size, wrong=15), exam) == {"frame": 0.0, "ball": 0.0}


def test_context_runs_quickly_and_writes_nothing(capsys):
    command.main(["context", "--quick"])
    out = capsys.readouterr().out
    assert out.count("16 less 1: ") == 6 and "nothing written" in out


def test_the_promise_of_contexts_is_that_the_intervals_lie_apart():
    def judged(many):
        rows = [
            ("no trail", 1, 0.7),
            ("no trail", 16, many),
            ("Breakout", 1, 0.9),
            ("Breakout", 16, 0.9),
        ]
        runs = [
            {
                "game": game,
                "context": size,
                "ball": x + s / 100,
                "frame": x,
                "true_steps": 5.0 * x + s,
            }
            for s in range(5)
            for game, size, x in rows
        ]
        return {goal.what: goal for goal in context.judge({"runs": runs})}

    name = "World model, no trail, 5 seeds: share of steps whose next ball is foretold"
    assert (
        judged(0.9)[name].met
        and "16 less 1: +0.200 [+0.200, +0.200], more" in judged(0.9)[name].measured
    )
    assert not judged(0.72)[name].met, "a difference in every pair, but the intervals overlap"
