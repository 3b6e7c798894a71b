"""SmolLM2 in our GPT against transformers' model: logits and greedy text, float32.

Each reads the GGUF file by its own way: ours through `checkpoints.read_gguf`, transformers through
its own loader. Eight prompts from one token to a paragraph go in as one batch, padded on the
left. Both then continue them for 64 tokens by their own `generate`, always taking the most probable
token, and past the end of a reply too.
"""

from __future__ import annotations

import torch

from benchmarks.adaptation.smollm2_peer import PROMPTS, padded_prompts, their_greedy
from benchmarks.harness import Goal
from course_lib.lm.generate import Sampling, generate
from course_lib.worlds import pretrained

NEW, NEW_QUICK = 64, 16


def their_model():
    """transformers' model, unpacked from the same file by its own loader."""
    from transformers import AutoModelForCausalLM, GgufConfig

    source = pretrained.smollm2_gguf()
    theirs = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    theirs.generation_config.eos_token_id = None  # go on after the end of a reply
    return theirs.eval()


def measure(quick: bool) -> dict:
    new = NEW_QUICK if quick else NEW
    _, tokenizer = pretrained.smollm2()
    ours, theirs = pretrained.read_gguf(pretrained.smollm2_gguf()), their_model()
    tokens, valid = padded_prompts(tokenizer, len(PROMPTS))
    with torch.no_grad():
        positions = (valid.cumsum(1) - 1).clamp(min=0)
        expected = theirs(tokens, attention_mask=valid.long(), position_ids=positions).logits
        difference = (ours(tokens, valid) - expected).abs().amax(dim=-1) * valid  # (B, T)
    written = generate(ours, tokens, valid, Sampling(new, temperature=0.0)).tokens
    compared = their_greedy(theirs, tokens, valid, new)
    start = tokens.shape[1]
    runs = [
        {
            "prompt": text,
            "tokens": int(valid[i].sum()),
            "max_logit_difference": float(difference[i].max()),
            "largest_logit": float(expected[i][valid[i]].abs().max()),
            "same_tokens": int((written[i, start:] == compared[i, start:]).long().cumprod(0).sum()),
            "ours": tokenizer.decode(written[i, start:]),
        }
        for i, text in enumerate(PROMPTS)
    ]
    return {"seeds": [0], "new_tokens": new, "runs": runs}


def judge(result: dict) -> list[Goal]:
    runs, new = result["runs"], result["new_tokens"]
    worst = max(run["max_logit_difference"] for run in runs)
    scale = max(run["largest_logit"] for run in runs)
    same = sum(run["same_tokens"] == new for run in runs)
    lengths = [run["tokens"] for run in runs]
    return [
        Goal(
            f"SmolLM2 in our GPT against transformers, float32, {len(runs)} prompts of "
            f"{min(lengths)} to {max(lengths)} tokens, padded: largest difference of a logit",
            "<= 1e-3",
            f"{worst:.1e} (logits reach {scale:.0f})",
            worst <= 1e-3,
        ),
        Goal(
            f"the same: greedy text identical for {new} tokens",
            f"{len(runs)} of {len(runs)} prompts",
            f"{same} of {len(runs)}",
            same == len(runs),
        ),
    ]
