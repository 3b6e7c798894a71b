"""SmolLM2 in transformers' own class, with the very weights of ours, and prompts for both."""

from __future__ import annotations

from itertools import cycle, islice

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from course_lib.lm.checkpoints import PARTS
from course_lib.lm.generate import left_pad
from course_lib.lm.gpt import GPT

# From 1 token to a paragraph; the first few also go through the chat template.
PROMPTS = (
    "What is the capital of France?",
    "Write one sentence about a river.",
    "Name three colours, and for each of them one thing that has it.",
    "The",
    "Once upon a time, in a village between two mountains, there lived a clockmaker who",
    "def fibonacci(n):\n    ",
    "Question: A farmer has 12 hens. Each lays 5 eggs a week, and the farmer sells two thirds of "
    "the eggs on the market, at 20 cents apiece. How much does he earn in four weeks?\nAnswer:",
    "The film was slow to begin with, but the last hour",
)
CHATS = 3


def prompts(tokenizer, batch: int, distinct: bool = False) -> list[list[int]]:
    """Token lists of different lengths; the eight prompts in turns.

    Where ``distinct``, each further turn of a prompt repeats its first token once more at the end.
    """
    from course_lib.worlds.pretrained import chat_tokens

    rows = [
        chat_tokens(tokenizer, text) if i < CHATS else tokenizer.encode(text)
        for i, text in enumerate(PROMPTS)
    ]
    found = list(islice(cycle(rows), batch))
    if distinct:
        found = [row + row[:1] * (i // len(rows)) for i, row in enumerate(found)]
    return found


def padded_prompts(tokenizer, batch: int, distinct: bool = False) -> tuple[Tensor, Tensor]:
    """(B, P) tokens, padded on the left, and the ``valid_mask`` (B, P)."""
    return left_pad(prompts(tokenizer, batch, distinct), tokenizer.pad_token_id)


def as_transformers(model: GPT) -> LlamaForCausalLM:
    """Our model as a ``LlamaForCausalLM`` with the same weights and dtype; it never stops early."""
    ours = model.config
    config = LlamaConfig(
        vocab_size=ours.vocab_size,
        hidden_size=ours.width,
        intermediate_size=ours.hidden,
        num_hidden_layers=ours.layers,
        num_attention_heads=ours.heads,
        num_key_value_heads=ours.kv_heads,
        head_dim=ours.head_size,
        max_position_embeddings=ours.context,
        rms_norm_eps=ours.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": ours.rope_base},
        tie_word_embeddings=ours.tied,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    theirs = LlamaForCausalLM._from_config(config, dtype=model.embedding.weight.dtype).eval()
    state = {
        "model.embed_tokens.weight": model.embedding.weight,
        "model.norm.weight": model.transformer.norm.weight,
        "lm_head.weight": model.head.weight,
    }
    sizes = [ours.heads * ours.head_size] + [ours.kv_heads * ours.head_size] * 2
    for i, block in enumerate(model.transformer.blocks):
        for name, parts in PARTS.items():
            weight = block.get_submodule(name).weight
            pieces = weight.split(sizes) if len(parts) == 3 else [weight]
            for (_, theirs_name), piece in zip(parts, pieces, strict=True):
                if theirs_name.endswith(("q_proj", "k_proj")):
                    piece = _halves(piece, ours.head_size)
                state[f"model.layers.{i}.{theirs_name}.weight"] = piece
    theirs.load_state_dict(state)
    return theirs


def _halves(weight: Tensor, head_size: int) -> Tensor:
    """Rows (H D, C) from our order, neighbours turn together, to transformers', D/2 apart."""
    pairs = weight.view(-1, head_size // 2, 2, weight.shape[1])
    return pairs.transpose(1, 2).reshape(weight.shape)


@torch.no_grad()
def their_greedy(theirs: LlamaForCausalLM, tokens: Tensor, valid_mask: Tensor, new: int) -> Tensor:
    """(B, P + new) by ``generate`` with its default settings, which are greedy for this model."""
    return theirs.generate(tokens, attention_mask=valid_mask.long(), max_new_tokens=new)
