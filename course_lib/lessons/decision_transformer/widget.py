"""The widget of lesson 13: ask a trained decision transformer for a return, and watch what it gets.

Each press of the button plays a few games of Breakout, and puts their mean beside what ten models
got when the lesson was written.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from course_lib.agents import decision_transformer
from course_lib.agents.decision_transformer import DecisionTransformer
from course_lib.classroom import live
from course_lib.lessons.decision_transformer import figures
from course_lib.rl.envs import make

GAME = "MinAtar/Breakout"
LIMITS = {"asked": (0, 25)}  # bricks


class Games(NamedTuple):
    """What was asked for at one press of the button, and what each game brought."""

    asked: float
    returns: np.ndarray  # (E,)


class ReturnAsker:
    """A model, the return to ask it for, and the log of what was asked and got.

    ``games`` are played at each press, side by side, with drawn actions. ``seed`` and the number of
    the press say how these fall out.
    """

    def __init__(self, model: DecisionTransformer, games: int = 8, asked: float = 6, seed: int = 0):
        if games < 1:
            raise ValueError(f"games must be at least 1, got {games}")
        self.model, self.games, self.seed = model, games, seed
        self.log: list[Games] = []
        self.asked = 0.0
        self.set(asked)

    # --- What slider and button do ---

    def set(self, asked: float | None = None) -> str:
        """Choose the return to ask for, in bricks; returns the summary."""
        vars(self).update(live.changed(vars(self), {"asked": asked}, LIMITS))
        return repr(self)

    def play(self) -> str:
        """Ask for it in a few games, and write down what they brought; returns the summary."""
        entropy = (self.seed, len(self.log), 13)
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        envs = make(GAME, self.games, seed=seed)
        asking = self.model, envs, float(self.asked), self.games
        self.log.append(Games(self.asked, decision_transformer.play(*asking, seed=seed)))
        return repr(self)

    # --- What they show ---

    def got(self) -> dict[float, float]:
        """Return asked for -> mean return of all games in which it was asked for."""
        asked = sorted({entry.asked for entry in self.log})
        return {
            ask: float(np.concatenate([e.returns for e in self.log if e.asked == ask]).mean())
            for ask in asked
        }

    def __repr__(self) -> str:
        if not self.log:
            return f"Nothing is asked for yet. Play asks for {self.asked:g} in {self._games()}."
        asked, returns = self.log[-1]
        return (
            f"Asked for {asked:g} in {self._games()}: got {returns.mean():.1f} on average, "
            f"from {returns.min():g} to {returns.max():g}."
        )

    def _games(self) -> str:
        return "a game" if self.games == 1 else f"{self.games} games"

    def as_html(self) -> str:
        """The summary, and the log as a table, the latest games first."""
        if not self.log:
            return f"<p>{self!r} Run this cell to play.</p>"
        rows = "".join(
            f"<tr><td>{entry.asked:g}</td><td>{entry.returns.mean():.1f}</td>"
            f"<td>{' '.join(f'{value:g}' for value in sorted(entry.returns))}</td></tr>"
            for entry in reversed(self.log)
        )
        head = "<tr><th>asked</th><th>got, mean</th><th>games</th></tr>"
        return f"<p>{self!r}</p><table style='font-size:1em'>{head}{rows}</table>"

    @live.drawn((8.0, 4.6))
    def figure(self, ax):
        """Return asked for against return got: the committed models, and the games played here."""
        figures.draw_asked(ax, self.got())

    def widget(self):
        """The live form: a slider, a button, the picture, the log."""
        slider = live.slider("asked", int(self.asked), *LIMITS["asked"], step=1)
        controls = {"asked": slider, "Play": self.play}
        return live.form(self.set, controls, figure=self.figure, page=self.as_html, at_once=False)

    _repr_mimebundle_ = live.bundle


ask_for_a_return = ReturnAsker
