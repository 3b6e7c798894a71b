"""A frozen sentence encoder against training from scratch, with 5, 20 and 100 labels.

Two real tasks: is a film review good or bad, and which of six kinds of thing does a question ask
for. Each text occurs once in the data, and the test sentences are the same for all. Per number of
labels several draws of labels, as even over the classes as the number allows; every method learns
from the same draw:

- *frozen encoder*: MiniLM's sentence vectors and logistic regression on them;
- *bag of words*: logistic regression on words and pairs of words, the baseline to beat;
- *transformer from scratch*: this course's own, on words.

All settings were fixed before the first run: strength 10 for both logistic regressions, and for the
transformer as many passes as bring its training loss near 0.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness import Goal, by, mean_over_seeds, reported
from course_lib.evaluation import t_interval
from course_lib.lm import probe
from course_lib.lm.encoder import mean_pool
from course_lib.lm.gpt import GPTConfig, Transformer
from course_lib.worlds import tasks
from course_lib.worlds.pretrained import sentence_encoder

LABELS = (5, 20, 100)
METHODS = ("frozen encoder", "bag of words", "transformer from scratch")
TEST, POOL = 1000, 1000  # sentences to be tested on, sentences from which labels are drawn


class Scratch(nn.Module):
    """A small transformer that knows no word before training, and a classifier on its mean."""

    def __init__(self, terms: list[str], classes: int, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.number = {term: i + 2 for i, term in enumerate(terms)}  # 0 padding, 1 unknown
        config = GPTConfig(vocab_size=len(terms) + 2, layers=2, width=64, heads=4)
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.body = Transformer(config)
        self.head = nn.Linear(config.width, classes)
        nn.init.normal_(self.embedding.weight, std=0.1)

    def read(self, texts: list[str]) -> Tensor:
        rows = [[self.number.get(w, 1) for w in probe.words(t)][:48] or [1] for t in texts]
        width = max(map(len, rows))
        return torch.tensor([row + [0] * (width - len(row)) for row in rows])

    def forward(self, tokens: Tensor) -> Tensor:
        valid = tokens > 0
        both_ways = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool)
        return self.head(mean_pool(self.body(self.embedding(tokens), valid, mask=both_ways), valid))


def from_scratch(
    texts: list[str], labels: Tensor, test: list[str], classes: int, seed: int
) -> Tensor:
    """Train on the labelled texts, return the predicted classes of ``test``."""
    terms = sorted({word for text in texts for word in probe.words(text)})
    model = Scratch(terms, classes, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    rng = np.random.default_rng((seed, 1))
    for _ in range(20 if len(texts) >= 100 else 40):  # passes; the training loss is then near 0
        for rows in np.array_split(rng.permutation(len(texts)), max(1, len(texts) // 16)):
            loss = F.cross_entropy(model(model.read([texts[i] for i in rows])), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    order = sorted(range(len(test)), key=lambda i: len(test[i]))
    guesses = torch.empty(len(test), dtype=torch.int64)
    with torch.no_grad():
        for start in range(0, len(test), 250):
            part = order[start : start + 250]
            guesses[part] = model(model.read([test[i] for i in part])).argmax(dim=1)
    return guesses


def draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of ``count`` examples, the classes as even as ``count`` allows."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(labels.max() + 1)
    queues = {k: list(rng.permutation(np.flatnonzero(labels == k))) for k in classes}
    order = [k for _ in range(count) for k in classes if queues[k]]
    return np.array([queues[k].pop() for k in order if queues[k]][:count])


def measure(quick: bool) -> dict:
    seeds = list(range(200, 203 if quick else 212))
    encoder = sentence_encoder()
    runs, shares = [], {}
    for task, data in {"film reviews": tasks.reviews(), "questions": tasks.questions()}.items():
        texts, labels = data.texts[: TEST + POOL], torch.tensor(data.labels[: TEST + POOL])
        test, goal, pool = texts[:TEST], labels[:TEST], texts[TEST:]
        shares[task] = round(float(goal.bincount().max()) / TEST, 3)
        vectors = encoder.encode(texts)
        print(task, "encoded", flush=True)
        for count in LABELS:
            for seed in seeds:
                rows = draw(labels[TEST:].numpy(), count, seed)
                shown, y = [pool[i] for i in rows], labels[TEST:][rows]
                classes = len(data.names)
                frozen = probe.fit(vectors[TEST:][rows], y, classes)
                terms = probe.vocabulary(shown)
                bag = probe.fit(probe.bag_of_words(shown, terms), y, classes)
                guesses = (
                    frozen.predict(vectors[:TEST]),
                    bag.predict(probe.bag_of_words(test, terms)),
                    from_scratch(shown, y, test, classes, seed),
                )
                for method, guess in zip(METHODS, guesses, strict=True):
                    accuracy = round((guess == goal).float().mean().item(), 4)
                    run = {"task": task, "labels": count, "seed": seed, "method": method}
                    runs.append(run | {"accuracy": accuracy})
            print(task, count, [r["accuracy"] for r in runs[-3:]], flush=True)
    return {"seeds": seeds, "test_sentences": TEST, "most_frequent_class": shares, "runs": runs}


def judge(result: dict) -> list[Goal]:
    goals = []
    for (task, count), runs in by(result["runs"], "task", "labels").items():
        found = {
            name: [run["accuracy"] for run in part] for name, part in by(runs, "method").items()
        }
        what = (
            f"{task}, {count} labels: accuracy on {result['test_sentences']} other sentences "
            "[95 % t interval over draws of labels]"
        )
        measured = "; ".join(f"{name} {mean_over_seeds(x, '.3f')}" for name, x in found.items())
        if count == 20:
            encoder, *others = (np.array(found[method]) for method in METHODS)
            gains = [encoder - other for other in others]
            words = " and ".join(mean_over_seeds(gain, ".3f") for gain in gains)
            measured += f"; encoder less each of the others, draw by draw, {words}"
            promised = "frozen encoder above both others, t intervals of the difference above 0"
            above = all(t_interval(gain)[1] > 0 for gain in gains)
            goals.append(Goal(what, promised, measured, above))
        else:
            goals.append(reported(what, measured))
    return goals
