"""One step of GRPO on SmolLM2, ours against TRL's GRPOTrainer: CPU seconds and peak memory.

The same weights, prompts, group size, numbers of tokens, micro-batches and dtype; adapters of rank
16 on the same layers of the last eight blocks (ours gives q, k and v one A, peft each its own); no
KL penalty, one thread. Every reply is 12 tokens long and no group is tied, so that both sides do
all the work. Each side is a process of its own, one after the other in one run. TRL runs without
gradient checkpointing, which would cost it time, and is also given autocast and not:
the faster of the two counts.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from benchmarks.dpo_grpo.grpo_arithmetic import alone, peak
from benchmarks.harness import Goal, by
from course_lib.lm import lora
from course_lib.rlhf import grpo
from course_lib.worlds import arithmetic
from course_lib.worlds.pretrained import fast_dtype, smollm2

CONFIG = replace(arithmetic.GRPO, total_steps=5)
ROWS = CONFIG.prompts * CONFIG.group_size


def worth(tokens) -> float:
    """A reward that differs within every group."""
    return sum(tokens) % 97 / 97


def prompts(tokenizer) -> list[list[int]]:
    return [arithmetic.prompt(tokenizer, p) for p in arithmetic.split(200).train]


def ours() -> list[float]:
    """CPU seconds of each step."""
    import torch

    model, tokenizer = smollm2()
    lora.apply(model, arithmetic.ADAPTERS)
    reward = lambda _, responses: torch.tensor([worth(r) for r in responses])  # noqa: E731
    run = grpo.train(model, prompts(tokenizer), reward, (-1,), CONFIG)  # -1: nothing ends it
    seconds, start = [], time.process_time()
    for row in run:
        assert row["length"] == CONFIG.max_new_tokens and row["tied"] == 0
        seconds.append(time.process_time() - start)
        start = time.process_time()
    return seconds


def trl(autocast: bool = False) -> list[float]:
    import tempfile

    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from benchmarks.adaptation.smollm2_peer import as_transformers

    ours, tokenizer = smollm2()
    model = as_transformers(ours)
    del ours
    texts = [tokenizer.decode(p) for p in prompts(tokenizer)]
    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            if not hasattr(self, "start"):
                self.start = time.process_time()

        def on_step_end(self, *_, **__):
            seconds.append(time.process_time() - self.start)
            self.start = time.process_time()

    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            folder,
            use_cpu=True,
            bf16=autocast,
            max_steps=CONFIG.total_steps,
            learning_rate=CONFIG.learning_rate,
            per_device_train_batch_size=CONFIG.micro_batch,
            gradient_accumulation_steps=ROWS // CONFIG.micro_batch,
            num_generations=CONFIG.group_size,
            max_completion_length=CONFIG.max_new_tokens,
            generation_kwargs={"min_new_tokens": CONFIG.max_new_tokens},
            top_k=0,
            beta=0.0,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_steps=1000,
            disable_tqdm=True,
        )
        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
        layers = range(model.config.num_hidden_layers)[-arithmetic.ADAPTERS.layers :]
        trainer = GRPOTrainer(
            model,
            reward_funcs=lambda completion_ids, **_: [worth(ids) for ids in completion_ids],
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": texts}),
            processing_class=tokenizer,
            peft_config=LoraConfig(
                r=16, lora_alpha=32, target_modules=targets, layers_to_transform=list(layers)
            ),
            callbacks=[Clock()],
        )
        trainer.train()
    return seconds


SIDES = {"ours": ours, "TRL": trl, "TRL, autocast": lambda: trl(autocast=True)}


def one_side(side: str) -> dict:
    """The first step is left out: it also pays for what is prepared once."""
    seconds = SIDES[side]()
    return {"side": side, "cpu_seconds": [round(s, 3) for s in seconds[1:]], "peak_gb": peak()}


def measure(quick: bool) -> dict:
    smollm2()  # unpacked once, before anything is measured
    runs = []
    for side in list(SIDES)[: 2 if quick else None]:
        runs.append(alone(one_side, side))
        print(runs[-1], flush=True)
    dtype = str(fast_dtype()).removeprefix("torch.")
    return {"seeds": [0], "dtype": dtype, "rows": ROWS, "runs": runs}


def judge(result: dict) -> list[Goal]:
    sides = by(result["runs"], "side")
    median = {s: float(np.median([r["cpu_seconds"] for r in runs])) for s, runs in sides.items()}
    memory = {s: min(run["peak_gb"] for run in runs) for s, runs in sides.items()}
    theirs = min((side for side in median if side != "ours"), key=median.get)
    what = f"One GRPO step on SmolLM2, {result['rows']} replies of 12 tokens, {result['dtype']}, "
    return [
        Goal(
            what + "one thread, against TRL's GRPOTrainer: CPU seconds, median",
            "at least 1.5 times as fast",
            f"{median[theirs] / median['ours']:.2f} times (ours {median['ours']:.2f}, "
            f"{theirs} {median[theirs]:.2f})",
            median[theirs] >= 1.5 * median["ours"],
        ),
        Goal(
            what + "peak memory of the process",
            "no higher than TRL's",
            f"ours {memory['ours']:.2f} GB, {theirs} {memory[theirs]:.2f} GB",
            memory["ours"] <= memory[theirs],
        ),
    ]
