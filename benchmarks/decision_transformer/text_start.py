"""Does a transformer that has read text learn to play faster? Its blocks against shuffled ones.

Transformers as wide as the concierge's language model (``notebooks/checkpoints/concierge``, stage 1
of lesson 08, 96 channels) learn Breakout from recordings: from about 540 frames of the expert, and
from the whole replay in a few updates. Their blocks start as those of that language model, or as
the same numbers in a random order within each matrix, so that norms are equal, or as new weights
always do; all else in them is new. There is one language model; the seeds vary the rest.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.decision_transformer.another_player import BASE, SCRATCH, a_little, scored, short
from benchmarks.decision_transformer.offline_runs import (
    data,
    learn,
    mean_of,
    once,
    paired,
    transformer,
    verdict,
)
from benchmarks.harness import Goal, by, fresh_seeds, reported
from course_lib import randomness
from course_lib.agents import decision_transformer as dt
from course_lib.worlds import concierge_pipeline

WIDE = {"width": concierge_pipeline.MODEL.width, "heads": concierge_pipeline.MODEL.heads}
WIDE["layers"] = concierge_pipeline.MODEL.layers
FEW = replace(SCRATCH, **WIDE)
REPLAY = replace(BASE, steps=300, **WIDE)
TEXT, SHUFFLED, FRESH = "blocks that read text", "the same numbers shuffled", "new blocks"


def with_blocks(start: str, config: dt.Config, seed: int) -> dt.DecisionTransformer:
    """A new model whose blocks start as ``start`` says."""
    model = transformer(seed, config)
    if start != FRESH:
        blocks = concierge_pipeline.sft_model().transformer.state_dict()
        if start == SHUFFLED:
            generator = randomness.generator(seed, 22)
            for name, x in blocks.items():
                order = torch.randperm(x.numel(), generator=generator)
                blocks[name] = x.flatten()[order].view_as(x)
        model.transformer.load_state_dict(blocks)
    return model


def readers(seed: int, quick: bool) -> list[dict]:
    """Blocks that have read text against others."""

    def work() -> list[dict]:
        runs = []
        for task, shown, config in (("540", a_little(seed), FEW), ("replay", data(), REPLAY)):
            for start in (TEXT, SHUFFLED, FRESH):
                model = with_blocks(start, config, seed)
                found = learn(dt.train(model, shown, short(config, quick), seed))
                runs.append(scored(f"{start}, {task}", seed, shown, model, found))
        return runs

    return once(f"text_start_{FEW.steps}_{REPLAY.steps}_{seed}", work, quick)


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    return {"seeds": seeds, "runs": [run for seed in seeds for run in readers(seed, quick)]}


def judge(result: dict) -> list[Goal]:
    runs, seeds = by(result["runs"], "what"), len(result["seeds"])
    title, goals = f"Breakout, blocks that read text, {seeds} seeds, ", []
    for what, rows in runs.items():
        words = f"{mean_of(rows, 'drawn')} (greedy {mean_of(rows, 'greedy')})"
        goals.append(reported(f"{title}{what}, {rows[0]['steps']:,} updates: bricks", words))
    for task in ("540", "replay"):
        for other in (SHUFFLED, FRESH):
            pair = runs[f"{TEXT}, {task}"], runs[f"{other}, {task}"]
            words = verdict(paired(*pair, "drawn"))
            loss = verdict(paired(*pair, "loss"), "higher", "lower", ".3f")
            what = f"{title}{TEXT}, {task}, against {other}"
            goals.append(reported(what, f"{words}; loss in training {loss}"))
    return goals
