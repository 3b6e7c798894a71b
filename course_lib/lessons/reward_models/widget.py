"""The widget of lesson 07: two replies side by side, and the learner says which is better.

Each label is on the disk before the next pair appears.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from course_lib.classroom import live, plots
from course_lib.evaluation import t_interval
from course_lib.rlhf.preferences import LabelFile, Pair

HERE = Path(__file__).parent
ENOUGH = 10  # own labels from which on they are used for training
CHOICES = ("left", "right", "tie")


def as_people_write(text: str) -> str:
    """Words and signs between blanks as a text: "hello . i am busy ." as "Hello. I am busy."."""
    text = re.sub(r" ([.?!,])", r"\1", text)
    text = re.sub(r"(^|[.?!] )([a-z])", lambda found: found[1] + found[2].upper(), text)
    return re.sub(r"\bi\b", "I", text)


class Labelling:
    """The pairs, the learner's labels so far, and the pair to be labelled next.

    End a cell with it to label by click or key. Labels are kept in the file ``path``, and taken up
    again from there. ``simulated`` are the labels to go on with where the learner has given none.
    ``note(prompt)`` says what one has to know to judge the replies.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        path: Path | str,
        simulated: Mapping[int, float],
        note: Callable[[str], str] | None = None,
    ):
        self.pairs, self.simulated = list(pairs), dict(simulated)
        self.note = note
        if set(self.simulated) != set(range(len(self.pairs))):
            raise ValueError(
                f"simulated must hold a label for each of the {len(self.pairs)} pairs, got "
                f"{len(self.simulated)}"
            )
        self.file: LabelFile | None = None
        self.error = ""
        try:
            self.file = LabelFile(path, self.pairs)
        except (ValueError, OSError) as error:  # Run All must go on; the file is left as it is
            self.error = str(error)

    # --- What the buttons do ---

    def choose(self, choice: str) -> str:
        """Label the present pair: "left" or "right" is better, or "tie". Returns the status."""
        if choice not in CHOICES:
            raise ValueError(f"choice must be one of {', '.join(CHOICES)}, got {choice!r}")
        number = self.current()
        if self.file is not None and number is not None:
            left_is_a = self.sides(number)[0] == self.pairs[number].a
            share = 0.5 if choice == "tie" else float((choice == "left") == left_is_a)
            self.file.add(number, share)
        return self.status()

    def undo(self) -> str:
        """Take the latest label back; its pair is shown again. Returns the status."""
        if self.file is not None:
            self.file.undo()
        return self.status()

    # --- Where the learner stands ---

    @property
    def own(self) -> dict[int, float]:
        """The learner's labels: number of the pair, share of A."""
        return self.file.labels if self.file is not None else {}

    def current(self) -> int | None:
        """The first pair without a label; None when all have one."""
        own = self.own
        return next((i for i in range(len(self.pairs)) if i not in own), None)

    def sides(self, number: int) -> tuple[str, str]:
        """The two replies as shown, left and right: shuffled, so that the side tells nothing.

        Always the same way round for one pair, also after a restart.
        """
        pair = self.pairs[number]
        turned = np.random.default_rng((number, 7)).random() < 0.5
        return (pair.b, pair.a) if turned else (pair.a, pair.b)

    def uses_own(self) -> bool:
        """Whether `training_set` holds the learner's labels."""
        return len(self.own) >= ENOUGH

    def training_set(self) -> tuple[list[Pair], list[float]]:
        """Pairs and shares of A: the learner's from 10 labels on, else the simulated ones."""
        labels = self.own if self.uses_own() else self.simulated
        return [self.pairs[i] for i in sorted(labels)], [labels[i] for i in sorted(labels)]

    def whose(self) -> str:
        """One sentence: whose labels `training_set` holds."""
        if self.uses_own():
            return f"These are your own {len(self.own)} labels."
        given = f"You have given {len(self.own)} so far" if self.own else "You have given none yet"
        return (
            f"These are {len(self.simulated)} labels by a simulated human. {given}; from "
            f"{ENOUGH} on, yours are used."
        )

    def status(self) -> str:
        """How far the learner is, in words."""
        if self.file is None:
            return self.error
        done, total = len(self.own), len(self.pairs)
        if done == total:
            return f"All {total} pairs are labelled and saved. Run the cells below again."
        saved = ", saved" if done else ""
        return f"{done} of {total} labelled{saved}"

    def view(self) -> dict:
        """All that the front end shows."""
        number = self.current() if self.file is not None else None
        prompt, note, left, right = self._shown(number) if number is not None else ("",) * 4
        return {
            "prompt": prompt,
            "note": note,
            "left": left,
            "right": right,
            "done": len(self.own),
            "total": len(self.pairs),
            "open": number is not None,
            "undo": bool(self.own),
            "status": self.status(),
            "damaged": self.file is None,
        }

    # --- How it shows itself ---

    def _shown(self, number: int) -> tuple[str, str, str, str]:
        """Question, note, left and right reply, as people write them."""
        prompt = self.pairs[number].prompt
        note = self.note(prompt) if self.note is not None else ""
        return (as_people_write(prompt), note, *map(as_people_write, self.sides(number)))

    def __repr__(self) -> str:
        number = self.current()
        if self.file is None or number is None:
            return self.status()
        prompt, note, left, right = self._shown(number)
        return (
            f"A guest asks: {prompt} {note}".rstrip() + f"\n  A (left):  {left}\n"
            f"  B (right): {right}\nWhich reply is better? ({self.status()})"
        )

    def as_html(self) -> str:
        """The present pair for a page without a kernel."""
        number = self.current()
        if self.file is None or number is None:
            return f"<p>{html.escape(self.status())}</p>"
        cell = "border:1px solid #8a8a8a;padding:8px 12px;width:50%;text-align:left"
        prompt, note, left, right = map(html.escape, self._shown(number))
        return (
            f"<p><b>A guest asks:</b> {prompt} <i>{note}</i></p>"
            f"<table style='width:100%;max-width:52em;font-size:1em'><tr>"
            f"<td style='{cell}'>{left}</td><td style='{cell}'>{right}</td></tr></table>"
            f"<p>Which reply is better? {html.escape(self.status())}. "
            "Run this cell to label by click or key.</p>"
        )

    def widget(self):
        """The live form."""

        def answer(message: Mapping) -> dict:
            action = message.get("action")
            try:
                if action == "undo":
                    self.undo()
                elif message.get("done") == len(self.own):  # else a second press came too fast
                    self.choose(action)
            except (ValueError, OSError) as error:
                return {**self.view(), "status": str(error)}
            return self.view()

        return live.front_end(HERE, self.view(), answer)

    _repr_mimebundle_ = live.bundle


label_pairs = Labelling


# --- Figures of lesson 07 and its deck ---------------------------------------------------------

HUMANS = {"careful": "unerring", "noisy": "hasty", "careless": "careless", "corrected": "corrected"}


def draw_values(paid: Mapping[str, np.ndarray], truth: Mapping[str, float], ax: Any) -> None:
    """What several models pay for each trait: bars for the mean, whiskers from lowest to highest.

    ``paid``: trait -> (models,); ``truth``: trait -> what it is really worth, a diamond.
    """
    place = np.arange(len(paid))[::-1]
    each = np.array([[np.mean(x), np.min(x), np.max(x)] for x in paid.values()])
    ends = np.abs(each[:, 1:] - each[:, :1]).T
    look = {"color": plots.COLORS[0], "height": 0.55, "capsize": 3, "label": "model"}
    ax.barh(place, each[:, 0], xerr=ends, **look)
    true = [truth[name] for name in paid]
    ax.plot(true, place, "D", color=plots.COLORS[1], markersize=9, label="hotel")
    ax.axvline(0, color=plots.GREY, linewidth=1)
    ax.set(xlabel="pays for it, points")
    ax.set_yticks(place, list(paid))


def draw_label_curves(measured: Mapping, column: str, ax: Any) -> None:
    """A column of the benchmark `reward_models` against the number of labels, one line per human.

    Means over seeds with 95 % t intervals. For "agreement" also the ceilings.
    """
    curve = [run for run in measured["runs"] if run["kind"] == "curve"]
    for i, (name, said) in enumerate(HUMANS.items()):
        mine = [run for run in curve if run["labeller"] == name]
        numbers = sorted({run["labels"] for run in mine})
        cells = [[run[column] for run in mine if run["labels"] == n] for n in numbers]
        mean, low, high = t_interval(np.transpose(cells))
        ends = (mean - low, high - mean)
        look = {"marker": plots.MARKERS[i], "linestyle": plots.LINES[i], "label": said}
        # Side by side, or the whiskers would hide each other.
        ax.errorbar(np.array(numbers) * 1.06**i, mean, ends, capsize=3, **look)
        if column == "agreement" and name in measured["ceilings"]:
            ax.axhline(measured["ceilings"][name], color=plots.COLORS[i], linestyle=":", lw=1.5)
    ax.set(xscale="log", xlabel="labels")
