"""Train many models of one shape at once, each with its own seed, first weights and schedule.

At the sizes of these experiments a processor spends most of an update on starting operations, not
on arithmetic. So the weights of all models are the rows of one matrix, one forward pass (`vmap`)
serves all of them, and AdamW works on the matrix. Each row is what `pretrain.train` would have
made of that model alone, up to rounding: a test compares them.
"""

from __future__ import annotations

from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, vmap

from course_lib import allocator, randomness
from course_lib.lm import gpt, pretrain
from course_lib.lm.gpt import GPT


def train_together(
    models: list[GPT], tokens: Tensor, configs: list[pretrain.Config], seeds: list[int]
) -> None:
    """Train ``models`` in place on one text, ``tokens`` (N,), as `pretrain.train` does with each.

    The configs may differ in ``learning_rate`` and ``warmup`` only.
    """
    allocator.keep_freed_memory()
    first = configs[0]
    named = [dict(model.named_parameters()) for model in models]  # a tied head is not listed twice
    shapes = {name: p.shape for name, p in named[0].items()}
    rows = [torch.cat([p.detach().flatten() for p in ps.values()]) for ps in named]
    weights = torch.stack(rows).requires_grad_()  # (M, P)
    decayed = torch.cat([torch.full((s.numel(),), float(len(s) >= 2)) for s in shapes.values()])
    decayed *= first.weight_decay
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    generators = [randomness.generator(seed) for seed in seeds]

    def logits_of(parameters: dict[str, Tensor], windows: Tensor) -> Tensor:
        return functional_call(models[0], parameters, (windows,))

    for step in range(1, first.total_steps + 1):
        windows = torch.stack(
            [
                pretrain.random_windows(tokens, first.batch_size, first.context, g)
                for g in generators
            ]
        )
        parts = weights.split([s.numel() for s in shapes.values()], dim=1)
        parameters = {
            name: part.unflatten(1, shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }
        with patch.object(gpt, "attention", gpt.attention.__wrapped__):  # vmap lacks the kernel
            logits = vmap(logits_of)(parameters, windows)  # (M, B, T, V)
        nll = F.cross_entropy(logits[:, :, :-1].flatten(0, 2), windows[:, :, 1:].flatten())
        (gradient,) = torch.autograd.grad(nll * len(models), weights)  # each model's own mean
        norm = gradient.norm(dim=1, keepdim=True)
        gradient *= (first.max_grad_norm / (norm + 1e-6)).clamp(max=1)
        rate = torch.tensor([[pretrain.learning_rate(step, config)] for config in configs])
        with torch.no_grad():
            mean.lerp_(gradient, 1 - first.betas[0])
            square.lerp_(gradient**2, 1 - first.betas[1])
            spread = (square / (1 - first.betas[1] ** step)).sqrt_().add_(1e-8)
            weights.mul_(1 - rate * decayed)
            weights.sub_(rate / (1 - first.betas[0] ** step) * mean / spread)
    with torch.no_grad():
        for ps, row in zip(named, weights, strict=True):
            for p, part in zip(
                ps.values(), row.split([p.numel() for p in ps.values()]), strict=True
            ):
                p.copy_(part.view_as(p))
