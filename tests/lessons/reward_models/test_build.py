"""The build of lesson 07: what each probe refuses, and that every right style passes."""

import math

import numpy as np
import pytest
import torch

from course_lib.classroom.check import check
from course_lib.classroom.edits import Edit, apply
from course_lib.lessons.reward_models.build import course_of, fit_reward_model

SEEDS = range(5)
WRONG = [  # the mistake whose hint it gets; what is changed
    ("goes up the loss", ("reward(a), reward(b), label", "reward(b), reward(a), label")),
    ("goes up the loss", ("share[batch]", "1 - share[batch]")),
    ("goes up the loss", (".mean()", ".mean() / 2")),
    ("goes up the loss", ("weights -= lr * weights.grad", "weights -= lr * weights.grad.sign()")),
    ("goes up the loss", ("in batches", "in batches[:-1]")),
    ("goes up the loss", ("in batches", "in batches * 2")),
    ("ignores the label", ("reward(b), label)", "reward(b), torch.ones(len(label)))")),
    ("adds to the old gradient", ("for batch in batches", "for batch in batches[:1]")),
    ("adds up the losses", (".mean()", ".mean() * len(label)")),
    ("a tie is a defeat", ("share[batch]", "(share[batch] >= 0.5).float()")),
    ("a tie is a defeat", ("share[batch]", "share[batch].round()")),
    ("averages over words", (".sum(dim=1)", ".mean(dim=1)")),
    ("pays for padding", ("(text != 0)", "(text >= 0)")),
    ("returns the last weights", ("return best", "return weights.detach()")),
    ("forgets the start", ("surprise < lowest", "surprise < lowest or batch is batches[0]")),
    (
        "returns the last weights",
        (
            "surprise = loss(*held_out)",
            "surprise = loss(first[batch], second[batch], share[batch])",
        ),
    ),
]
RIGHT = [  # changes of style that change nothing
    ("weights.grad = None", "weights.grad = torch.zeros_like(weights)"),
    ("weights.grad = None", "weights = weights.detach().requires_grad_()"),
    ("surprise < lowest", "surprise <= lowest"),
    ("return best", "return best.clone().double()"),
    ("(text != 0)", "(text > 0).float()"),
    ("(weights[text] * (text != 0)).sum(dim=1)", "weights[text].masked_fill(text == 0, 0).sum(1)"),
    ("weights[text]", "torch.nn.functional.embedding(text, weights[:, None])[..., 0]"),
    (".mean()", ".sum() / len(label)"),
    ("weights -= lr * weights.grad", "weights.sub_(weights.grad, alpha=lr)"),
    ("weights -= lr * weights.grad", "torch.optim.SGD([weights], lr=lr).step()"),
    ("first[batch], second[batch], share[batch]", "*(x[batch] for x in (first, second, share))"),
]


@pytest.mark.parametrize(("mistake", "change"), WRONG)
def test_it_is_refused_by_the_probe_that_isolates_it(mistake, change):
    wrong = apply(fit_reward_model.reference, Edit("wrong", (change,), ""))
    for seed in SEEDS:
        assert check(wrong, fit_reward_model, seed).mistake == mistake


@pytest.mark.parametrize("mistake", fit_reward_model.mistakes, ids=lambda mistake: mistake.name)
def test_a_named_mistake_passes_every_probe_before_its_own(mistake):
    for seed in SEEDS:
        cases = fit_reward_model.cases(np.random.default_rng(seed))
        (own,) = (case.name for case in cases if case.isolates == mistake.name)
        assert check(mistake.function, fit_reward_model, seed).case == own


@pytest.mark.parametrize("change", RIGHT)
def test_a_right_loop_passes(change):
    right = apply(fit_reward_model.reference, Edit("right", (change,), ""))
    for seed in SEEDS:
        assert check(right, fit_reward_model, seed).status == "right", seed


def test_the_best_of_each_probe_stands_clear_of_the_others():
    """Styles round differently, so no choice may hang on the last digits."""
    for seed in range(20):
        for case in fit_reward_model.cases(np.random.default_rng(seed)):
            nll = np.sort(course_of(case.args[:3], *case.args[3:])[1])
            assert nll[1] - nll[0] > 5e-4, case.name


def test_numbers_by_hand():
    """A win, then a tie of the same pair: from 0.5 back by p - 0.5, p = sigmoid(1)."""
    pair = torch.tensor([[1], [1]]), torch.tensor([[2], [2]]), torch.tensor([1.0, 0.5])
    course, nll = course_of(pair, pair, 3, [[0], [1]], 1.0)
    p = 1 / (1 + math.exp(-1))
    assert np.allclose(course[1], [0, 0.5, -0.5])
    assert np.allclose(course[2], [0, 1 - p, p - 1])
    assert nll[0] == pytest.approx(math.log(2))
