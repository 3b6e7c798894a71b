"""The one quiet style of all figures, and how a figure is shown with its message in words.

Colours: Okabe and Ito (2008), "Color Universal Design"; curves differ in line style and marker too.
"""

from __future__ import annotations

import html
import io
from base64 import b64encode

import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.classroom.front_end import in_notebook

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)), "-")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, GREY, PALE = "#222222", "#6b6b6b", "#d9d9d9"

LABELS = {
    "steps": "environment steps",
    "seconds": "wall-clock time (s)",
    "updates": "updates",
    "return": "return per episode",
    "loss": "loss",
    "epsilon": "exploration rate ε",
    "length": "episode length (steps)",
}

STYLE = {
    "figure.figsize": (8.0, 5.0),
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 13,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.title_fontsize": 12,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 2.2,
    "axes.prop_cycle": plt.cycler(color=COLORS[:6]),
}


def use_style() -> None:
    """Apply the style to every figure that follows."""
    plt.rcParams.update(STYLE)


def show(figure: Figure | Axes, alt: str) -> None:
    """Display a figure with its message in words, and close it.

    The words go into the output's metadata, where HTML exports find the alt text, into the PNG
    file, and below the figure as a line that folds out: JupyterLab gives images no alt text, and
    what a screen reader needs helps everyone. Say what the figure shows, without numbers that
    change from run to run: the words are part of the output that the tests compare.
    """
    if not alt.strip():
        raise ValueError("alt must say in words what the figure shows")
    if isinstance(figure, Axes):
        figure = figure.figure
    picture = figure_png(figure, alt)
    plt.close(figure)  # otherwise the notebook would show it a second time
    show_png(picture, alt)
    if in_notebook():
        words = f"<details><summary>Figure in words</summary>{html.escape(alt)}</details>"
        display({"text/html": words, "text/plain": f"Figure in words: {alt}"}, raw=True)


def figure_png(figure: Figure, alt: str = "") -> bytes:
    """The figure as a PNG file with `alt` as its description."""
    out = io.BytesIO()
    about = {"Description": alt, "Software": None}
    figure.savefig(out, format="png", dpi=110, bbox_inches="tight", metadata=about)
    return out.getvalue()


def show_png(picture: bytes, alt: str) -> None:
    """Display a PNG file, its alt text in the output's metadata."""
    data = {"image/png": b64encode(picture).decode(), "text/plain": alt}
    display(data, metadata={"image/png": {"alt": alt}}, raw=True)


def axes_or_new(ax: Axes | None, size: tuple[float, float] | None = None) -> Axes:
    """Where to draw: `ax`, or axes of their own in the style."""
    if ax is not None:
        return ax
    use_style()
    return plt.subplots(figsize=size)[1]


def goal_line(ax: Axes, goal: float) -> None:
    """A horizontal line with its value beside it."""
    ax.axhline(goal, color=INK, linestyle=":", linewidth=1.8, zorder=1)
    ax.annotate(
        f"goal\n{rounded(goal)}",
        (1.0, goal),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        size=12,
    )


def rounded(value: float) -> str:
    """Two significant places where they matter: 0.54, -13, 487."""
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
