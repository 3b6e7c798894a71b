"""A value in a verdict is short, whatever it is."""

import numpy as np
import pytest

from course_lib.classroom.compare import LONGEST, Opaque, show
from course_lib.classroom.grade import codec, submission
from course_lib.classroom.grade.notebook import Found

MORE = "... (13 in all)}"


@pytest.mark.parametrize(
    ("value", "picture"),
    [
        (np.ones((2, 2)), "[[1. 1.]\n [1. 1.]] of shape (2, 2)"),
        (np.ones((6, 6, 6, 6)), "[" + "1. " * 12 + "...] of shape (6, 6, 6, 6)"),
        (np.ones((2,) * 18), "[" + "1. " * 12 + f"...] of shape {(2,) * 18}"),
        (["a", "b"], "['a', 'b']"),
        (["a"] * 14_000, "[" + "'a', " * 12 + "... (14,000 in all)]"),
        (dict.fromkeys(range(13), 0), "{" + "".join(f"{i}: 0, " for i in range(12)) + MORE),
    ],
)  # fmt: skip
def test_a_picture_is_short(value, picture):
    assert show(value) == picture


def test_no_nesting_makes_a_picture_long():
    value = "x" * 70
    for _ in range(6):
        value = [value] * 12
    assert len(show(value)) == LONGEST


def test_a_dictionary_of_many_keys_is_not_built():
    """Keys can be made to have the same hash: building it would take hours."""
    same_hash = {k * (2**61 - 1): 0 for k in range(codec.KEYS + 1)}
    tree = ["dict", [[["int", repr(k)], ["int", "0"]] for k in same_hash]]
    assert isinstance(codec.unpack(tree), Opaque)
    tree[1].pop()
    assert len(codec.unpack(tree)) == codec.KEYS


@pytest.mark.parametrize(
    ("program", "named"),
    [
        ("from course_lib.rl.returns import *", True),
        ("import course_lib.rl.returns as lib\nf = vars(lib)['discounted_return']", True),
        ("from course_lib.evaluation import claim", False),
        ("totals = {'discounted_return': 0}", False),
    ],
)
def test_the_librarys_own_version_is_seen_where_it_is_named(program, named):
    found = Found("start_here.discounted_return", program=program, function="f")
    assert submission._names_the_library(found) == named
