"""The README's figure of learning curves, drawn from the committed results.

``python -m benchmarks.kit.pictures`` writes notebooks/images/learning_curves.png.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import ROOT
from course_lib.classroom import plots
from course_lib.evaluation import committed_result

TARGET = ROOT / "notebooks" / "images" / "learning_curves.png"


def draw() -> plots.Figure:
    """PPO on CartPole, RLHF on the concierge, GRPO on SmolLM2; mean and spread over seeds."""
    plots.use_style()
    figure, (pole, rlhf, grpo) = plots.plt.subplots(1, 3, figsize=(14, 3.9), layout="constrained")
    found = committed_result("ppo_cartpole")["runs"]
    steps = [np.array(run["steps"]) for run in found]
    grid = np.linspace(max(s[0] for s in steps), min(s[-1] for s in steps), 100)
    rows = [np.interp(grid, s, run["training"]) for s, run in zip(steps, found, strict=True)]
    _band(pole, grid / 1000, np.array(rows), "return of an episode")
    pole.set(xlabel="thousand steps", title=f"PPO balances a pole: {len(found)} seeds")
    found = committed_result("rlhf_pipeline")["runs"]
    for name, label in (("true", "true reward"), ("proxy", "reward model")):
        rows = np.array([run["curves"][name] for run in found])
        _band(rlhf, np.array(found[0]["curves"]["steps"]), rows, label)
    rlhf.set(xlabel="updates", title=f"RLHF, all three stages: {len(found)} seeds")
    found = [r for r in committed_result("grpo_arithmetic")["runs"] if r["method"] == "GRPO"]
    rows = np.array([run["curves"]["reward"] for run in found])
    _band(grpo, np.arange(1, rows.shape[1] + 1), rows, "reward of a step's replies")
    grpo.set(xlabel="steps", ylim=(0, 1.02), title=f"GRPO, sums on SmolLM2: {len(found)} seeds")
    return figure


def _band(ax: plots.Axes, x: np.ndarray, rows: np.ndarray, label: str) -> None:
    """Mean over seeds, and from the lowest to the highest."""
    number = len(ax.lines)
    look = {"color": plots.COLORS[number], "linestyle": plots.LINES[number]}
    ax.plot(x, rows.mean(0), label=label, **look)
    ax.fill_between(x, rows.min(0), rows.max(0), color=look["color"], alpha=0.18, lw=0)
    ax.legend(loc="lower right")


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(plots.figure_png(draw()))
    print(TARGET.relative_to(ROOT))
