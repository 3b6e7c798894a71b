"""A classifier on top of frozen features: logistic regression, the "linear probe".

Where a pretrained encoder already puts similar sentences side by side, a straight cut between them
is all that is left to learn, and a handful of labels will do (Alain and Bengio, "Understanding
intermediate layers using linear classifier probes", arXiv 1610.01644).

``bag_of_words`` gives features that know nothing but the words themselves: the baseline that any
pretrained encoder has to beat.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Probe(NamedTuple):
    """A score for each class: ``features @ weight.T + bias``. D features, K classes."""

    weight: Tensor  # (K, D)
    bias: Tensor  # (K,)

    def predict(self, features: Tensor) -> Tensor:
        """The most probable class of each row of ``features`` (N, D): (N,)."""
        return F.linear(features, self.weight, self.bias).argmax(dim=1)

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """The share of rows of ``features`` (N, D) that get their label (N,)."""
        return (self.predict(features) == labels).float().mean().item()


def probe_loss(scores: Tensor, labels: Tensor, weight: Tensor, strength: float) -> Tensor:
    """Cross-entropy of the labels plus a price for large weights, a number.

    ``scores`` (N, K), ``labels`` (N,), ``weight`` (K, D). Divided by N, this is what scikit-learn's
    LogisticRegression minimises with C = ``strength``.
    """
    return F.cross_entropy(scores, labels) + weight.square().sum() / (2 * strength * len(labels))


def fit(features: Tensor, labels: Tensor, classes: int, strength: float = 10.0) -> Probe:
    """Logistic regression on ``features`` (N, D) and ``labels`` (N,): the optimum, no chance in it.

    ``strength`` says how far the labels may pull the weights away from 0: 0.1 to 1000 for
    features of length 1. A class without a label is never predicted before the others.
    """
    if len(features) != len(labels) or not len(labels):
        raise ValueError(
            f"fit needs as many labels as rows, at least one; got {len(labels)} and {len(features)}"
        )
    # In float64: with float32's seven digits the line search gives up before the optimum.
    features = features.double()
    weight = torch.zeros(classes, features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=500,
        tolerance_grad=1e-6,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = probe_loss(F.linear(features, weight, bias), labels, weight, strength)
        loss.backward()
        return loss

    optimizer.step(closure)
    return Probe(weight.detach().float(), bias.detach().float())


def words(text: str) -> list[str]:
    """The words of a text, in small letters, and each "!" and "?"."""
    return re.findall(r"[a-z0-9]+(?:'[a-z]+)?|[!?]", text.lower())


def bag_of_words(texts: Sequence[str], vocabulary: Sequence[str]) -> Tensor:
    """Which words and pairs of words each text holds, (N, len(vocabulary)), rows of length 1."""
    column = {term: i for i, term in enumerate(vocabulary)}
    features = torch.zeros(len(texts), len(column))
    for row, text in enumerate(texts):
        for term in _terms(text):
            if term in column:
                features[row, column[term]] = 1.0
    return F.normalize(features, dim=1)


def vocabulary(texts: Sequence[str]) -> list[str]:
    """Every word and every pair of neighbouring words of ``texts``, in alphabetical order."""
    return sorted({term for text in texts for term in _terms(text)})


def _terms(text: str) -> set[str]:
    single = words(text)
    return {*single, *(f"{a} {b}" for a, b in pairwise(single))}
