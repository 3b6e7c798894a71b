"""The maze is as drawn, the record as promised, and only who joins walks finds the goal."""

import numpy as np
import pytest

from course_lib.evaluation import evaluate
from course_lib.rl import offline_table as tables
from course_lib.rl.q_learning import epsilon_greedy
from course_lib.worlds import crossing
from course_lib.worlds.crossing import Crossing, recorded

UP, RIGHT, DOWN, LEFT = range(4)


def play(start, actions):
    env = Crossing(start)
    env.reset()
    return [env.step(action)[1:4] for action in actions]


@pytest.mark.parametrize(
    ("start", "actions", "prize"),
    [
        ("A", [RIGHT] * 6, 10.0),
        ("A", [DOWN] * 2, 3.0),
        ("A", [RIGHT] * 3 + [UP], 0.0),
        ("B", [UP] * 2 + [RIGHT] * 3, 10.0),
        ("B", [UP] * 3, 0.0),
        ("B", [UP] * 2 + [LEFT] * 3 + [DOWN] * 2, 3.0),
    ],
)
def test_every_way_ends_where_the_drawing_says(start, actions, prize):
    *before, last = play(start, actions)
    assert all(step == (0.0, False, False) for step in before)
    assert last == (prize, True, False)


def test_walls_leave_you_in_place_and_the_clock_runs_out():
    env = Crossing("A")
    first, _ = env.reset()
    for _ in range(39):
        obs, reward, terminated, truncated, _ = env.step(UP)
        assert (obs == first).all() and (reward, terminated, truncated) == (0.0, False, False)
    assert env.step(LEFT)[2:4] == (False, True)
    assert env.reset()[0].tolist() == first.tolist() and not env.step(UP)[3]


def test_observations_are_one_hot_and_tell_all_cells_apart():
    seen = np.stack([crossing.one_hot(cell) for cell in crossing.CELLS])
    assert (seen == np.eye(12)).all() and seen.dtype == np.uint8
    assert Crossing().observation_space.contains(seen[0])
    with pytest.raises(ValueError, match='"A" or "B", got \'T\''):
        Crossing("T")


def test_many_copies_restart_like_any_other_environments():
    envs = crossing.crossing("B", num_envs=3)
    first = envs.reset()
    for action in [UP, UP, UP]:
        step = envs.step(np.full(3, action))
    assert step.terminated.all() and step.valid.all()
    step = envs.step(np.full(3, UP))
    assert (step.obs == first).all() and not step.valid.any()


@pytest.mark.parametrize("seed", range(5))
def test_the_record_holds_220_walks_that_the_maze_could_have_made(seed):
    data = recorded(seed)
    assert data.returns.tolist() == [3.0] * 100 + [0.0] * 100 + [10.0] * 20
    assert not data.truncated.any()
    for k, (start, end) in enumerate(zip(data.starts, data.ends, strict=True)):
        env = Crossing("A" if k < 200 else "B", clock=1000)
        obs, _ = env.reset()
        for row in range(start, end + 1):
            assert (data.obs([row])[0].numpy() == obs).all()
            obs, *outcome, _ = env.step(int(data.actions[row]))
            assert outcome == [data.rewards[row], data.terminated[row], data.truncated[row]]


def test_a_tenth_of_the_steps_is_random_and_without_noise_all_walks_are_shortest():
    exact = recorded(noise=0.0)
    lengths = exact.ends - exact.starts + 1
    assert lengths.tolist() == [2] * 100 + [4] * 100 + [5] * 20
    for seed in range(3):
        # Of some 780 steps a tenth is random, three in four of these go astray for 1 or 2 steps.
        extra = len(recorded(seed)) - len(exact)
        assert 40 < extra < 160
    assert (recorded(1).actions[:100] != recorded(2).actions[:100]).any()
    assert recorded(1).actions.tolist() == recorded(1).actions.tolist()
    with pytest.raises(ValueError, match="noise must lie in"):
        recorded(noise=1.0)


def test_no_walk_leads_from_A_to_the_goal_though_every_step_of_the_way_is_there():
    data = recorded()
    states = data.obs(np.arange(len(data))).numpy().argmax(1)
    from_a = data.returns[states[data.starts] == crossing.STATE[crossing.PLACES["A"]]]
    assert from_a.max() == 3.0
    pairs = set(zip(states.tolist(), data.actions.tolist(), strict=True))
    assert all((crossing.STATE[1, column], RIGHT) in pairs for column in range(6))


@pytest.mark.parametrize("seed", range(3))
def test_dynamic_programming_joins_walks_and_imitation_does_not(seed):
    data = recorded(seed)

    def returns(policy, start):
        return evaluate(tables.player(policy, seed), crossing.crossing(start, 50, seed), 50)

    joined = tables.dynamic_programming(data, 0.95)
    assert joined[crossing.STATE[1, 0], RIGHT] == pytest.approx(10 * 0.95**5)
    assert joined[crossing.STATE[2, 0], DOWN] == pytest.approx(3)
    assert (returns(epsilon_greedy(joined, 0), "A") == 10).all()
    for imitation in (tables.return_policy(data), tables.cloned_policy(data.best(0.1))):
        assert (returns(imitation, "A") < 10).all()
        assert (returns(imitation, "B") == 10).all(), "what was walked, they can ask for"
    assert (returns(epsilon_greedy(tables.one_step(data, 0.95), 0), "A") < 10).all()
    assert (returns(tables.cloned_policy(data), "A") == 10).mean() < 0.3
