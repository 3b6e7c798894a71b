"""The widget of lesson 14: say anything to a trained agent, and see what it makes of it.

Beside what it did stands the sentence of training that a look-up would have put in its place.
"""

from __future__ import annotations

import html
from itertools import groupby
from typing import NamedTuple

import numpy as np
from torch.nn.functional import cosine_similarity

from course_lib.agents import instructions
from course_lib.agents.instructions import Encoder, InstructionAgent
from course_lib.classroom import live
from course_lib.lessons.language_agents import trials
from course_lib.worlds import commands as rooms, grid, sentences

LONGEST = 200  # characters of a sentence
TILE = 32  # pixels of a cell
DONE = {"go to": "went to", "pick up": "picked up", "open": "opened"}


class Told(NamedTuple):
    """What was said in which room, what the agent did, and what a look-up would have heard."""

    room: int  # counted from 1
    sentence: str
    did: str  # in words, such as "picked up the red ball"
    actions: list[str]  # names of the actions, one a step
    nearest: str  # the sentence of training with the largest cosine
    cosine: float

    def __str__(self) -> str:
        return f"{self.did} after {len(self.actions)} step{'s' if len(self.actions) > 1 else ''}"

    def way(self) -> str:
        """The actions in words, such as "3 forward, left, pick up"."""
        runs = ((name, len([*same])) for name, same in groupby(self.actions))
        return ", ".join(name if count == 1 else f"{count} {name}" for name, count in runs)


class TellTheAgent:
    """A trained agent, a room, a sentence to type, and the log of what was said and done.

    Sentences of training are those that the agent has heard so far, and hears again afterwards.
    ``sentence`` is the first one, None takes one that suits the room. It is done at once.
    ``encoder`` makes the vectors that the look-up compares, None takes MiniLM's. ``seed`` draws
    the rooms and, with the number of the press, the actions.
    """

    def __init__(
        self,
        agent: InstructionAgent,
        sentence: str | None = None,
        encoder: Encoder | None = None,
        seed: int = 0,
    ):
        self.agent, self.seed = agent, seed
        self.encoder = encoder or trials.minilm()
        self.look_up = instructions.nearest(self.encoder, agent.sentences)
        self.log: list[Told] = []
        self.room = 0  # the number of the present one
        self.new_room()
        self.sentence = self.envs.sentences[0] if sentence is None else sentence
        self.do()

    # --- What the text field and the buttons do ---

    def set(self, sentence: str | None = None) -> str:
        """Choose what to say; returns the summary. Whether it can be said, `do` finds out."""
        vars(self).update(live.changed(vars(self), {"sentence": sentence}, {}))
        return repr(self)

    def new_room(self) -> str:
        """Draw another room, with four other things; returns the summary."""
        self.room += 1
        rng = np.random.default_rng((self.seed, self.room, 14))
        training = sentences.training()
        command = training[rng.integers(len(training))]
        self.envs = rooms.Commands([command], num_envs=1)
        self.plan = rooms.draw_plan(command, self.envs.level, self.envs.rooms, rng)
        self._begin()
        self.start = self.end = self.envs.render()  # pictures, (H, W, 3) uint8
        self.path: list[int] = []  # addresses, none before the first episode in this room
        return repr(self)

    def do(self) -> str:
        """Have the sentence done in this room, from its beginning; returns the summary.

        Raises ValueError where the sentence is empty or too long.
        """
        length = len(self.sentence) if self.sentence.strip() else 0
        if not 1 <= length <= LONGEST:
            raise ValueError(
                f"Your sentence has {length:,} characters, and the agent listens to sentences of "
                f"1 to {LONGEST}: type another one, then press Do it."
            )
        nearest = self.look_up([self.sentence])[0]
        cosine = float(cosine_similarity(*self.encoder([self.sentence, nearest]), dim=0))
        did, actions, self.path = self._act()
        self.end = self.envs.render()
        self.log.append(Told(self.room, self.sentence, did, actions, nearest, cosine))
        return repr(self)

    def _begin(self) -> None:
        """Put everything back to where it was drawn."""
        self.envs.reset()
        self.envs.begin(0, 0, self.plan)

    def _act(self) -> tuple[str, list[str], list[int]]:
        """One episode with the sentence: what came of it, the actions, and the addresses."""
        seed = int(np.random.SeedSequence((self.seed, len(self.log))).generate_state(1)[0])
        before, policy = self.agent.sentences, trials.player(self.agent, seed)
        self._begin()
        obs, over, actions, path = self.envs.observe(), False, [], [self.plan.position]
        self.agent.hear([self.sentence])
        try:
            while not over:
                action = policy(obs)
                actions.append(rooms.ACTION_NAMES[int(action[0])])
                obs, _, terminated, truncated, _ = self.envs.step(action)
                path.append(int(self.envs.rooms.position[0]))
                over = bool(terminated[0] or truncated[0])
        finally:
            self.agent.hear(before)
        if self.envs.did[0] == rooms.NOTHING:
            did = "said “done” with nothing before it" if terminated[0] else "had not decided"
            return did, actions, path
        verb, colour, kind = sentences.GOALS[self.envs.did[0]]
        return f"{DONE[verb]} the {colour} {kind}", actions, path

    # --- What they show ---

    def __repr__(self) -> str:
        colours, kinds = [*grid.COLOURS], [*grid.KINDS]
        codes = sorted(code for _, code in self.plan.things)
        things = [f"{colours[grid.COLOUR_OF[c]]} {kinds[grid.KIND_OF[c]]}" for c in codes]
        room = f"Room {self.room}: {', '.join(things)}."
        if not self.path:
            return f"{room} Type a sentence, then press Do it."
        told = self.log[-1]
        return (
            f"{room} Told “{told.sentence}”, the agent {told} ({told.way()}). A look-up would have "
            f"heard “{told.nearest}”, cosine {told.cosine:.2f}."
        )

    def as_html(self) -> str:
        """The summary, and the log as a table, the latest sentence first."""
        rows = "".join(
            f"<tr><td>{told.room}</td><td>{html.escape(told.sentence)}</td><td>{told}</td>"
            f"<td>{html.escape(told.nearest)}</td><td>{told.cosine:.2f}</td></tr>"
            for told in reversed(self.log)
        )
        names = ("room", "you said", "the agent", "nearest in training", "cosine")
        head = "".join(f"<th>{name}</th>" for name in names)
        more = " Run this cell to tell it something else." if len(self.log) == 1 else ""
        return (
            f"<p aria-live='polite'>{html.escape(repr(self))}{more}</p>"
            f"<table style='font-size:1em'><tr>{head}</tr>{rows}</table>"
        )

    @live.drawn((8.0, 4.5), 1, 2)
    def figure(self, before, after):
        """The room before and after, and from a ring to the agent the way that it took."""
        if self.path:
            x, y = np.array([self.envs.rooms.xy(place) for place in self.path]).T * TILE + TILE / 2
            after.plot(x, y, color="black", lw=5)  # seen on a bright thing as on the dark floor
            after.plot(x, y, color="white", lw=2.2)
            after.plot(x[:1], y[:1], "o", ms=11, mfc="none", mec="white", mew=2.2)
        titles = "before", "after, with the way" if self.path else "nothing said yet"
        for ax, shown, title in zip((before, after), (self.start, self.end), titles, strict=True):
            ax.imshow(shown)
            ax.set(xticks=[], yticks=[], title=title)
            ax.grid(False)

    def widget(self):
        """The live form: a line to type into, two buttons, the pictures, the log."""
        import ipywidgets as widgets

        line = widgets.Text(value=self.sentence, description="sentence")
        controls = {"sentence": line, "Do it": self.do, "New room": self.new_room}
        return live.form(self.set, controls, figure=self.figure, page=self.as_html, at_once=False)

    _repr_mimebundle_ = live.bundle


tell_the_agent = TellTheAgent
