"""Where training differentiates an answer, its gradient is judged like its values.

Every exercise of every lesson that names `differentiated` arguments is asked with answers whose
values are right and whose gradient is not, in the notebook's way and in the grader's.
`tests/lessons/test_drives.py` shows that these arguments are the ones that carry a gradient in the
lesson's run.
"""

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_lib.classroom.answer import answer, gradients
from course_lib.classroom.check import Case, Exercise, check, judge
from course_lib.classroom.grade import codec
from tests.lessons.test_every_exercise import ALL

SEEDS = range(2)
DIFFERENTIATED = {name: ex for name, ex in ALL.items() if ex.differentiated}


def under_no_grad(reference, places):
    return torch.no_grad()(reference)


def changed(reference, change):
    """The reference with ``change`` of what it returns; of the loss, where metrics follow it."""

    def answer(*args):
        value = reference(*args)
        return (change(value[0]), *value[1:]) if isinstance(value, tuple) else change(value)

    return answer


def through_numpy(reference, places):
    return changed(reference, lambda x: torch.from_numpy(x.float().detach().numpy()).to(x.dtype))


def through_a_list(reference, places):
    return changed(reference, lambda x: torch.tensor(x.tolist()))


def detached(reference, places):
    return changed(reference, lambda x: x.detach())


def half(reference, places):
    return changed(reference, lambda x: 0.5 * x + 0.5 * x.detach())


def too_much(reference, places):
    """A straight-through answer: the gradient of another function."""
    return changed(reference, lambda x: x + 0.5 * (x**2 - (x**2).detach()))


def one_argument_detached(number):
    def lose(reference, places):
        def answer(*args):
            args = list(args)
            args[places[number]] = args[places[number]].detach()
            return reference(*args)

        return answer

    return lose


def carries(exercise, place):
    """Whether the reference lets a gradient through the argument in this place, in any case."""
    for number, case in enumerate(exercise.cases(np.random.default_rng(1))):
        (found,) = gradients(exercise.reference, case, [place], number)
        if found.count_nonzero():
            return True
    return False


WAYS = [under_no_grad, through_numpy, through_a_list, detached, half, too_much]


def both_ways(function, exercise, seed):
    """The verdicts of the notebook and of the grader, whose answers travel as text."""
    cases = exercise.cases(np.random.default_rng(seed))
    travelled = codec.loads(codec.dumps(answer(function, cases, exercise.differentiated_places)))
    return check(function, exercise, seed), judge(exercise, cases, travelled)


def test_there_are_such_exercises_in_every_lesson_that_trains_a_network_with_them():
    lessons = {name.split(".")[0] for name in DIFFERENTIATED}
    assert {"actor_critic", "ppo", "transformer", "adaptation", "reward_models"} <= lessons
    assert {"rlhf_ppo", "dpo_grpo", "world_models", "transformer_world_model"} <= lessons


@pytest.mark.parametrize("lose", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", DIFFERENTIATED)
def test_a_right_value_without_its_gradient_is_refused(name, lose):
    exercise = DIFFERENTIATED[name]
    function = lose(exercise.reference, exercise.differentiated_places)
    for seed in SEEDS:
        for verdict in both_ways(function, exercise, seed):
            assert verdict.status == "wrong"
            assert "gradient" in verdict.reason


@pytest.mark.parametrize("name", [n for n, e in DIFFERENTIATED.items() if " " in e.differentiated])
def test_each_argument_is_looked_at_by_itself(name):
    exercise = DIFFERENTIATED[name]
    places = exercise.differentiated_places
    carrying = [place for place in places if carries(exercise, place)]
    assert carrying
    for number, lost in enumerate(exercise.differentiated.split()):
        if places[number] not in carrying:
            continue  # the reference detaches it itself, and an answer has to do so too
        function = one_argument_detached(number)(exercise.reference, places)
        for verdict in both_ways(function, exercise, 0):
            assert verdict.status == "wrong"
            assert f"no gradient flows back to `{lost}`" in verdict.reason or verdict.mistake


@pytest.mark.parametrize("name", DIFFERENTIATED)
def test_the_gradients_of_the_reference_are_those_of_finite_differences(name):
    exercise = DIFFERENTIATED[name]
    places, checked = [p for p in exercise.differentiated_places if carries(exercise, p)], 0
    for case in exercise.cases(np.random.default_rng(1)):
        args = [
            a.double() if torch.is_tensor(a) and a.is_floating_point() and a.itemsize >= 4 else a
            for a in case.args
        ]
        if any(torch.is_tensor(a) and a.dtype == torch.bfloat16 for a in args):
            continue
        for place in places:
            noise = torch.randn(args[place].shape, generator=torch.Generator().manual_seed(0))
            args[place] = (args[place] + 1e-3 * noise).requires_grad_()

        def of_these(*moved, args=args):
            given = list(args)
            for place, tensor in zip(places, moved, strict=True):
                given[place] = tensor
            value = exercise.reference(*given)
            return value[0] if isinstance(value, tuple) else value

        if any(torch.is_tensor(a) and not torch.isfinite(a).all() for a in args):
            continue
        assert torch.autograd.gradcheck(of_these, [args[p] for p in places], atol=1e-4)
        checked += 1
    assert checked >= 1


def log_sigmoid(x):
    """log sigmoid(x), elementwise."""
    return F.logsigmoid(x)


ARGUMENTS, EXPECTED = torch.tensor([0.0, -1.0]), torch.tensor([-0.693147, -1.313262])
LOG_SIGMOID = Exercise(
    log_sigmoid,
    lambda rng: [Case("by hand", (ARGUMENTS,), EXPECTED)],
    hints=("a", "b"),
    edits="the graph cut: `F.logsigmoid(x)` becomes `F.logsigmoid(x.detach())`. You detached.",
    differentiated="x",
)


@pytest.mark.parametrize(
    "right",
    [
        lambda x: torch.log(torch.sigmoid(x)),
        lambda x: -F.softplus(-x),
        lambda x: x - torch.log1p(x.exp()),
        lambda x: torch.stack([F.logsigmoid(v) for v in x]),
    ],
)
def test_other_ways_to_write_it_have_the_right_gradient(right):
    assert check(right, LOG_SIGMOID).status == "right"


def test_a_mistake_whose_values_are_right_is_known_by_its_gradient():
    verdict = check(lambda x: torch.log(torch.sigmoid(x.detach())), LOG_SIGMOID)
    assert (verdict.mistake, verdict.reason) == ("the graph cut", "You detached.")


def test_a_gradient_that_is_not_a_number_has_a_sentence_of_its_own():
    def where(x):
        odd = torch.where(x < 1e9, 0.0, (x - x.detach()).sqrt())
        return F.logsigmoid(x) + odd

    verdict = check(where, LOG_SIGMOID)
    assert verdict.status == "wrong"
    assert "NaN" in verdict.reason


def test_the_places_of_differentiated_arguments_are_those_of_the_signature():
    for exercise in DIFFERENTIATED.values():
        names = list(inspect.signature(exercise.reference).parameters)
        assert set(exercise.differentiated.split()) <= set(names)
