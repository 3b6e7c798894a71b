"""LoRA: learn a small correction to a large frozen matrix.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685: beside a frozen
weight W (out, in) stand two thin matrices, A (r, in) and B (out, r), and a layer computes
W x + (alpha / r) B A x (equation 3). B starts at zero, so that an adapted model begins as the model
that it was. Only A and B learn: one hundredth of the weights, and of the optimiser's memory.

A and B stay in float32 also where W is bfloat16: a bfloat16 number has three digits, and most
updates would be rounded away. Left out: dropout before A, adapters for embeddings, quantised W.
Our q, k and v are rows of one matrix, so they share one A; the paper gives each its own.
"""

import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import allocator, limits, randomness, weights


@dataclass(frozen=True)
class Config:
    """Which layers get adapters, and how large these are."""

    rank: int = 8  # r, the rank of the correction: 1 to 64
    alpha: float = 16.0  # the correction is scaled by alpha / r: r to 4 r
    targets: tuple[str, ...] = ("qkv", "out", "gate", "up", "down")  # last names of Linear layers
    layers: int | None = None  # only the last so many blocks, which is cheaper; None: all

    def __post_init__(self) -> None:
        limits.check(self, at_least_1="rank layers", above_0="alpha", optional="layers")

    @property
    def scale(self) -> float:
        """The factor before B A."""
        return self.alpha / self.rank


# SmolLM2 learns an invented language (`worlds/belu.py`): 2.9 of its 134.5 million weights.
BELU = Config(rank=16, alpha=32, layers=20)


def lora_forward(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """An adapted layer: ``weight @ x + scale * b @ a @ x`` for each vector, (..., out).

    ``x`` (..., in), ``weight`` (out, in), ``a`` (r, in), ``b`` (out, r). First ``a``, then ``b``:
    their product would be as large as ``weight``. Equation 3 of arXiv 2106.09685.
    """
    return F.linear(x, weight) + correction(x, a, b, scale)


def correction(x: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """What the adapter adds, ``scale * b @ a @ x``, computed in its precision: (..., out)."""
    return (F.linear(F.linear(x.to(a.dtype), a), b) * scale).to(x.dtype)


def merge_weight(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """The one matrix that does what ``lora_forward`` does: (out, in), of ``weight``'s dtype.

    An adapted model is then as fast as the original. Added in ``a``'s precision, rounded once.
    """
    return (weight.to(a.dtype) + scale * (b @ a)).to(weight.dtype)


class LoRALinear(nn.Module):
    """A frozen Linear layer with its adapter. ``original`` is set while the adapter is merged."""

    def __init__(self, base: nn.Linear, config: Config):
        super().__init__()
        if base.bias is not None:
            raise ValueError("adapters are for Linear layers without bias, got one with bias")
        self.base, self.scale = base, config.scale
        self.original: Tensor | None = None
        new = {"device": base.weight.device, "dtype": torch.float32}
        self.a = nn.Parameter(torch.empty(config.rank, base.in_features, **new))
        self.b = nn.Parameter(torch.zeros(base.out_features, config.rank, **new))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., in) to (..., out)."""
        if self.original is not None:
            return self.base(x)
        return lora_forward(x, self.base.weight, self.a, self.b, self.scale)


def apply(model: nn.Module, config: Config, seed: int = 0) -> list[nn.Parameter]:
    """Freeze ``model``, put adapters around the layers that ``config`` names, return their weights.

    In place.
    """
    if adapters(model):
        raise ValueError("this model already has adapters: `merge_all` or `remove` them first")
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rsplit(".", 1)[-1] in config.targets
    }
    if config.layers is not None:
        kept = sorted({_block(name) for name in found} - {None})[-config.layers :]
        found = {name: module for name, module in found.items() if _block(name) in kept}
    if not found:
        raise ValueError(f"no Linear layer of this model is called {' or '.join(config.targets)}")
    model.requires_grad_(False)
    generator = randomness.generator(seed)
    for name, module in found.items():
        adapted = LoRALinear(module, config)
        # As nn.Linear starts its weights. The model starts unchanged whatever the scale, as B is
        # zero; but the first steps grow with it.
        start = torch.empty(adapted.a.shape)
        nn.init.kaiming_uniform_(start, a=math.sqrt(5), generator=generator)
        adapted.a.data.copy_(start)
        _replace(model, name, adapted)
    model.lora_config = config
    return list(parameters(model).values())


def adapters(model: nn.Module) -> dict[str, LoRALinear]:
    """The adapted layers by name."""
    return {n: module for n, module in model.named_modules() if isinstance(module, LoRALinear)}


def parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """A (r, in) and B (out, r) of every adapted layer, by the name that they have in a file."""
    layers = adapters(model).items()
    return {f"{name}.{part}": getattr(layer, part) for name, layer in layers for part in "ab"}


@torch.no_grad()
def merge_all(model: nn.Module) -> None:
    """Add every adapter to its frozen matrix; the model then costs what it cost before.

    The matrices as they were are kept for ``unmerge``: subtracting would not give them back
    exactly, least of all in bfloat16.
    """
    allocator.give_back_memory()  # the copies need as much as all adapted matrices
    for layer in adapters(model).values():
        if layer.original is None:
            merged = merge_weight(layer.base.weight.data, layer.a, layer.b, layer.scale)
            layer.original, layer.base.weight.data = layer.base.weight.data, merged


def unmerge(model: nn.Module) -> None:
    """Take the adapters out of the matrices again, exactly; they go on beside them."""
    for layer in adapters(model).values():
        if layer.original is not None:
            layer.base.weight.data, layer.original = layer.original, None
    allocator.give_back_memory()


def remove(model: nn.Module) -> None:
    """Leave plain Linear layers behind: the merged ones after ``merge_all``, else the old ones."""
    for name, layer in adapters(model).items():
        _replace(model, name, layer.base)
    if hasattr(model, "lora_config"):
        del model.lora_config


def save_adapters(model: nn.Module, path: Path | str) -> None:
    """Write A and B of every adapted layer to one safetensors file: no frozen weight is in it."""
    if not adapters(model):
        raise ValueError("this model has no adapters to save: call `lora.apply` first")
    weights.save(path, parameters(model), "lora", asdict(model.lora_config))


def load_adapters(model: nn.Module, path: Path | str) -> None:
    """Read what ``save_adapters`` wrote; a model without adapters gets the stored kind first."""
    tensors, stored = weights.load(path, "lora")
    config = Config(**stored | {"targets": tuple(stored["targets"])})
    fresh = not adapters(model)
    if fresh:
        trainable = [p for p in model.parameters() if p.requires_grad]
        apply(model, config)
    try:
        _check_fit(model, config, tensors, path)
    except ValueError:
        if fresh:  # leave the model as it was
            remove(model)
            for parameter in trainable:
                parameter.requires_grad_(True)
        raise
    for name, parameter in parameters(model).items():
        parameter.data.copy_(tensors[name])
    for layer in adapters(model).values():
        layer.scale = config.scale
    model.lora_config = config


def _check_fit(
    model: nn.Module, config: Config, tensors: dict[str, Tensor], path: Path | str
) -> None:
    """Raise ValueError unless the stored ``tensors`` have the names and shapes of the model's."""
    if any(layer.original is not None for layer in adapters(model).values()):
        raise ValueError("the adapters of this model are merged: call `lora.unmerge` first")
    places = parameters(model)
    if odd := sorted(places.keys() ^ tensors.keys()):
        where = "the model" if odd[0] in places else "the file"
        raise ValueError(
            f"the adapters in {path} are for other layers: {odd[0]} is only in {where}. "
            f"They were made with {config}"
        )
    for name, tensor in tensors.items():
        if tensor.shape != places[name].shape:
            raise ValueError(
                f"the adapters in {path} do not fit: {name} has the shape {tuple(tensor.shape)}, "
                f"the model's has {tuple(places[name].shape)}"
            )


def _block(name: str) -> int | None:
    """The number of the block that a layer belongs to: 3 in ``transformer.blocks.3.attention``."""
    found = re.search(r"(?:^|\.)blocks\.(\d+)\.", name)
    return int(found[1]) if found else None


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)
