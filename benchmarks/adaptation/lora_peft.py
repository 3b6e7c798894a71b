"""LoRA against the package peft, on SmolLM2's own layers: numbers, seconds, memory.

Outputs and gradients are compared in float32, with the same A and B on both sides and one loss. A
training step is timed in the dtype that this processor is fast at, both sides in turns. The peak
memory is that of a fresh process which loads the model and fine-tunes it.
"""

from __future__ import annotations

import copy
import resource
import subprocess
import sys
import time

import torch

from benchmarks.harness import ROOT, Goal, by, one_thread, reported
from course_lib.lm import finetune, lora, losses
from course_lib.lm.gpt import GPT
from course_lib.worlds.pretrained import fast_dtype, smollm2

CONFIG = lora.Config(rank=8, alpha=16)
# Peak memory: examples, tokens of each, tokens of a packed row, rows per forward pass.
BATCHES = {
    "8 examples of 32 tokens, packed": (8, 32, 256, 4),
    "8 rows of 64 tokens, 4 at a time": (8, 64, None, 4),
    "8 rows of 64 tokens at once": (8, 64, None, 8),
}
AT_ONCE = "8 rows of 64 tokens at once"  # what micro-batches are for: reported, not promised


def examples(rows: int, length: int, seed: int) -> list[finetune.Example]:
    """Random tokens: the first half is the prompt, the second the response."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1000, 40_000, (rows, length), generator=generator).tolist()
    half = length // 2
    return [finetune.Example(row[:half], row[half:]) for row in tokens]


def by_peft(model: GPT) -> torch.nn.Module:
    """The same layers adapted by peft."""
    import peft

    targets = list(CONFIG.targets)
    settings = peft.LoraConfig(r=CONFIG.rank, lora_alpha=CONFIG.alpha, target_modules=targets)
    return peft.get_peft_model(model, settings).base_model.model


def loss_of(model: GPT, data: finetune.Batch) -> torch.Tensor:
    logp = losses.response_logp(model, data.tokens, None, data.response_mask)
    return finetune.sft_loss(logp, data.response_mask)[0]


def compare(seed: int) -> dict:
    """Largest differences of logits and of gradients, and how large these are."""
    ours = smollm2(torch.float32)[0]
    theirs = by_peft(copy.deepcopy(ours))
    lora.apply(ours, CONFIG, seed)
    generator = torch.Generator().manual_seed(seed)
    layers = {n: m for n, m in theirs.named_modules() if hasattr(m, "lora_A")}
    for name, mine in lora.adapters(ours).items():
        mine.b.data.normal_(std=0.02, generator=generator)
        layers[name].lora_A.default.weight.data.copy_(mine.a.data)
        layers[name].lora_B.default.weight.data.copy_(mine.b.data)
    data = finetune.collate(examples(2, 24, seed))
    with torch.no_grad():
        mine, other = ours(data.tokens), theirs(data.tokens)
    loss_of(ours, data).backward()
    loss_of(theirs, data).backward()
    apart, largest = 0.0, 0.0
    for name, layer in lora.adapters(ours).items():
        for left, right in ((layer.a, layers[name].lora_A), (layer.b, layers[name].lora_B)):
            apart = max(apart, (left.grad - right.default.weight.grad).abs().max().item())
            largest = max(largest, left.grad.abs().max().item())
    return {
        "kind": "numbers",
        "seed": seed,
        "layers": len(layers),
        "logits_apart": (mine - other).abs().max().item(),
        "gradients_apart": apart,
        "largest_gradient": largest,
    }


def speed(repeats: int) -> list[dict]:
    """CPU seconds of a training step, both sides in turns."""
    ours = smollm2()[0]
    theirs = by_peft(copy.deepcopy(ours))
    lora.apply(ours, CONFIG)
    data = finetune.collate(examples(8, 32, 200))
    sides = {}
    for name, model in (("ours", ours), ("peft", theirs)):
        learned = [p for p in model.parameters() if p.requires_grad]
        sides[name] = (model, torch.optim.AdamW(learned, lr=1e-4, fused=True))
    runs = []
    for repeat in range(-1, repeats):  # the first of each is not counted
        for name, (model, optimizer) in sides.items():
            start = time.process_time()
            optimizer.zero_grad()
            loss_of(model, data).backward()
            optimizer.step()
            if repeat >= 0:
                seconds = round(time.process_time() - start, 3)
                runs.append({"kind": "step", "side": name, "cpu_seconds": seconds})
    return runs


def fine_tune(name: str) -> float:
    """Load SmolLM2, adapt every layer, train three steps; this process's peak memory in GB."""
    one_thread()
    rows, length, row_length, micro_batch = BATCHES[name]
    model = smollm2()[0]
    lora.apply(model, CONFIG)
    config = finetune.Config(
        total_steps=3, batch_size=rows, row_length=row_length, micro_batch=micro_batch
    )
    list(finetune.train(model, examples(4 * rows, length, 200), config))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def peak(name: str) -> dict:
    code = f"from benchmarks.adaptation.lora_peft import fine_tune; print(fine_tune({name!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    gigabytes = round(float(done.stdout.split()[-1]), 3)
    return {"kind": "memory", "batch": name, "peak_gb": gigabytes}


def measure(quick: bool) -> dict:
    smollm2()  # unpacked once, before anything is measured
    runs = [peak(name) for name in BATCHES]
    runs += [compare(seed) for seed in ([200] if quick else [200, 201, 202])]
    runs += speed(2 if quick else 5)
    return {
        "seeds": sorted({run["seed"] for run in runs if "seed" in run}),
        "dtype": str(fast_dtype()).removeprefix("torch."),
        "runs": runs,
    }


def judge(result: dict) -> list[Goal]:
    kinds = by(result["runs"], "kind")
    logits, gradients, size = (
        max(run[key] for run in kinds["numbers"])
        for key in ("logits_apart", "gradients_apart", "largest_gradient")
    )
    seconds = {
        side: min(run["cpu_seconds"] for run in runs)
        for side, runs in by(kinds["step"], "side").items()
    }
    goals = [
        Goal(
            f"LoRA on SmolLM2's {kinds['numbers'][0]['layers']} layers against peft, float32: "
            "largest difference of logits, of gradients",
            "at most 1e-5 each",
            f"{logits:.1e}, {gradients:.1e} (largest gradient {size:.1e})",
            max(logits, gradients) <= 1e-5,
        ),
        reported(
            f"LoRA, one training step of 8 x 32 tokens, {result['dtype']}: CPU seconds, best of "
            "several",
            f"ours {seconds['ours']:.2f}, peft {seconds['peft']:.2f}",
        ),
    ]
    for run in kinds["memory"]:
        what = f"SFT of SmolLM2 with LoRA on all layers, {run['batch']}: peak memory of the process"
        peak = f"{run['peak_gb']:.2f} GB"
        if run["batch"] == AT_ONCE:
            goals.append(reported(what, peak))
        else:
            goals.append(Goal(what, "at most 1.5 GB", peak, run["peak_gb"] <= 1.5))
    return goals
