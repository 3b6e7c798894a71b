"""Fine-tuning loops, right and wrong: each mistake is refused by the probe that isolates it."""

import numpy as np
import pytest

from course_lib.classroom.check import check
from course_lib.classroom.edits import Edit, apply
from course_lib.lessons.adaptation.build import train_lora

SEEDS = range(5)
LOGITS = "F.linear(hidden, weight) + scale * F.linear(F.linear(hidden, a), b)"
LOSS = "-(chosen * mask[:, 1:]).sum() / count"
BATCHES = "for hidden, tokens, mask in update:"
STEP = "optimizer.step()"
WEIGH = "for p in (a, b): p.grad /= count"
RIGHT = {  # what is changed in the reference
    "one merged matrix": [(LOGITS, "hidden @ (weight + scale * b @ a).T")],
    "the product of A and B": [(LOGITS, "hidden @ weight.mT + scale * hidden @ (b @ a).mT")],
    "double precision": [
        ("a.clone()", "a.double()"),
        ("b.clone()", "b.double()"),
        (LOGITS, "F.linear(hidden, weight) + scale * hidden.double() @ a.T @ b.T"),
        ("return a.detach(), b.detach()", "return a.detach().float(), b.detach().float()"),
    ],
    "only the tokens to learn": [(LOSS, "-chosen[mask[:, 1:]].sum() / count")],
    "cross entropy": [
        (
            LOSS,
            "(F.cross_entropy(logits[:, :-1].mT, tokens[:, 1:], reduction='none')"
            " * mask[:, 1:]).sum() / count",
        )
    ],
    "labels that are ignored": [
        (
            LOSS,
            "F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens.where(mask, -100)[:, 1:]"
            ".flatten(), ignore_index=-100, reduction='sum') / count",
        )
    ],
    "divides the gradients": [("/ count", ""), (STEP, f"{WEIGH}\n        {STEP}")],
    "clears after the step": [
        ("optimizer.zero_grad()", ""),
        (STEP, f"{STEP}\n        optimizer.zero_grad()"),
    ],
    "one backward for all": [
        (BATCHES, f"total = 0\n        {BATCHES}"),
        ("loss.backward()", "total = total + loss"),
        (STEP, f"total.backward()\n        {STEP}"),
    ],
    "no optimiser": [
        (
            STEP,
            "a, b = ((p - learning_rate * p.grad).detach().requires_grad_() for p in (a, b))",
        ),
        ("optimizer.zero_grad()", "a.grad = b.grad = None"),
    ],
    "row by row": [
        (
            BATCHES,
            "for hidden, tokens, mask in ((h[None], t[None], m[None])"
            " for micro in update for h, t, m in zip(*micro, strict=True)):",
        )
    ],
    "a frozen weight that says so": [
        ("for update in updates:", "weight.requires_grad_(False)\n    for update in updates:")
    ],
}
WRONG = {  # what is changed: the mistake whose hint it gets
    "a mean of means": ("/ count", "/ mask.sum() * len(mask) / sum(len(m) for _, _, m in update)"),
    "takes the steps of Adam": ("optim.SGD([a, b]", "optim.Adagrad([a, b]"),
    "never clears the gradients": ("lr=learning_rate)", "lr=learning_rate, momentum=0.9)"),
    "forgets the scale": ("+ scale * F", "+ scale / scale * F"),
    "leaves A alone": ("F.linear(hidden, a)", "F.linear(hidden, a.detach())"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_loop_passes_whatever_its_style(name):
    right = apply(train_lora.reference, Edit("right", tuple(RIGHT[name]), ""))
    for seed in SEEDS:
        verdict = check(right, train_lora, seed)
        assert verdict.status == "right", verdict.reason


@pytest.mark.parametrize("mistake", WRONG)
def test_another_form_of_a_mistake_gets_its_hint(mistake):
    wrong = apply(train_lora.reference, Edit("wrong", (WRONG[mistake],), ""))
    for seed in SEEDS:
        assert check(wrong, train_lora, seed).mistake == mistake


@pytest.mark.parametrize("mistake", train_lora.mistakes, ids=lambda mistake: mistake.name)
def test_a_mistake_is_refused_by_the_probe_that_isolates_it(mistake):
    for seed in SEEDS:
        probes = {probe.name: probe for probe in train_lora.cases(np.random.default_rng(seed))}
        assert probes[check(mistake.function, train_lora, seed).case].isolates == mistake.name


def test_every_probe_isolates_a_mistake_of_its_own():
    isolated = [probe.isolates for probe in train_lora.cases(np.random.default_rng(0))]
    assert sorted(isolated) == sorted(mistake.name for mistake in train_lora.mistakes)
