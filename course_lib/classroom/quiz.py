"""Multiple-choice questions that explain every answer, the wrong ones too.

A quiz shows buttons while a kernel runs. Its stored output also holds the question as HTML and as
text, so that the notebook reads well on a web page or without a kernel; there, each explanation
folds out below its answer. Nothing in the output depends on chance or on what was clicked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from course_lib.classroom import live, record
from course_lib.classroom.cards import BADGE, LOOKS, markup, plain

LETTERS = "ABCDEFGH"


@dataclass(frozen=True)
class Feedback:
    """What an answer gets: the letter chosen, whether it is right, and why."""

    letter: str
    right: bool
    explanation: str

    def __str__(self) -> str:
        return f"{self.letter}: {'Right.' if self.right else 'Not quite.'} {self.explanation}"


class Quiz:
    """A question with one right answer, and the answers given; end a cell with it to show it.

    That it was solved outlives the kernel: see `record`.

        quiz("q_learning.1", "Which target does SARSA use?", {
            "the value of the best next action": "That is Q-learning's target. ...",
            "the value of the next action it takes": "Yes: on-policy. ...",
        }, right="B")

    Args:
        key: "lesson.number"; names the quiz in tests and reports.
        question: text, with `code`, **bold**, *italic* and $maths$ where needed.
        answers: two to eight answers, each with the explanation that choosing it gets.
        right: the letter of the right answer, counted from A in the order given.
    """

    def __init__(self, key: str, question: str, answers: Mapping[str, str], *, right: str):
        if not 2 <= len(answers) <= len(LETTERS):
            raise ValueError(f"a quiz has 2 to {len(LETTERS)} answers, got {len(answers)}")
        letters = LETTERS[: len(answers)]
        if len(right) != 1 or right not in letters:
            raise ValueError(f"right must be one of {', '.join(letters)}, got {right!r}")
        for text, explanation in answers.items():
            if not explanation.strip():
                raise ValueError(f"every answer needs an explanation, {text!r} has none")
        self.key = key
        self.question = question
        self.right = right
        self.texts = dict(zip(letters, answers.keys(), strict=True))
        self.explanations = dict(zip(letters, answers.values(), strict=True))
        self.given: list[Feedback] = []
        self.before = record.solved().get(key, "")  # the day on which it was solved earlier
        self.note = ""  # what hinders keeping it

    @property
    def solved(self) -> bool:
        """True once the right answer was given."""
        return any(feedback.right for feedback in self.given)

    def answer(self, letter: str) -> Feedback:
        """Give an answer; the buttons call this and nothing else decides."""
        if letter not in self.texts:
            raise ValueError(f"answer with one of {', '.join(self.texts)}, got {letter!r}")
        feedback = Feedback(letter, letter == self.right, self.explanations[letter])
        self.given.append(feedback)
        if feedback.right:
            self.note = record.keep(self.key)
        return feedback

    def status(self) -> str:
        """Where the learner stands, in words."""
        if not self.given and self.before:
            return f"You solved this one on {self.before}. Choose an answer to see it again."
        if not self.given:
            return "Choose an answer."
        tries = len(self.given)
        word = "1 answer" if tries == 1 else f"{tries} answers"
        solved = f"Solved with {word}. {self.note}".rstrip()
        return solved if self.solved else f"{word} so far, not solved yet."

    def __repr__(self) -> str:
        lines = [_plain(self.question)]
        lines += [f"  {letter}. {_plain(text)}" for letter, text in self.texts.items()]
        return "\n".join(lines)

    def as_html(self) -> str:
        """The question for a page without a kernel: explanations fold out."""
        rows = "".join(
            f"<details><summary><b>{letter}.</b> {markup(text)}</summary>"
            f'<p style="margin: 4px 0 8px 2em">{self._verdict(letter)}</p></details>'
            for letter, text in self.texts.items()
        )
        return (
            f'<div style="max-width: 46em; line-height: 1.6"><p><b>Quiz.</b> '
            f"{markup(self.question)}</p>{rows}</div>"
        )

    def _verdict(self, letter: str) -> str:
        right = letter == self.right
        look, word = ("right", "✓ Right.") if right else ("wrong", "✗ Not quite.")
        return f'<b style="{BADGE}{LOOKS[look][1]}">{word}</b> {markup(self.explanations[letter])}'

    def widget(self):
        """The live form as an ipywidgets box: one button per answer, feedback below."""
        import ipywidgets as widgets

        wide = widgets.Layout(max_width="46em")
        head = widgets.HTMLMath(f"<b>Quiz.</b> {markup(self.question)}", layout=wide)
        below = widgets.HTMLMath("", layout=wide)
        status = widgets.HTML(markup(self.status()))
        rows = []
        for letter, text in self.texts.items():
            button = widgets.Button(
                description=letter,
                tooltip=f"Answer {letter}: {_plain(text)}",
                layout=widgets.Layout(width="3.4em", flex="0 0 auto"),
            )
            button.on_click(lambda b, letter=letter: self._click(letter, b, below, status))
            line = widgets.HTMLMath(markup(text))
            rows.append(widgets.HBox([button, line], layout=widgets.Layout(align_items="center")))
        return widgets.VBox([head, *rows, below, status])

    def _click(self, letter: str, button, below, status) -> None:
        feedback = self.answer(letter)
        # A mark as well as a colour, for those who see no difference between the colours.
        mark, button.style.button_color = LOOKS["right" if feedback.right else "wrong"]
        button.style.text_color = "#ffffff"
        button.description = f"{letter} {mark}"
        below.value = f"<b>{letter}.</b> {self._verdict(letter)}"
        status.value = markup(self.status())

    _repr_mimebundle_ = live.bundle


quiz = Quiz


def _plain(text: str) -> str:
    return plain(text).replace("`", "")
