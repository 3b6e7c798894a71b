"""Loops that are right in other ways pass; wrong ones that look alike are told what is wrong."""

import numpy as np
import pytest
import torch

from course_lib.agents import decision_transformer
from course_lib.classroom.check import check
from course_lib.classroom.edits import Edit, apply
from course_lib.lessons.decision_transformer.build import as_policy, play_games
from course_lib.rl.envs import make

SEEDS = range(5)
BEGIN = "histories = [([first], [0], [target]) for first in envs.reset()]"
ROWS = "[row[-context:] for row in column]"
LOWER = "to_go.append(target - earned[i])"
KEEP = "returns[i].append(earned[i])"
OVER = "(terminated[i] or truncated[i])"
JOIN = "np.array(returns).ravel()"
WRONG = {  # what is changed: the mistake whose hint it gets
    "a discounted return": (
        *("counts the last step", ("earned += rewards", "earned = rewards + 0.9 * earned")),
    ),
    "one less for each step": ("lowers it by something else", (LOWER, "to_go.append(to_go[-1]-1)")),
    "half of the reward": (
        *("lowers it by something else", (LOWER, "to_go.append(target - earned[i] / 2)")),
    ),
    "the present step alone": ("changes what was asked", ("row[-context:]", "row[-1:]")),
    "one step too many": ("shows too much", ("row[-context:]", "row[-context - 1 :]")),
    "begins anew at the end": (
        "takes the reset for a step",
        ("if not valid[i]", "if False"),
        (KEEP, KEEP + f"\n            if {OVER}: histories[i] = ([obs[i]], [0], [target]); "
        "earned[i] = 0"),
    ),
    "any end is everybody's": (
        *("one end ends all", (OVER, "(terminated.any() or truncated.any())")),
    ),
    "rewards of the neighbour": (
        *("adds up the games", ("earned += rewards", "earned += rewards[::-1]")),
    ),
}  # fmt: skip
RIGHT = {
    "subtracts as it goes": ((LOWER, "to_go.append(to_go[-1] - rewards[i])"),),
    "rows as arrays": ((ROWS, "[np.array(row[-context:]) for row in column]"),),
    "rows as tensors": ((ROWS, "[torch.tensor(np.array(row[-context:])) for row in column]"),),
    "rows as tuples": (("row[-context:]", "tuple(row[-context:])"),),
    "counts from the front": (("row[-context:]", "row[max(0, len(row) - context) :]"),),
    "forgets for good": ((LOWER, LOWER + "; del seen[:-context], taken[:-context], "
                          "to_go[:-context]"),),
    "rounds up by a library": (
        ("-(-episodes // envs.num_envs)", "int(np.ceil(episodes / envs.num_envs))"),
    ),
    "until all have enough": (
        ("while min(map(len, returns)) < share", "while not all(len(x) >= share for x in returns)"),
    ),
    "cuts at the end": (
        (" and len(returns[i]) < share", ""),
        (JOIN, "np.array([row[:share] for row in returns]).ravel()"),
    ),
    "joins lists": ((JOIN, "np.concatenate(returns)"),),
    "multiplies by valid": (
        ("earned += rewards", "earned = (earned + rewards) * valid"),
        ("earned[i] = 0.0", "pass"),
    ),
    "one flag for both": ((OVER, "(terminated | truncated)[i]"),),
    "whole numbers as actions": (
        ("envs.step(actions)", "envs.step(np.array([int(a) for a in actions]))"),
        ("taken[-1] = actions[i]", "taken[-1] = int(actions[i])"),
    ),
}  # fmt: skip


def changed(*changes):
    return apply(play_games.reference, Edit("changed", changes, ""))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_loop_gets_the_hint_that_helps(name):
    mistake, *changes = WRONG[name]
    for seed in SEEDS:
        assert check(changed(*changes), play_games, seed).mistake == mistake, seed


@pytest.mark.parametrize("mistake", play_games.mistakes, ids=lambda known: known.name)
def test_a_mistake_is_refused_by_the_probe_that_isolates_it(mistake):
    for seed in range(20):
        probes = {probe.isolates: probe.name for probe in play_games.cases(_draw(seed))}
        verdict = check(mistake.function, play_games, seed)
        assert (verdict.mistake, verdict.case) == (mistake.name, probes[mistake.name]), seed


def test_every_mistake_has_its_probe_in_the_order_of_the_probes():
    isolated = [probe.isolates for probe in play_games.cases(_draw(0)) if probe.isolates]
    assert isolated == [mistake.name for mistake in play_games.mistakes]


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_loop_may_be_written_in_many_ways(name):
    for seed in SEEDS:
        verdict = check(changed(*RIGHT[name]), play_games, seed)
        assert verdict.status == "right", (seed, verdict)


def test_histories_of_another_form_and_endless_loops_get_a_sentence():
    shared = (BEGIN, "wish = [target]; histories = [([x], [0], wish) for x in envs.reset()]")
    found = check(changed(shared), play_games)
    assert "each step has one of each" in found.reason, found
    missing = (f"*({ROWS} for column in columns)", "*(h[:k] for k, h in zip((1, 1, 0), columns))")
    assert "a row for each environment" in check(changed(missing), play_games).reason
    endless = ("while min(map(len, returns)) < share", "while True")
    assert "you are still playing" in check(changed(endless), play_games).reason


CONFIG = decision_transformer.Config(context=4, layers=1, width=16, heads=2, return_scale=20.0)


def test_with_a_model_it_brings_what_the_library_s_own_loop_brings():
    def poles():
        return make("CartPole-v1", 3, seed=5)

    envs = poles()
    model = decision_transformer.DecisionTransformer(envs.obs_shape, 2, CONFIG, seed=1)
    right = decision_transformer.play(model, poles(), 20.0, 7, greedy=True)
    mine = play_games.reference(as_policy(model, greedy=True), envs, 20.0, 7, CONFIG.context)
    np.testing.assert_array_equal(mine, right)
    assert len(set(right)) > 1


def test_actions_are_drawn_from_the_model_s_chances():
    model = decision_transformer.DecisionTransformer((4,), 2, CONFIG, seed=1)
    rng = np.random.default_rng(0)
    rows = [list(rng.normal(size=(length, 4))) for length in (1, 3)] * 2_000
    actions = [[1] * (len(row) - 1) + [0] for row in rows]
    to_go = [[20.0] * len(row) for row in rows]
    drawn = as_policy(model, seed=3)(rows, actions, to_go)
    for first in (0, 1):
        args = (np.array(x[first])[None] for x in (rows, actions, to_go))
        with torch.no_grad():
            logits = model(*(torch.as_tensor(x) for x in args))[0, -1]
        share = float(logits.softmax(-1)[1])
        assert abs(drawn[first::2].mean() - share) < 5 * (share * (1 - share) / 2_000) ** 0.5


def _draw(seed):
    return np.random.default_rng(seed)
