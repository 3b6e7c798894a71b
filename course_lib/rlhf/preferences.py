"""Preferences: pairs of replies, a simulated human who compares them, and labels that survive.

Nobody can write down the number that a reply is worth, but most people can say which of two they
prefer. Bradley and Terry, "Rank analysis of incomplete block designs" (Biometrika 1952), turn one
into the other: each reply has a worth r, and A is preferred with probability

    p(A over B) = sigmoid(r_A - r_B).

Christiano et al., "Deep reinforcement learning from human preferences" (arXiv 1706.03741), learn r
from such choices and train an agent on it. There a human may also call a pair equal: the label is
the *share* of A, 1 for A, 0 for B, 0.5 for a tie.

`Labeller` is a human whose true values, noise and bias are known, so that one can measure what
labels do to a reward model. `LabelFile` keeps the labels of a real one.
Left out: rankings of more than two replies, confidence ratings, several labellers who disagree.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_lib import limits

SHARES = (0.0, 0.5, 1.0)  # for B, a tie, for A
KIND = "preference labels 1"


class Pair(NamedTuple):
    """One question and two replies to it."""

    prompt: str
    a: str
    b: str


def preference_probability(
    reward_a: float, reward_b: float, temperature: float = 1.0, flip: float = 0.0
) -> float:
    """Probability that A is chosen over B, between 0 and 1.

    Bradley and Terry (1952), with the rewards divided by ``temperature``: at 0 the better one is
    always chosen, and equal ones by a coin. With probability ``flip`` the choice is then turned
    round, whatever the rewards are.
    """
    difference = reward_a - reward_b
    if temperature > 0:
        # tanh, since exp would overflow for large differences.
        chosen = 0.5 + 0.5 * float(np.tanh(difference / (2 * temperature)))
    else:
        chosen = 0.5 + 0.5 * float(np.sign(difference))
    return (1 - flip) * chosen + flip * (1 - chosen)


@dataclass(frozen=True)
class Labeller:
    """A simulated human: known values, adjustable noise and bias."""

    reward: Callable[[str, str], float]  # the true worth of (prompt, reply)
    temperature: float = 1.0  # noise of the choice, in units of reward: 0 (none) to 3
    flip: float = 0.0  # share of labels turned round by carelessness: 0 to 0.4
    length_bias: float = 0.0  # reward that this labeller adds per word: 0 to 0.5
    tie_margin: float = 0.0  # closer rewards than this are called a tie: 0 to 1

    def __post_init__(self) -> None:
        limits.check(self, not_negative="temperature tie_margin", fraction="flip")

    def worth(self, prompt: str, reply: str) -> float:
        """What the reply is worth *to this labeller*: the true reward and the bias."""
        return self.reward(prompt, reply) + self.length_bias * len(reply.split())

    def probability(self, pair: Pair) -> float:
        """Probability that this labeller chooses A where it chooses at all."""
        worths = self.worth(pair.prompt, pair.a), self.worth(pair.prompt, pair.b)
        return preference_probability(*worths, self.temperature, self.flip)

    def label(self, pairs: Sequence[Pair], seed: int) -> list[float]:
        """The share of A for each pair: 1 A is better, 0 B is better, 0.5 a tie."""
        draws = np.random.default_rng(np.random.SeedSequence((seed, 1))).random(len(pairs))
        shares = []
        for pair, draw in zip(pairs, draws, strict=True):
            difference = self.worth(pair.prompt, pair.a) - self.worth(pair.prompt, pair.b)
            tie = abs(difference) < self.tie_margin
            shares.append(0.5 if tie else float(draw < self.probability(pair)))
        return shares


def make_pairs(
    prompts: Sequence[str], replies: Sequence[Sequence[str]], count: int, seed: int
) -> list[Pair]:
    """``count`` pairs of different replies to the same prompt, in random order and on random sides.

    ``replies[i]`` are some replies to ``prompts[i]``. Pairs are spread over the prompts as evenly
    as possible, and none occurs twice, whichever way round.
    """
    if len(prompts) != len(replies):
        raise ValueError(f"got {len(prompts)} prompts but {len(replies)} lists of replies")
    rng = np.random.default_rng(np.random.SeedSequence((seed, 2)))
    waiting: dict[str, list[Pair]] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    for prompt, texts in zip(prompts, replies, strict=True):
        several = list(dict.fromkeys(texts))
        for i, a in enumerate(several):
            for b in several[i + 1 :]:
                if (key := (prompt, frozenset((a, b)))) not in seen:
                    seen.add(key)
                    sides = (a, b) if rng.random() < 0.5 else (b, a)
                    waiting.setdefault(prompt, []).append(Pair(prompt, *sides))
    if len(seen) < count:
        raise ValueError(f"these replies make {len(seen)} different pairs, fewer than {count}")
    for pairs in waiting.values():
        rng.shuffle(pairs)
    chosen: list[Pair] = []
    while len(chosen) < count:  # a round takes one pair of each prompt that has some left
        prompts_left = [prompt for prompt, pairs in waiting.items() if pairs]
        for i in rng.permutation(len(prompts_left))[: count - len(chosen)]:
            chosen.append(Pair(*waiting[prompts_left[i]].pop()))
    return chosen


# --- Labels on disk ----------------------------------------------------------------------------


def save_pairs(path: Path | str, pairs: Sequence[Pair]) -> None:
    """Write pairs as JSON, one per line."""
    lines = [json.dumps(pair._asdict(), ensure_ascii=False) + "\n" for pair in pairs]
    Path(path).write_text("".join(lines), encoding="utf-8")


def load_pairs(path: Path | str) -> list[Pair]:
    """Read what `save_pairs` wrote."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    try:
        return [Pair(**json.loads(line)) for line in lines]
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path} was not written by `save_pairs`: {error}") from error


class LabelFile:
    """Labels of some pairs in a file that only ever grows: one JSON record per line.

    A label is on the disk before `add` returns, so that a kernel that dies loses none. Taking one
    back adds a record, too. A last line without its end, as a crash can leave it, is passed over.
    The first line says which pairs the labels are for. Nothing is written before the first label.
    """

    def __init__(self, path: Path | str, pairs: Sequence[Pair]):
        """Open the file and read the labels that it holds; it need not exist yet."""
        self.path = Path(path)
        self.count = len(pairs)
        text = json.dumps([list(pair) for pair in pairs])
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._labels: dict[int, float] = {}
        self._size = -1  # bytes of the file when it was read last
        self.read()

    @property
    def labels(self) -> dict[int, float]:
        """Number of the pair: share of A. In the order in which they were given."""
        return dict(self._labels)

    def read(self) -> None:
        """Read the file again where another program has written to it."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size == self._size:
            return
        content = self.path.read_bytes() if size else b""
        whole = content[: content.rfind(b"\n") + 1]
        labels: dict[int, float] = {}
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                record = json.loads(line)
                if number == 1:
                    self._check_head(record)
                elif "undo" in record:
                    del labels[record["undo"]]
                else:
                    labels.pop(record["pair"], None)  # labelled anew: now it is the latest
                    labels[record["pair"]] = self._checked(record["pair"], record["share"])
            except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
                raise ValueError(
                    f"line {number} of {self.path} is damaged ({line[:60]!r}): mend that line, or "
                    "move the file elsewhere to begin anew. Nothing was changed in it."
                ) from error
        self._labels, self._size = labels, size

    def add(self, pair: int, share: float) -> None:
        """Save the label of one pair: 1 for A, 0 for B, 0.5 for a tie."""
        share = self._checked(pair, share)
        self._append({"pair": pair, "share": share})
        self._labels.pop(pair, None)
        self._labels[pair] = share

    def undo(self) -> int | None:
        """Take the latest label back; returns its pair, or None where there is no label."""
        self.read()
        if not self._labels:
            return None
        pair = next(reversed(self._labels))
        self._append({"undo": pair})
        del self._labels[pair]
        return pair

    def _checked(self, pair: int, share: float) -> float:
        if not isinstance(pair, int) or not 0 <= pair < self.count:
            raise ValueError(f"pair must lie in [0, {self.count - 1}], got {pair}")
        if share not in SHARES:
            raise ValueError(f"share must be 0, 0.5 or 1, got {share!r}")
        return float(share)

    def _check_head(self, record: dict) -> None:
        if record.get("kind") != KIND:
            raise ValueError(f"{self.path} holds no labels: move it elsewhere, or name another")
        if record["pairs"] != self.fingerprint:
            raise ValueError(
                f"the labels in {self.path} were given for other pairs than these: move the file "
                "elsewhere to begin anew. Nothing was changed in it."
            )

    def _append(self, record: dict) -> None:
        """One record behind the others, and on the disk before this returns."""
        self.read()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(record)]
        if self._whole() == 0:
            lines.insert(0, json.dumps({"kind": KIND, "pairs": self.fingerprint}))
        data = "".join(line + "\n" for line in lines).encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(f"the disk is full: the label was not saved to {self.path}")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._size += len(data)

    def _whole(self) -> int:
        """Bytes of complete lines; cuts off what a crash left behind them."""
        if not self._size:
            return 0
        with self.path.open("r+b") as file:
            whole = file.read().rfind(b"\n") + 1
            if whole < self._size:
                file.truncate(whole)
                self._size = whole
        return whole
