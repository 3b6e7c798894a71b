"""The student's side: what is bound, what is shown, and what each kind of fault is told."""

import time

import numpy as np
import pytest
import torch

from course_lib.classroom import answer as answering, cards
from course_lib.classroom.check import Case, Exercise, Mistake, check, judge
from course_lib.classroom.exercise import exercise, find, progress
from course_lib.classroom.grade import codec
from course_lib.lessons import exercises_of


def scale(x, k):
    """Multiply x (B,) by k."""
    return x * k


def scale_cases(rng):
    x = (rng or np.random.default_rng(0)).normal(size=3)
    return [
        Case("by hand", (np.array([1.0, -2.0]), 3.0), np.array([3.0, -6.0])),
        Case("random", (x, 2.0), np.array([2 * v for v in x.tolist()])),
    ]


SCALE = Exercise(
    scale,
    scale_cases,
    (Mistake("adds", lambda x, k: x + k, "You added k: multiply by it."),),
    ("Think of a product.", "`x * k`"),
)


def in_place(x, k):
    x *= k
    return x


def loops(x, k):
    while True:
        pass


def swallows(x, k):
    while True:
        try:
            x = x + 0
        except Exception:
            x = x * 1


def leaves(x, k):
    raise SystemExit


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda x, k: x + k, "You added k"),
        (lambda x, k: (x * k)[:, None], "shape"),
        (lambda x, k: (x * k).astype(int), "kind of number"),
        (lambda x, k: x * k * float("nan"), "NaN"),
        (lambda x, k: -x * k, "values are off"),
        (lambda x, k: (x * k).tolist(), "NumPy array"),
        (lambda x, k: torch.as_tensor(x) * k, "NumPy array"),
        (lambda x, k: x / (k - k).shape, "raised AttributeError"),
        (lambda x: x, "called with (x, k)"),
        (lambda x, k: print(end=""), "returned None"),
        (in_place, "changed its inputs"),
        (leaves, "raised SystemExit"),
    ],
)
def test_each_fault_has_its_own_sentence(answer, part):
    verdict = check(answer, SCALE)
    assert verdict.status == "wrong"
    assert part in verdict.reason


def test_an_answer_that_still_carries_its_graph_is_judged_by_its_values():
    def double_cases(seed):
        return [Case("by hand", (torch.tensor([1.0, -2.0]),), torch.tensor([2.0, -4.0]))]

    double = Exercise(lambda x: 2 * x, double_cases, (), ("A product.",))
    weight = torch.tensor(2.0, requires_grad=True)
    assert check(lambda x: weight * x, double).status == "right"
    verdict = check(lambda x: (weight * x, weight), double)
    assert verdict.status == "wrong"


@pytest.mark.parametrize("endless", [loops, swallows])
def test_an_endless_loop_is_stopped_and_named(endless, monkeypatch):
    monkeypatch.setattr(answering, "SECONDS", 0.2)
    verdict = check(endless, SCALE)
    assert verdict.status == "wrong"
    assert "never ends" in verdict.reason
    time.sleep(0.3)  # a stray interrupt would surface here
    assert check(scale, SCALE).status == "right"


def stub_dots(x, k):
    """Multiply."""
    ...


def stub_pass(x, k):
    pass


def stub_none(x, k):
    return None


def stub_raises(x, k):
    raise NotImplementedError


def stub_half(x, k):
    product = ...  # your code here
    return product


@pytest.mark.parametrize("stub", [stub_dots, stub_pass, stub_none, stub_raises, stub_half])
def test_every_kind_of_stub_is_not_attempted(stub):
    assert check(stub, SCALE).status == "not attempted"


def test_a_leftover_ellipsis_above_a_right_answer_does_no_harm():
    def answer(x, k):
        ...  # your code here
        return x * k

    assert check(answer, SCALE).status == "right"


def test_a_not_implemented_error_inside_an_answer_is_an_error():
    verdict = check(lambda x, k: torch.tensor(1.5) & torch.tensor(True), SCALE)
    assert verdict.status == "wrong"
    assert "It raised" in verdict.reason


def test_an_answer_may_call_itself_while_it_is_checked_for_the_first_time():
    source = """
@exercise("q_learning.q_update")
def q_update(value, target, alpha, again=True):
    return q_update(value, target, alpha, False) if again else value + alpha * (target - value)
"""
    names = {"exercise": exercise}
    exec(source, names)
    assert names["q_update"].status == "right"


def endless_list():
    held = [1.0]
    held.append(held)
    return held


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")


def raises_unprintable(x, k):
    raise Unprintable


async def coroutine(x, k):
    return x * k


ODD = {
    "a generator": lambda x, k: (v * k for v in x),
    "a coroutine": coroutine,
    "a dict_values": lambda x, k: {1: x}.values(),
    "a Normal": lambda x, k: torch.distributions.Normal(0.0, 1.0),
    "a Linear": lambda x, k: torch.nn.Linear(2, 2),
    "torch.sparse_coo": lambda x, k: torch.as_tensor(x).to_sparse(),
    "meta": lambda x, k: torch.empty(3, device="meta"),
    "complex": lambda x, k: torch.complex(torch.as_tensor(x), torch.as_tensor(x)),
    "complex128": lambda x, k: x * 1j,
    "object": lambda x, k: np.array([x, None], dtype=object),
    "a list": lambda x, k: endless_list(),
    "thousands of digits": lambda x, k: 10**5000,
    "100,000 characters": lambda x, k: "x" * 10**6,
    "cannot be printed": raises_unprintable,
    "a type": lambda x, k: float,
    "a module": lambda x, k: np,
    "a Answer": lambda x, k: answering.Answer(),
    "a set": lambda x, k: {1.0},
    "a dict": lambda x, k: {(1, 2): {b"x": print}},
}


@pytest.mark.parametrize("part", ODD)
def test_whatever_comes_back_ends_in_a_sentence(part):
    verdict = check(ODD[part], SCALE)
    assert verdict.status == "wrong"
    assert part in verdict.reason, verdict.reason
    assert len(verdict.reason) < 1000
    text = codec.loads(codec.dumps(answering.answer(ODD[part], SCALE.cases(None))))
    assert judge(SCALE, SCALE.cases(None), text).reason == verdict.reason


def test_of_a_million_prints_a_page_is_shown(capsys):
    def chatty(x, k):
        for i in range(100_000):
            print("step", i)
        return x * k

    assert check(chatty, SCALE).status == "right"
    shown = capsys.readouterr().out
    assert shown.startswith("step 0\nstep 1\n")
    assert len(shown) < 5_000
    assert "printed more than 4,000 characters" in shown


def test_an_ellipsis_used_as_an_index_is_an_answer():
    def answer(x, k):
        return x[..., :] * k

    assert check(answer, SCALE).status == "right"


def test_the_verdict_shows_the_failing_case():
    verdict = check(lambda x, k: -x * k, SCALE)
    assert "by hand" in verdict.case and "k=3" in verdict.case
    assert verdict.expected == "[ 3. -6.]" and verdict.got == "[-3.  6.]"


def test_a_right_answer_is_bound_a_wrong_one_is_not(capsys):
    @exercise("start_here.discounted_return")
    def mine(rewards, gamma):
        return float(sum(r * gamma**t for t, r in enumerate(rewards)))

    assert mine.status == "right" and mine.function.__name__ == "mine"

    @exercise("start_here.discounted_return")
    def wrong(rewards, gamma):
        return float(sum(rewards))

    assert wrong([0.0, 1.0], 0.5) == 0.5
    assert "discount" in capsys.readouterr().out

    @exercise("start_here.discounted_return", keep_mine=True)
    def kept(rewards, gamma):
        return float(sum(rewards))

    assert kept([0.0, 1.0], 0.5) == 1.0

    @exercise("start_here.discounted_return")
    def untouched(rewards, gamma): ...

    assert untouched.status == "not attempted" and untouched([0.0, 1.0], 0.5) == 0.5
    assert untouched.attempts == 3


def test_hints_come_one_at_a_time_and_the_solution_is_the_library(capsys):
    @exercise("start_here.success_rate")
    def success_rate(returns, goal): ...

    capsys.readouterr()
    success_rate.hint()
    first = capsys.readouterr().out
    success_rate.hint()
    second = capsys.readouterr().out
    assert "hint 1 of 3" in first and "hint 2 of 3" in second
    with pytest.raises(ValueError, match="hints 1 to 3, got 9"):
        success_rate.hint(9)
    success_rate.solution()
    shown = capsys.readouterr().out
    assert "It is `success_rate` in `course_lib/evaluation.py`." in shown
    assert "def success_rate" in shown


@pytest.mark.parametrize(
    ("text", "rich", "words"),
    [
        ("only the *future* counts", "only the <em>future</em> counts", "only the future counts"),
        ("`a * b * c`, not 2 * x * y", "<code>a * b * c</code>, not 2 * x * y", None),
        ("gamma**k, x**2 + y**2, a*b*c", "gamma**k, x**2 + y**2, a*b*c", None),
        ("f(*args, *more) and g(x)*h(x)*2", "f(*args, *more) and g(x)*h(x)*2", None),
        ("$a*b*c$ and $x$ * $y$ * z", "$a*b*c$ and $x$ * $y$ * z", None),
        ("$$a*b*c$$", "$$a*b*c$$", None),
        (
            "**run `f`** *if `x` < $y$*",
            "<b>run <code>f</code></b> <em>if <code>x</code> &lt; $y$</em>",
            "run `f` if `x` < $y$",
        ),
        ("(*because*) it **is**.", "(<em>because</em>) it <b>is</b>.", "(because) it is."),
        ("a \0 in `b`", "a \ufffd in <code>b</code>", "a \ufffd in `b`"),
    ],
)
def test_marks_become_emphasis_and_code_and_formulas_keep_their_stars(text, rich, words):
    assert cards.markup(text) == rich
    assert cards.plain(text) == (text if words is None else words)


def test_a_card_says_its_two_values_once(capsys):
    def f(x, k):
        return 7.5

    exercise_of = Exercise(scale, lambda rng: [Case("by hand", (5.0, 1.0), 5.0)])
    verdict = check(f, exercise_of)
    assert verdict.reason == "The values are off (expected 5, got 7.5)."
    cards.show_verdict("a.scale", verdict, uses_own=False)
    shown = capsys.readouterr().out
    assert "Not yet. The values are off.\n" in shown
    assert "Expected: 5\n" in shown and "Got: 7.5\n" in shown
    assert shown.count("7.5") == 1


def test_progress_lists_every_exercise_of_the_lesson(capsys):
    @exercise("start_here.success_rate")
    def success_rate(returns, goal):
        return float((returns >= goal).mean())

    capsys.readouterr()
    progress("start_here")
    shown = capsys.readouterr().out
    assert all(name in shown for name in exercises_of("start_here"))
    assert "right" in shown


def test_a_misspelt_name_gets_the_nearest_one():
    with pytest.raises(KeyError, match=r"start_here\.success_rate"):
        find("start_here.sucess_rate")
    with pytest.raises(KeyError, match="start_here"):
        find("nowhere.x")
