"""Loops that are right in other ways pass; wrong ones that look alike are told what is wrong."""

import numpy as np
import pytest

from course_lib.classroom.check import check
from course_lib.classroom.edits import Edit, apply
from course_lib.lessons.dqn.build import learn_from_replay

ACT = "rng.random() < epsilon"
DRAW = "rng.integers(len(memory), size=batch_size)"
KEEP = "np.float32(reward), next_obs, np.float32(terminated)"
MOVE = "slow += tau * (fast - slow)"
TARGET = "next_q.max(dim=1).values"
WRONG = {  # what is changed, and the mistake whose hint it gets
    ("copy.deepcopy(online)", "online"): "asks the learner itself",
    (MOVE, "slow.copy_(fast)"): "asks the learner itself",
    ("return online", "return target_network"): "asks the learner itself",
    ("if len(memory) < batch_size", "if len(memory) <= batch_size"): "takes no gradient step",
    (ACT, "rng.random() > epsilon"): "explores too often",
    (KEEP, KEEP.replace("terminated", "reward > 0")): "never looks ahead",
    (TARGET, "next_q[:, 0]"): "averages the actions",
    (DRAW, "[-1 - i % 2 for i in range(batch_size)]"): "learns from the newest",
}
RIGHT = {
    "without replacement": (DRAW, "rng.permutation(len(memory))[:batch_size]"),
    "from the end": (DRAW, "-1 - rng.integers(len(memory), size=batch_size)"),
    "at most": (ACT, "rng.random() <= epsilon"),
    "another Huber loss": ("F.smooth_l1_loss(q, targets)", "F.huber_loss(targets, q)"),
    "the sum, divided": (
        "F.smooth_l1_loss(q, targets)",
        'F.smooth_l1_loss(q, targets, reduction="sum") / len(rows)',
    ),
    "lerp": (MOVE, "slow.lerp_(fast, tau)"),
    "a mean of both": (MOVE, "slow.copy_((1 - tau) * slow + tau * fast)"),
    "Double DQN": (TARGET, "next_q.gather(1, online(following).argmax(1, True)).squeeze(1)"),
    "gathers": (
        "online(seen)[torch.arange(batch_size), actions]",
        "online(seen).gather(1, actions[:, None]).squeeze(1)",
    ),
    "keeps what went on": (
        (KEEP, KEEP.replace("terminated", "1 - terminated")),
        ("(1 - ended)", "ended"),
    ),
}  # fmt: skip


def _changed(*changes):
    return apply(learn_from_replay.reference, Edit("changed", changes, ""))


@pytest.mark.parametrize(("change", "mistake"), WRONG.items(), ids=[b for _, b in WRONG])
def test_it_is_refused_on_every_seed(change, mistake):
    wrong = _changed(change)
    for seed in range(5):
        assert check(wrong, learn_from_replay, seed).mistake == mistake


@pytest.mark.parametrize("name", RIGHT)
def test_other_right_loops_pass(name):
    changes = RIGHT[name]
    right = _changed(*(changes if isinstance(changes[0], tuple) else (changes,)))
    for seed in range(5):
        assert check(right, learn_from_replay, seed).status == "right", seed


def test_every_probe_isolates_a_mistake():
    probes = learn_from_replay.cases(np.random.default_rng(0))
    names = [mistake.name for mistake in learn_from_replay.mistakes]
    assert [probe.isolates for probe in probes] == names
