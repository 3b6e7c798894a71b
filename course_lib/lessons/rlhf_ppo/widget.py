"""The widget of lesson 08: the account of one reply, token by token.

What each token cost (its log-ratio times beta), what the whole reply earned (the score, at its
last token), what the critic expected, and the advantage that PPO learns from.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

import torch

from course_lib.classroom import live, plots
from course_lib.lm import losses
from course_lib.lm.generate import Sampling
from course_lib.lm.gpt import GPT
from course_lib.rlhf import ppo
from course_lib.rlhf.rollouts import Reward, collect
from course_lib.worlds import concierge

LARGEST_BETA = 0.5


class Entry(NamedTuple):
    """One token of the reply and what became of it; log-probabilities in nats, the rest points."""

    word: str
    logp: float  # under the policy
    ref_logp: float  # under the reference
    penalty: float  # -beta * (logp - ref_logp)
    score: float  # of the whole reply, at its last token; 0 before
    value: float  # what the critic expected before the token
    advantage: float


HEADS = ("token", "log-prob., policy", "log-prob., reference", "KL price", "score", "value before")
HEADS += ("advantage",)


class Account:
    """A question, a reply of the policy, and the account of its tokens."""

    def __init__(
        self,
        policy: GPT,
        critic: ppo.Critic,
        reference: GPT,
        reward: Reward,
        questions: Sequence[str],
        config: ppo.Config,
    ):
        self.policy, self.critic, self.reference = policy, critic, reference
        self.reward, self.questions, self.config = reward, tuple(questions), config
        self.question, self.beta, self.draws = self.questions[0], config.beta, 0
        self.write()

    def set(self, question: str | None = None, beta: float | None = None) -> None:
        """Ask another question and have a reply written; or put another price on a nat."""
        if question is not None and question not in self.questions:
            raise ValueError(
                f"no question {question!r}; there are {len(self.questions)}, "
                f"such as {self.questions[0]!r}"
            )
        changes = {"question": question, "beta": beta}
        vars(self).update(live.changed(vars(self), changes, {"beta": (0, LARGEST_BETA)}))
        if question is not None:
            self.write()

    @torch.no_grad()
    def write(self) -> None:
        """Draw another reply to the same question."""
        self.draws += 1
        length, temperature = self.config.max_new_tokens, self.config.temperature
        sampling = Sampling(length, temperature, stop_tokens=(concierge.END_TOKEN,))
        prompts, generator = [concierge.prompt_tokens(self.question)], torch.Generator()
        generator.manual_seed(self.draws)
        self.rollout = rollout = collect(self.policy, prompts, self.reward, sampling, generator)
        texts = (rollout.tokens, rollout.valid_mask, rollout.response_mask)
        self.ref_logp = losses.response_logp(self.reference, *texts, temperature)
        self.values = self.critic(*texts[:2])

    def entries(self) -> list[Entry]:
        """The account of the present reply, computed by the functions that PPO trains with."""
        rollout, config = self.rollout, self.config
        mask = rollout.response_mask
        scores = ppo.terminal_rewards(
            rollout.rewards - config.missing_end * ~rollout.finished, mask
        )
        shaped = ppo.kl_shaped_rewards(scores, rollout.logp, self.ref_logp, mask, self.beta)
        advantages = ppo.token_advantages(shaped, self.values, mask, config.gamma, config.lam)
        columns = (rollout.logp, self.ref_logp, shaped - scores, scores, self.values, advantages)
        return [
            Entry(concierge.TOKENIZER.token(int(token)), *(float(x[0, t]) for x in columns))
            for t, token in enumerate(rollout.tokens[0])
            if mask[0, t]
        ]

    def summary(self) -> str:
        """The sums in one sentence."""
        entries = self.entries()
        kl = sum(entry.logp - entry.ref_logp for entry in entries)
        price, score = (sum(getattr(e, name) for e in entries) for name in ("penalty", "score"))
        reply = concierge.reply_of(self.rollout.responses[0])
        return (
            f"{kl:+.2f} nats from the reference at {self.beta:g} points each: {price:+.2f}. "
            f"Score {score:+.2f}, so the reply earns {score + price:+.2f}. "
            f"Its true reward is {concierge.true_reward(self.question, reply):+.2f}."
        )

    def __repr__(self) -> str:
        lines = [f"Guest: {self.question}", self.summary(), ""]
        lines.append(
            f"{'token':>10}" + "".join(f"{n.split('_')[0]:>11}" for n in Entry._fields[1:])
        )
        for word, *numbers in self.entries():
            lines.append(f"{word:>10}" + "".join(f"{_signed(x):>11}" for x in numbers))
        return "\n".join(lines)

    def as_html(self) -> str:
        """The same as a table; shades repeat what the signs of the numbers say."""
        cell = "padding:2px 10px;text-align:right;font-variant-numeric:tabular-nums"
        heads = "".join(f"<th style='{cell}'>{name}</th>" for name in HEADS)
        rows = []
        for entry in self.entries():
            numbers = "".join(
                f"<td style='{cell};background:{_shade(name, x)};color:#222'>{_signed(x)}</td>"
                for name, x in zip(Entry._fields[1:], entry[1:], strict=True)
            )
            word = html.escape(entry.word)
            rows.append(f"<tr><td style='{cell}'><b>{word}</b></td>{numbers}</tr>")
        return (
            f"<div style='max-width:60em;line-height:1.5'><b>Guest:</b> "
            f"{html.escape(self.question)}<br>{html.escape(self.summary())}</div>"
            f"<table style='border-collapse:collapse'><tr>{heads}</tr>{''.join(rows)}</table>"
        )

    def widget(self):
        """The live form: a question, a button, the price of a nat, the table."""
        controls = {
            "question": live.menu("question", self.question, self.questions),
            "Another reply": self.write,
            "beta": live.slider("beta", self.beta, 0.0, LARGEST_BETA, 0.05),
        }
        return live.form(self.set, controls, page=self.as_html)

    _repr_mimebundle_ = live.bundle


def _signed(value: float) -> str:
    return "0" if abs(value) < 0.005 else f"{value:+.2f}"


def _shade(name: str, value: float) -> str:
    """Blue above 0 and orange below, stronger for larger numbers; white for log-probabilities."""
    if name in ("logp", "ref_logp") or abs(value) < 0.005:
        return "transparent" if name in ("logp", "ref_logp") else "#ffffff"
    colour = plots.COLORS[0] if value > 0 else plots.COLORS[1]
    strength = 0.1 + 0.5 * min(1.0, abs(value) / 2)
    parts = bytes.fromhex(colour[1:])
    return "#" + bytes(round(255 - (255 - part) * strength) for part in parts).hex()
