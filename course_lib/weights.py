"""Weight files: safetensors with a record beside the tensors. Nothing is ever unpickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


def save(
    path: Path | str, tensors: Mapping[str, Tensor], kind: str, record: Mapping[str, Any]
) -> None:
    """Write ``tensors`` and a ``record`` that JSON can hold; ``kind`` says what they are."""
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, path, metadata={kind: json.dumps(record)})


def load(
    path: Path | str, kind: str, dtype: torch.dtype | None = None, device: str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save`` wrote, tensor by tensor; ``dtype`` None keeps the stored one.

    Raises ValueError where ``path`` holds something else, FileNotFoundError where there is none.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            record = json.loads(file.metadata()[kind])
            tensors = {name: file.get_tensor(name).to(dtype) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} holds no weights of the kind {kind!r}: {error}") from error
    return tensors, record
