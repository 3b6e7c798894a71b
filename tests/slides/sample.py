"""A small deck that uses every part of the template once, drawn here: no notebook is kept."""

import base64
import io

import matplotlib

matplotlib.use("Agg")
import nbformat
import numpy as np
from matplotlib import pyplot as plt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

CODE = '''\
def td_target(rewards, terminated, next_q, gamma=0.99):
    """Bootstrapped target of one step, shape (B,)."""
    # A terminal state has no future: nothing to bootstrap from.
    return rewards + gamma * next_q.amax(-1) * (1 - terminated)'''

TABLE = """<table><thead><tr><th>agent</th><th>seeds</th><th>mean return</th></tr></thead><tbody>
<tr><td>one step, no target network</td><td>5</td><td>112</td></tr>
<tr><td>target network</td><td>5</td><td>341</td></tr>
<tr><td>Double DQN, three steps</td><td>5</td><td>489</td></tr></tbody></table>"""


def figure(width: float, height: float) -> str:
    """A learning curve with a band, as base64 PNG."""
    steps = np.linspace(0, 50, 120)
    with plt.rc_context({"font.size": 16, "axes.spines.top": False, "axes.spines.right": False}):
        fig, ax = plt.subplots(figsize=(width, height), dpi=150, layout="constrained")
        for speed, colour, label in ((9, "#0072b2", "Double DQN"), (20, "#d55e00", "no target")):
            mean = 490 * (1 - np.exp(-steps / speed))
            ax.plot(steps, mean, color=colour, lw=3, label=label)
            ax.fill_between(steps, mean * 0.88, mean * 1.06, color=colour, alpha=0.18, lw=0)
        ax.set(xlabel="environment steps (thousands)", ylabel="mean return")
        ax.legend(frameon=False)
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png")
        plt.close(fig)
    return base64.b64encode(buffer.getvalue()).decode()


def marks(kind: str, tags: tuple[str, ...]) -> dict:
    """Metadata of a cell; one that continues its slide has no slide type."""
    return ({"slideshow": {"slide_type": kind}} if kind else {}) | {"tags": [*tags]}


def markdown(source: str, kind: str = "", *tags: str):
    return new_markdown_cell(source, metadata=marks(kind, tags))


def code(source: str, kind: str = "", *tags: str, outputs=(), **metadata):
    count = metadata.pop("execution_count", 1)
    metadata |= marks(kind, tags)
    return new_code_cell(source, metadata=metadata, outputs=list(outputs), execution_count=count)


def picture(width: float, height: float, **metadata):
    data = {"image/png": figure(width, height), "text/plain": "<Figure>"}
    return new_output("display_data", data=data, metadata=metadata)


def notebook():
    """The deck as a notebook node, every slide with notes."""

    def notes(text: str):
        return markdown(text, "notes")

    # what plots.show adds in a notebook: not shown in a deck
    words = new_output(
        "display_data",
        data={
            "text/html": "<details><summary>Figure in words</summary>Two curves.</details>",
            "text/plain": "Figure in words: Two curves.",
        },
    )
    cells = [
        code("import torch", "skip"),
        markdown(
            "# From table to network\n\nA table forgets what it has not seen. A network guesses, "
            "and the guess is worth learning.\n\nLesson 00 · Sample deck",
            "slide",
        ),
        notes("Welcome. **Two minutes**: what a table cannot do, and $Q_\\theta$ instead."),
        markdown(
            "## Four tricks keep the target still\n\n"
            "- **Replay** breaks the correlation between neighbouring steps\n"
            "- A **target network** holds the goal still while you aim at it\n"
            "- **Double DQN** stops the maximum from flattering itself: "
            "$Q_{\\bar\\theta}(s', \\arg\\max_a Q_\\theta(s', a))$\n"
            "- `terminated` cuts the bootstrap; `truncated` does not",
            "slide",
        ),
        markdown(
            "> Each trick removes one way in which the network chases its own tail.", "fragment"
        ),
        notes("Ask the room first: which of the four would you drop?"),
        markdown("## Part one\n\nWhat the target is made of", "slide", "section"),
        notes("Pause here for questions."),
        markdown(
            "## The target bootstraps, except where the episode ends\n\n"
            "$$y = r + \\gamma\\,(1 - d)\\,\\max_{a'} Q_{\\bar\\theta}(s', a')"
            "\\qquad \\mathcal L(\\theta) = \\tfrac1B\\textstyle\\sum_i \\ell_\\kappa\\bigl(y_i - "
            "Q_\\theta(s_i, a_i)\\bigr)$$",
            "slide",
        ),
        code(CODE, "", "show-input"),
        markdown("`terminated` is the $d$ of the formula, shape `(B,)`.", "fragment", "caption"),
        notes("The factor $(1 - d)$ is the exercise that most people get wrong."),
        markdown("## Two runs of the same code, one line apart", "slide"),
        code("plot()", outputs=[picture(11, 4.3), words]),
        markdown(
            "With a target network the curve rises sooner; bands over 5 seeds.", "", "caption"
        ),
        notes("Point at 10 000 steps."),
        markdown("## What you see, beside what it means", "slide"),
        code("plot()", "", "wide-left", outputs=[picture(6.4, 4.8)], alt="Two learning curves."),
        markdown(
            "### Read it like this\n\n- Steep is **cheap**: fewer frames\n- A narrow band is "
            "**reliable**: any seed will do\n- Flat above 475 is *solved*",
            "",
            "right",
        ),
        markdown("> Compare bands, never single runs.", "fragment", "right"),
        notes("The band says more than the line."),
        markdown("## Code on the left, its output on the right", "slide"),
        code(
            "env = make('CartPole-v1')\nobs = env.reset()\nfor _ in range(3):\n"
            "    step = env.step(actions)\n    print(step.rewards)",
            "",
            "left",
            "show-input",
            "small",
        ),
        code(
            "show()",
            "",
            "right",
            outputs=[
                new_output("stream", name="stderr", text="a warning that nobody needs\n"),
                new_output("stream", name="stdout", text="[1. 1. 1. 1.]\n" * 3),
            ],
        ),
        markdown("Sixteen environments answer at once: every array has a row for each.", ""),
        notes("Run it live if there is time."),
        markdown("## The numbers behind the picture", "slide"),
        code(
            "table",
            outputs=[
                new_output(
                    "execute_result",
                    data={"text/html": TABLE, "text/plain": "table"},
                    execution_count=1,
                )
            ],
        ),
        markdown(
            '<div class="columns">\n<div class="column">\n\n**Solved** means 475 of 500, with '
            '$\\epsilon = 0$.\n\n</div>\n<div class="column">\n\nMean of 100 greedy episodes.\n\n'
            "</div>\n</div>",
            "",
        ),
        notes("Every number has a script in `benchmarks/`."),
        markdown(
            "## Pictures from files, points one by one\n\n"
            '<div class="columns">\n<div class="column">\n\n<ul>\n'
            '<li class="fragment">a point that comes <strong>first</strong></li>\n'
            '<li class="fragment">and one that comes second</li>\n</ul>\n\n'
            '</div>\n<div class="column">\n\n![A learning curve rises](curve.png)\n\n'
            "</div>\n</div>",
            "slide",
        ),
        notes("Click twice."),
    ]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    metadata = {
        "title": "Lesson 00 · A sample of everything",
        "lang": "en",
        "kernelspec": kernel,
        "language_info": {"name": "python"},
    }
    return new_notebook(cells=cells, metadata=metadata)


def write(path) -> None:
    """Write the sample deck as a notebook file, and the picture that it names beside it."""
    path.with_name("curve.png").write_bytes(base64.b64decode(figure(5, 3)))
    nbformat.write(notebook(), path)
