"""Loops that are right in other ways pass; wrong ones that look alike are told what is wrong."""

import time

import numpy as np
import pytest
import torch

from course_lib.agents import instructions
from course_lib.agents.instructions import BagOfWords, Config, InstructionAgent
from course_lib.classroom.check import check
from course_lib.classroom.edits import Edit, apply
from course_lib.evaluation import evaluate
from course_lib.lessons.language_agents.build import Listener, generalisation_table
from course_lib.worlds import grid, sentences
from course_lib.worlds.commands import ACTIONS, Commands

SEEDS = range(20)
HEAR = "agent.hear([command.sentence for command in commands])"
RESET = "obs = envs.reset()"
STEP = "obs, rewards, terminated, truncated, valid = envs.step(agent.act(obs))"
SHARE = "share = -(-episodes // envs.num_envs)"
ENDS = "ends = valid & (terminated | truncated) & (ended < share)"
DONE = "done += ends & terminated & (rewards > 0)"
WHILE = "while ended.min() < share"
KEEP = "table[name] = done.sum() / ended.sum()"
BACK = "agent.hear(before)"
WRONG = {  # what is changed: the mistake whose hint it gets
    "the mean return": ("adds up rewards", (DONE, "done = done + rewards"), (
        "np.zeros((2, envs.num_envs), int)", "np.zeros((2, envs.num_envs))")),
    "successes as they come": ("adds up rewards", ("done.sum() / ended.sum()",
                                                   "(done * rewards).sum() / ended.sum()")),
    "an end with a number": ("takes every end for a success", ("(rewards > 0)", "(rewards != 0)")),
    "an end that costs nothing": ("takes every end for a success",
                                  ("(rewards > 0)", "(rewards >= 0)")),
    "a clock goes on": ("leaves out the clock", ("truncated) & (ended", "False) & (ended")),
    "the row of the reset counts": ("counts the reset", (ENDS,
                                    "ends = (terminated | truncated | ~valid) & (ended < share)")),
    "acts at random": ("does not let it hear", ("agent.act(obs)",
                                                "np.full(len(obs), 7)")),
    "hears its own again": ("does not let it hear", (RESET, RESET + "; agent.hear(before)")),
    "the first sentence for all": ("never looks again", ("[command.sentence for command in "
                                   "commands]", "[commands[0].sentence for _ in commands]")),
    "a step behind": ("misses the first observation", (RESET, "obs = older = envs.reset()"),
                      (STEP, "older, (obs, rewards, terminated, truncated, valid) = obs, "
                             "envs.step(agent.act(older))")),
    "only the first row counts": ("counts the row before", (KEEP,
                                  "table[name] = [*table.values(), done.sum() / ended.sum()][0]")),
    "the sum over the rows": ("counts the row before", (KEEP,
                              "table[name] = done.sum() / ended.sum() + sum(table.values())")),
    "never gives back, where it began": ("keeps the last row's sentences",
                                         ("agent.sentences, {}", "agent.sentences[:0], {}"),
                                         (BACK, "agent.hear(before or agent.sentences)")),
    "gives back the list alone": ("keeps the last row's sentences",
                                  (BACK, "agent.sentences = before")),
    "the worst room": ("looks at the first room", (KEEP,
                       "table[name] = (done / ended).max()")),
    "the mean of what ended": ("stops with the fastest", (WHILE, "while ended.max() < share"), (
        KEEP, "table[name] = done.sum() / max(1, ended.sum())")),
    "one room after the other": ("stops with the fastest", (WHILE, "while ended[0] < share")),
    "resets all at any end": ("stops with the fastest", ("ended += ends", "ended += ends; "
                              "obs = envs.reset() if ends.any() else obs")),
    "so many in each": ("plays all in each room", (SHARE, "share = episodes")),
    "the first to end, of all": ("rounds down", (WHILE, "while ended.sum() < episodes")),
    "the last ones": ("remembers a success", (ENDS, "ends = valid & (terminated | truncated)"),
                      (DONE, "done = np.where(ends, terminated & (rewards > 0), done)"),
                      (KEEP, "table[name] = done.mean()")),
}  # fmt: skip
RIGHT = {
    "the flags alone": (("valid & (terminated", "(terminated"),),
    "stops where all have ended": ((WHILE, "while not (ended >= share).all()"),),
    "counts down": (
        ("ended, done = np.zeros((2, envs.num_envs), int)",
         "left, done = np.full(envs.num_envs, share), np.zeros(envs.num_envs)"),
        (WHILE, "while left.any()"), ("(ended < share)", "(left > 0)"),
        ("ended += ends", "left -= ends"),
        ("ended.sum()", "(share * envs.num_envs)"),
    ),
    "rounds up by a library": ((SHARE, "share = int(np.ceil(episodes / envs.num_envs))"),),
    "means of means": ((KEEP, "table[name] = float(np.mean(done / share))"),),
    "a whole number where it can": ((KEEP, "x = done.sum() / ended.sum(); "
                                           "table[name] = int(x) if x in (0, 1) else x"),),
    "hears after the reset": ((HEAR, "pass"), (RESET, RESET + "; " + HEAR)),
    "hears what the rooms say": ((HEAR, "agent.hear(make_envs(commands).sentences)"),),
    "gives back after each row": (
        (KEEP, KEEP + "; agent.hear(before)"),
        ("agent.hear(before)\n    return table", "return table"),
    ),
    "observations of whole numbers": (("agent.act(obs)", "agent.act(np.asarray(obs, np.int32))"),),
    "one room at a time": (
        (DONE, "[done.__setitem__(i, done[i] + 1) for i in range(envs.num_envs) "
               "if ends[i] and terminated[i] and rewards[i] > 0]"),
    ),
    "a reset of its own, alone": (
        ("ended += ends", "ended += ends; obs = envs.reset() if envs.num_envs == 1 and ends[0] "
                          "else obs"),
    ),
}  # fmt: skip


def changed(*changes):
    return apply(generalisation_table.reference, Edit("changed", changes, ""))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_loop_gets_the_hint_that_helps(name):
    mistake, *changes = WRONG[name]
    for seed in SEEDS:
        assert check(changed(*changes), generalisation_table, seed).mistake == mistake, seed


@pytest.mark.parametrize("mistake", generalisation_table.mistakes, ids=lambda known: known.name)
def test_a_mistake_is_refused_by_the_probe_that_isolates_it(mistake):
    for seed in SEEDS:
        probes = {probe.isolates: probe.name for probe in _probes(seed)}
        verdict = check(mistake.function, generalisation_table, seed)
        assert (verdict.mistake, verdict.case) == (mistake.name, probes[mistake.name]), seed


def test_every_mistake_has_its_probe_in_the_order_of_the_probes():
    isolated = [probe.isolates for probe in _probes(0) if probe.isolates]
    assert isolated == [mistake.name for mistake in generalisation_table.mistakes]
    assert len(isolated) >= 14


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_loop_may_be_written_in_many_ways(name):
    for seed in SEEDS:
        verdict = check(changed(*RIGHT[name]), generalisation_table, seed)
        assert verdict.status == "right", (seed, verdict)


def test_other_keys_endless_loops_and_missing_sentences_get_a_sentence():
    found = check(changed(("table[name] =", "table[len(table)] =")), generalisation_table)
    assert found.mistake is None and "expected the keys ['row'], got [0]" in found.reason
    endless = check(changed((WHILE, "while True")), generalisation_table)
    assert "you are still playing" in endless.reason
    one = check(changed(("commands])", "commands[:1]])")), generalisation_table)
    assert "let it hear all sentences of the row" in one.reason


def test_the_check_is_cheap():
    begun = time.process_time()
    assert check(generalisation_table.reference, generalisation_table).status == "right"
    assert time.process_time() - begun < 2


def test_an_agent_is_asked_twice_and_each_check_begins_anew():
    *_, earlier, again = _upto("keeps the last row's sentences")
    assert again.args[0].earlier is earlier.args[0]
    assert not earlier.args[0].copies
    agent = Listener("open it")
    assert agent.act(np.array([[0, 0]])).tolist() == [sentences.VERBS.index("open")]


def test_with_a_real_agent_it_says_what_the_library_s_evaluation_says():
    training = sentences.training(verbs=("go to",), templates=1)
    rows = {"seen": training, "open": sentences.training(verbs=("open",), templates=1)}
    texts = [command.sentence for command in training]
    encoder = instructions.whitened(BagOfWords(texts), texts, components=4)
    shape = grid.FEATURES, grid.VIEW**2, len(ACTIONS)
    network = Config(listening=8, channels=8, squeezed=4, hidden=16)
    agent = InstructionAgent(encoder, texts, *shape, network, seed=0)

    def make_envs(commands):
        return Commands(commands, 20, seed=5)

    torch.manual_seed(0)
    found = generalisation_table.reference(agent, rows, make_envs, 90)
    assert agent.sentences == texts and torch.equal(agent.network.vectors, encoder(texts))
    torch.manual_seed(0)
    for name, row in rows.items():
        agent.hear([command.sentence for command in row])
        assert found[name] == (evaluate(agent.act, make_envs(row), 90) > 0).mean()
    assert list(found) == list(rows) and 0 < found["seen"] < 0.5


def _probes(seed):
    return generalisation_table.cases(np.random.default_rng(seed))


def _upto(mistake):
    probes = _probes(0)
    return probes[: [probe.isolates for probe in probes].index(mistake) + 1]
