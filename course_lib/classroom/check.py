"""Judge an answer: untouched, right, or wrong and why. No display, no state, no notebook.

`check` compares a function with cases of independent ground truth. A wrong answer is also
compared with the mistakes that students are known to make, then with small slips of the right
answer: the one that gives the same output in every case names the misunderstanding.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from course_lib.classroom import edits, slips, stub
from course_lib.classroom.answer import SECONDS, Answer, Case, answer, ask, gradients
from course_lib.classroom.compare import Difference, difference, same, show
from course_lib.classroom.use import StandIn


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that students are known to give, and the hint that mends it."""

    name: str
    function: Callable
    hint: str


@dataclass(frozen=True)
class Exercise:
    """The library's function, cases of independent ground truth, known mistakes, graded hints.

    `cases` maps a random generator to a list of cases: some worked out by hand, the others
    drawn at random with their answers computed another way than the reference computes them.
    `edits` are mistakes that change a few words of the reference, as text: see `edits`. They come
    before the other `mistakes`. `differentiated` names the arguments through which training sends
    gradients back ("logp", or "mean log_std"): those of an answer have to be right as well.

    An exercise to *build* a loop, a module or a search is judged by what it does in probes: cases
    that each isolate one mistake, since two right loops need not give the same numbers anywhere
    else. `seconds` is what all its cases together may compute.
    """

    reference: Callable
    cases: Callable[[np.random.Generator], list[Case]]
    mistakes: tuple[Mistake, ...] = ()
    hints: tuple[str, ...] = ()
    edits: str = ""
    differentiated: str = ""
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        edited = [
            Mistake(edit.name, edits.apply(self.reference, edit), edit.hint)
            for edit in edits.read(self.edits)
        ]
        object.__setattr__(self, "mistakes", (*edited, *self.mistakes))

    @functools.cached_property
    def slips(self) -> list[Mistake]:
        """The reference with one small thing wrong, as mistakes: see `slips`."""
        return [
            Mistake(
                f"slip: {slip.words}",
                slip.function,
                f"Your values are exactly those of the right answer with one slip: {slip.words}.",
            )
            for slip in slips.slips(self.reference)
        ]

    @property
    def parameters(self) -> list[str]:
        """The names of the arguments."""
        return list(inspect.signature(self.reference).parameters)

    @property
    def differentiated_places(self) -> list[int]:
        """Where the differentiated arguments stand."""
        return [self.parameters.index(name) for name in self.differentiated.split()]

    def mistake(self, name: str) -> StandIn:
        """The wrong function of that name, to `use` in a training run and watch what it does."""
        for known in self.mistakes:
            if known.name == name:
                return StandIn(self.reference, known.function)
        raise KeyError(f"no mistake named {name!r}; there are: {[m.name for m in self.mistakes]}")


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check: `status` is "not attempted", "wrong" or "right"."""

    status: str
    reason: str = ""
    mistake: str | None = None
    case: str | None = None
    expected: str | None = None
    got: str | None = None


def check(function: Callable, exercise: Exercise, seed: int = 0) -> Verdict:
    """Judge a function: untouched, right, or wrong with the reason. Never raises for its faults.

    Another `seed` draws other random cases, so that an answer cannot be fitted to the cases seen.
    """
    if stub.is_untouched(function):
        return Verdict("not attempted")
    cases = exercise.cases(np.random.default_rng(seed))
    answers = answer(function, cases, exercise.differentiated_places, exercise.seconds)
    verdict = judge(exercise, cases, answers)
    unfinished = verdict.status == "wrong" and stub.is_unfinished(function)
    return Verdict("not attempted") if unfinished else verdict


def judge(exercise: Exercise, cases: list[Case], answers: list[Answer]) -> Verdict:
    """Compare answers with what was expected. Runs none of the student's code."""
    last, case = answers[-1], cases[min(len(answers), len(cases)) - 1]
    if not last.fits:
        names = ", ".join(exercise.parameters)
        return Verdict(
            "wrong", f"It is called with ({names}), but your signature says: {last.error}."
        )
    if last.out_of_time:
        return Verdict("wrong", f"{last.error} Look for a loop that never ends.", case=case.name)
    return _judge(exercise, cases, answers)


def _judge(exercise: Exercise, cases: list[Case], answers: list[Answer]) -> Verdict:
    if len(answers) < len(cases) and answers[-1].error is None:
        raise ValueError(f"{len(answers)} answers to {len(cases)} cases")
    for case, given in zip(cases, answers, strict=False):
        if given.error is not None:
            return Verdict("wrong", given.error, case=_picture(exercise, case))
        found = difference(given.value, case.expected, case.rtol, case.atol)
        if found is None and not given.changed_inputs:
            continue
        known = _isolated(exercise, case, found) or _recognise(exercise, cases, answers)
        if found is None and known in exercise.slips:
            known = None  # the values are right, so no slip in them is the news
        if known is not None:
            reason = known.hint
        elif given.value is None:
            reason = "It returned None. Is a `return` statement missing?"
        elif found is None:
            reason = "The values are right, but it changed its inputs. Work on a copy instead."
        else:
            reason = _REASONS[found.kind] + f" ({found.sentence})."
        return Verdict(
            "wrong",
            reason,
            mistake=known.name if known else None,
            case=_picture(exercise, case),
            expected=show(case.expected),
            got=show(given.value),
        )
    if exercise.differentiated:
        return _judge_gradients(exercise, cases, answers)
    return Verdict("right")


def _judge_gradients(exercise: Exercise, cases: list[Case], answers: list[Answer]) -> Verdict:
    """The verdict on answers whose values are right."""
    places, names = exercise.differentiated_places, exercise.differentiated.split()
    right = [gradients(exercise.reference, case, places, i) for i, case in enumerate(cases)]
    constants = {
        name for name, found in zip(names, zip(*right, strict=True), strict=True) if _zero(*found)
    }
    for case, given, found in zip(cases, answers, right, strict=True):
        expected = dict(zip(names, found, strict=True))
        wrong = _wrong_gradients(given, expected)
        if not wrong:
            continue
        known = _recognise(exercise, cases, answers, with_gradients=True)
        name = next(iter(wrong))
        return Verdict(
            "wrong",
            known.hint if known else _tell_gradients(given, wrong, expected, constants),
            mistake=known.name if known else None,
            case=_picture(exercise, case),
            expected=f"gradient of {name}: {show(expected[name])}",
            got=given.gradient_error or show(given.gradients[names.index(name)]),
        )
    return Verdict("right")


def _wrong_gradients(answer: Answer, expected: dict[str, Any]) -> dict[str, Difference | None]:
    """What is off about the gradient of each argument; None where none flows back at all."""
    if answer.gradient_error is not None or len(answer.gradients) != len(expected):
        return dict.fromkeys(expected)
    wrong: dict[str, Difference | None] = {}
    for got, (name, right) in zip(answer.gradients, expected.items(), strict=True):
        largest = float(right.abs().max()) if right.numel() else 0.0
        exact = 1e-4 if right.itemsize >= 4 else 1e-2
        found = difference(got, right, rtol=10 * exact, atol=exact * max(1.0, largest))
        if found is not None:
            wrong[name] = None if same(got, 0 * right) else found
    return wrong


def _zero(*gradients: Any) -> bool:
    return all(same(each, 0 * each) for each in gradients)


def _tell_gradients(
    answer: Answer,
    wrong: dict[str, Difference | None],
    expected: dict[str, Any],
    constants: set[str],
) -> str:
    stay = (
        "Compute with torch from the inputs to the result: no `.item()`, `.tolist()`, `float()`, "
        "NumPy, `no_grad` or `detach` on the way."
    )
    if answer.gradient_error is not None:
        return (
            "The values are right, but training calls your function with tensors that carry "
            f"gradients, and then it fails. {answer.gradient_error} {stay}"
        )
    lost = [name for name, found in wrong.items() if found is None]
    if lost:
        carry = [name for name, right in expected.items() if not _zero(right)]
        whole = " Training would learn nothing." if lost == carry else ""
        names = " and ".join(f"`{name}`" for name in lost)
        return f"The values are right, but no gradient flows back to {names}.{whole} {stay}"
    name, found = next(iter(wrong.items()))
    if found.kind == "nan":
        return (
            f"The values are right, but the gradient of `{name}` is NaN: a value that is thrown "
            "away afterwards, such as log(0) or 0/0 under a mask, still has a gradient. Keep it "
            "from being computed."
        )
    if name in constants:
        return (
            f"The values are right, but a gradient flows back to `{name}`, and training would pull "
            f"at it. It is given here: use `{name}.detach()`, or detach what is made of it."
        )
    return (
        f"The values are right, but the gradient of `{name}` is not ({found.sentence}). A part of "
        f"it gets lost, or flows where it should not. {stay}"
    )


_REASONS = {
    "type": "It returned another type of value than asked for",
    "shape": "The shape is off",
    "dtype": "The kind of number is off",
    "nan": "It returned NaN: look for 0/0, log(0) or infinity minus infinity",
    "value": "The values are off",
}


def _isolated(exercise: Exercise, case: Case, found: Difference | None) -> Mistake | None:
    """The mistake that a probe isolates, where the answer has the right form."""
    if not case.isolates or found is None or found.kind != "value":
        return None
    return next(known for known in exercise.mistakes if known.name == case.isolates)


def _recognise(
    exercise: Exercise, cases: list[Case], answers: list[Answer], with_gradients: bool = False
) -> Mistake | None:
    """The mistake that gives this very answer in every case: a named one, or a slip."""
    if any(case.isolates for case in cases):
        return None  # equal numbers say little about a loop that draws its own
    places = exercise.differentiated_places if with_gradients else ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 0 divided by 0 in a mistake is no news to the student
        for mistake in (*exercise.mistakes, *exercise.slips):
            asked = enumerate(zip(cases, answers, strict=False))
            if all(_alike(ask(mistake.function, c, places, i), given) for i, (c, given) in asked):
                return mistake
    return None


def _alike(mistake: Answer, answer: Answer) -> bool:
    if mistake.error is not None or answer.error is not None:
        return mistake.error is not None and answer.error is not None
    return (
        mistake.changed_inputs == answer.changed_inputs
        and same(mistake.value, answer.value)
        and (not mistake.gradients or same(mistake.gradients, answer.gradients))
        and (mistake.gradient_error is None) == (answer.gradient_error is None)
    )


def _picture(exercise: Exercise, case: Case) -> str:
    if case.isolates:
        return case.name
    names = exercise.parameters
    shown = ", ".join(
        f"{name}={show(value)}" for name, value in zip(names, case.args, strict=False)
    )
    return f"{case.name}: {shown}"
