"""Progress, budgets, interrupts and histories."""

import importlib
import io
import json
import math

import numpy as np
import pytest

from course_lib.classroom import History, track

module = importlib.import_module("course_lib.classroom.track")
nan = math.nan


def updates(n, closed=None):
    try:
        for i in range(n):
            yield {"steps": 10 * (i + 1), "return": nan if i < 2 else float(i)}
    finally:
        if closed is not None:
            closed.append(True)


def test_the_package_gives_the_functions_and_keeps_the_modules():
    from course_lib.classroom import exercise, plots, progress, quiz, video

    assert callable(track) and callable(quiz) and callable(exercise) and callable(progress)
    assert callable(plots.learning_curves) and callable(video.record)
    assert module.track is track


def test_a_finished_run_returns_every_record():
    history = track(updates(5), total_steps=50)
    assert history.stopped == "finished"
    assert history["steps"].tolist() == [10, 20, 30, 40, 50]
    np.testing.assert_array_equal(history["return"], [nan, nan, 2, 3, 4])
    assert history.last("return") == 4
    assert (np.diff(history["seconds"]) >= 0).all()


def test_an_interrupt_keeps_the_records_and_closes_the_generator():
    closed = []

    def interrupted():
        yield from updates(3, closed)
        raise KeyboardInterrupt

    history = track(interrupted())
    assert history.stopped == "interrupted"
    assert len(history) == 3
    assert closed == [True]


def test_an_interrupt_between_updates_closes_the_generator(monkeypatch):
    closed, add = [], module._Progress.add

    def add_then_interrupt(self, record):
        add(self, record)
        if self.count == 2:
            self.columns["steps"].append(99.0)  # as if it fell in the middle of a record
            raise KeyboardInterrupt

    monkeypatch.setattr(module._Progress, "add", add_then_interrupt)
    history = track(updates(100, closed))
    assert history["steps"].tolist() == [10, 20]
    assert closed == [True]


def test_the_time_budget_ends_an_endless_run(monkeypatch):
    clock = iter(np.arange(0, 1000, 0.5))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    closed = []
    history = track(updates(10**6, closed), seconds=20)
    assert history.stopped == "time budget"
    assert 1 < len(history) < 50
    assert history["seconds"][-1] >= 20 > history["seconds"][-2]
    assert closed == [True]


def test_an_error_in_training_is_raised_again():
    def broken():
        yield {"loss": 1.0}
        raise ZeroDivisionError("the loss is gone")

    with pytest.raises(ZeroDivisionError, match="the loss is gone"):
        track(broken())


def test_records_without_steps_are_counted():
    history = track(iter([{"loss": 3.0}, {"loss": 2.0}, {"loss": 1.0}]))
    assert history["steps"].tolist() == [1, 2, 3]


def test_a_metric_may_come_and_go():
    history = track(iter([{"a": 1}, {"a": 2, "b": 5}, {"b": 6}]))
    np.testing.assert_array_equal(history["a"], [1, 2, nan])
    np.testing.assert_array_equal(history["b"], [nan, 5, 6])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [({"seconds": 0}, "seconds must be positive, got 0"), ({"show": "return"}, "got the string")],
)
def test_wrong_arguments_are_named(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        track(updates(1), **arguments)


def test_a_record_of_words_is_refused():
    with pytest.raises(TypeError, match="got loss of type str"):
        track(iter([{"loss": "high"}]))


def test_save_and_load_keep_nan_infinity_and_every_digit(tmp_path):
    columns = {"steps": [1, 2, 3, 4], "return": [nan, math.inf, -math.inf, 0.1 + 0.2]}
    path = History(columns, "DQN", "interrupted").save(tmp_path / "history.json")

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    loaded = History.load(path)
    assert (loaded.label, loaded.stopped) == ("DQN", "interrupted")
    for name, values in columns.items():
        np.testing.assert_array_equal(loaded[name], values)


def test_a_history_without_records_survives_the_round_trip(tmp_path):
    history = track(iter(()))
    assert len(history) == 0 and history.stopped == "finished"
    assert len(History.load(history.save(tmp_path / "empty.json"))) == 0
    assert math.isnan(history.last("steps"))


def test_a_missing_metric_is_answered_with_those_there_are():
    with pytest.raises(KeyError, match="no metric 'retrun'; this history has: steps, return"):
        History({"steps": [1], "return": [2]})["retrun"]


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="of one length"):
        History({"steps": [1, 2], "return": [2]})


def test_smoothing_looks_back_and_leaves_nan_out():
    history = History({"x": [nan, 2, 4, nan, 9]})
    np.testing.assert_allclose(history.smoothed("x", 2), [nan, 2, 3, 4, 9])
    np.testing.assert_array_equal(history.smoothed("x", 1), history["x"])
    plain = np.arange(10.0)
    np.testing.assert_allclose(
        History({"x": plain}).smoothed("x", 3)[2:], np.convolve(plain, np.ones(3) / 3, "valid")
    )
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        history.smoothed("x", 0)


def test_the_sparkline_rises_with_the_curve_and_has_a_fixed_width():
    line = module.sparkline([nan, nan, *range(1000)])
    assert list(line) == sorted(line)
    assert line[0] == "▁" and line[-1] == "█"
    assert 20 <= len(line) <= 24
    assert module.sparkline([nan]) == ""
    assert set(module.sparkline([3.0, 3.0, 3.0])) == {"▁"}


@pytest.fixture
def notebook(monkeypatch):
    """Pretend to be in a notebook and collect what is displayed."""
    import IPython.display

    pictures = []

    class Handle:
        def update(self, bundle, raw):
            pictures.append(bundle)

    def display(bundle, raw, display_id):
        pictures.append(bundle)
        return Handle()

    monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", display)
    return pictures


def test_the_stored_output_says_why_it_stopped_and_where_it_stood(notebook):
    track(updates(120), total_steps=1200, label="DQN <fast>", show=("return", "loss"))
    first, last = notebook[0], notebook[-1]
    assert "running" in first["text/plain"]
    assert last["text/plain"].startswith("DQN <fast>: finished · 1,200 of 1,200 steps")
    assert "return 119 ▁" in last["text/plain"]
    assert "loss" not in last["text/plain"]  # the run reports none
    assert 'value="1.000"' in last["text/html"]
    assert "DQN &lt;fast&gt;" in last["text/html"]


def test_an_interrupted_run_shows_how_far_it_came(notebook):
    def interrupted():
        yield from updates(30)
        raise KeyboardInterrupt

    track(interrupted(), total_steps=600)
    assert "interrupted; what was learned is kept · 300 of 600 steps" in notebook[-1]["text/plain"]
    assert 'value="0.500"' in notebook[-1]["text/html"]


def test_a_failed_run_does_not_look_like_a_running_one(notebook):
    def broken():
        yield {"loss": 1.0}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        track(broken())
    assert "stopped by an error" in notebook[-1]["text/plain"]


def test_pictures_are_few_however_many_updates(notebook):
    track(updates(20_000))
    assert len(notebook) < 10


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_the_terminal_shows_steps_metrics_and_the_reason(monkeypatch):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(module, "in_notebook", lambda: False)
    track(updates(40), total_steps=400, label="DQN")
    line = screen.getvalue().rstrip().splitlines()[-1].split("\r")[-1]
    assert line.startswith("DQN, finished: 100%")
    assert "400/400" in line and "return 39" in line


def test_nothing_is_printed_where_nobody_watches(capsys):
    track(updates(40))
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == ""
