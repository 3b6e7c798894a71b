"""A learner's function in the place of the library's: while the run lasts, and not after it."""

import sys

import pytest

from course_lib.classroom import track, use
from course_lib.classroom.use import StandIn
from course_lib.lessons.q_learning import exercises
from course_lib.rl import q_learning as tabular

REFERENCE = tabular.q_update


def double(value, target, alpha):
    return 2 * REFERENCE(value, target, alpha)


def held():
    """Every name of the library that should mean the reference does."""
    return tabular.q_update is REFERENCE and exercises.q_update.reference is REFERENCE


def rows(*results):
    for result in results:
        yield {"result": float(result()) if callable(result) else result}


def test_it_is_called_inside_and_gone_outside():
    with use({REFERENCE: double}):
        assert tabular.q_update(0.0, 1.0, 0.5) == 1.0
        assert exercises.q_update.reference is REFERENCE
    assert held()


def test_every_module_that_holds_the_name_is_reached(monkeypatch):
    from course_lib.rl import returns

    monkeypatch.setattr(returns, "another_name", REFERENCE, raising=False)
    with use({REFERENCE: double}):
        assert returns.another_name(0.0, 1.0, 0.5) == 1.0
    assert returns.another_name is REFERENCE


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_and_an_interrupt_restore_it(error):
    with pytest.raises(error), use({REFERENCE: double}):
        raise error
    assert held()


def test_nested_and_twice_the_one_that_began_last_counts():
    with use({REFERENCE: double}):
        with use({REFERENCE: lambda *args: 7.0}), use({REFERENCE: double}):
            assert tabular.q_update(0.0, 1.0, 0.5) == 1.0
        assert tabular.q_update(0.0, 1.0, 0.5) == 1.0
    assert held()


def test_blocks_may_end_in_another_order():
    first, second = use({REFERENCE: double}), use({REFERENCE: lambda *args: 7.0})
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert tabular.q_update(0.0, 1.0, 0.5) == 7.0
    second.__exit__(None, None, None)
    assert held()


def test_inside_the_function_the_library_means_itself():
    def leans_on_the_library(value, target, alpha):
        return tabular.q_update(value, target, alpha) + 1

    with use({REFERENCE: leans_on_the_library}):
        assert tabular.q_update(0.0, 1.0, 0.5) == 1.5


def test_a_module_that_is_imported_meanwhile_is_mended_too():
    name = "course_lib.rl.imported_meanwhile"
    with use({REFERENCE: double}):
        module = type(sys)(name)
        module.update = tabular.q_update
        sys.modules[name] = module
    try:
        assert module.update is REFERENCE
    finally:
        del sys.modules[name]


def test_mistakes_and_exercises_are_replacements():
    with use(exercises.q_update.mistake(exercises.q_update.mistakes[0].name)):
        assert tabular.q_update is not REFERENCE
    with use(StandIn(REFERENCE, REFERENCE)):  # an answer that was not right: nothing changes
        assert tabular.q_update is REFERENCE
    assert held()


def test_what_replaces_nothing_is_a_sentence():
    with pytest.raises(TypeError, match="use takes exercises, mistakes, or a dictionary"), use(3):
        pass
    with pytest.raises(ValueError, match="no module of the library holds"), use({double: held}):
        pass


def test_track_uses_it_while_it_pulls_and_no_longer():
    def run():
        yield {"result": tabular.q_update(0.0, 1.0, 0.5)}
        yield {"result": tabular.q_update(0.0, 1.0, 0.5)}

    generator = run()
    history = track(generator, show=("result",), use=[{REFERENCE: double}])
    assert history["result"].tolist() == [1, 1]
    assert held()
    interrupted = track(rows(1.0, _interrupt), show=("result",), use=[{REFERENCE: double}])
    assert interrupted.stopped == "interrupted" and held()
    with pytest.raises(ZeroDivisionError):
        track(rows(lambda: 1 / 0), use=[{REFERENCE: double}])
    assert held()


def _interrupt():
    raise KeyboardInterrupt
