"""The one interface of the benchmarks, and the committed results behind every stated figure."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import __main__ as command, harness
from benchmarks.harness import Goal
from benchmarks.kit import claims

RESULTS = sorted(harness.RESULTS.glob("*.json"))


def test_list_names_every_benchmark_with_a_line(capsys):
    assert command.main(["list"]) == 0
    listed = capsys.readouterr().out
    for name in command.names():
        assert name in listed
    assert all(line for line in command.names().values())


def test_an_unknown_name_is_a_sentence_and_status_2(capsys):
    assert command.main(["nothing"]) == 2
    assert "no benchmark named 'nothing'; there are:" in capsys.readouterr().err


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_committed_result_says_where_it_comes_from(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    assert path.stem in command.names(), "a result without its script cannot be reproduced"
    for key in ("date", "versions", "machine", "seeds", "runs", "goals"):
        assert result.get(key), key
    assert all(set(goal) == {"what", "goal", "measured", "met"} for goal in result["goals"])


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_committed_verdicts_are_what_the_script_says_of_the_runs(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    judge = command.load(path.stem).judge
    assert [asdict(goal) for goal in judge(result)] == result["goals"]


@pytest.mark.parametrize("name", ["import_time", "exercises"])
def test_a_quick_benchmark_runs_and_meets_its_goals(name, capsys):
    assert command.main([name, "--quick"]) == 0
    assert "nothing written" in capsys.readouterr().out


@pytest.mark.parametrize(("met", "quick"), [(True, False), (False, False), (True, True)])
def test_run_writes_unless_quick_and_reports_what_fell_short(
    met, quick, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "benchmarks" / "results")
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    (tmp_path / "benchmarks").mkdir()
    full, readme = tmp_path / "benchmarks" / "README.md", tmp_path / "README.md"
    for page in (full, readme):
        page.write_text("above <!-- results --> old <!-- /results --> below", encoding="utf-8")
    goals = [Goal("it learns", ">= 475", "480", met)]
    result = {"seeds": [0], "runs": [{"seed": 0, "return": 480.0}]}
    assert harness.run("sample", lambda quick: dict(result), lambda _: goals, quick) is met
    assert ("MISSED" in capsys.readouterr().out) is (not met)
    written = Path(tmp_path / "benchmarks" / "results" / "sample.json")
    assert written.exists() is (not quick)
    if not quick:
        record = json.loads(written.read_text(encoding="utf-8"))
        assert record["runs"] == result["runs"] and record["goals"][0]["met"] is met
        row = "| `sample` | it learns | >= 475 | 480"
        for page, shown in ((full, True), (readme, not met)):
            text = page.read_text(encoding="utf-8")
            assert text.startswith("above") and text.endswith("below") and "old" not in text
            assert (row in text) is shown
        assert f"Of 1 goals {int(met)} are met." in readme.read_text(encoding="utf-8")


def test_the_readmes_show_the_committed_results():
    for folder, shown in (("benchmarks", harness.summary()), ("", harness.shortfalls())):
        text = (harness.ROOT / folder / "README.md").read_text(encoding="utf-8")
        assert shown in text, "run `python -m benchmarks readme`"


def test_seeds_of_a_cell_are_moved_together():
    cell = "x = f(a, seed=0, size=3)  # as it is\ng = torch.Generator().manual_seed(7)\nh(seed=i)"
    assert claims.shifted(cell, 0).splitlines() == [
        "x = f(a, seed=0, size=3)",
        "g = torch.Generator().manual_seed(7)",
        "h(seed=i)",
    ]
    assert "seed=100, size=3" in claims.shifted(cell, 100)
    assert claims.shifted("def f(a, b=1, seed=2): pass", 5).startswith("def f(a, b=1, seed=7)")
    assert "manual_seed(107)" in claims.shifted(cell, 100)


def test_a_claim_that_fails_too_often_is_named():
    measured = {
        "sure": lambda seed: 5 + seed % 2,
        "nearly": lambda seed: seed - 3,
        "lucky": lambda seed: 9 - seed // 2,
    }
    rows = [
        {"notebook": "01_x", "seed": seed, "claim": name, "measured": value(seed), "goal": ">= 0.5"}
        for seed in range(20)
        for name, value in measured.items()
    ]
    failing = {("nearly", 3), *(("lucky", seed) for seed in (18, 19))}
    rows = [row | {"holds": (row["claim"], row["seed"]) not in failing} for row in rows]
    (goal,) = claims.judge({"runs": rows})
    assert not goal.met
    assert "lucky >= 0.5: 90%" in goal.measured and "nearly >= 0.5: " not in goal.measured
    (goal,) = claims.judge({"runs": [row for row in rows if row["claim"] != "lucky"]})
    assert goal.met and "20 seeds, 2 claims, 1 of them on every seed" in goal.measured
    assert goal.measured.endswith("the closest by 1.0 standard deviations: nearly >= 0.5")
