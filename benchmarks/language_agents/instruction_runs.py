"""What the benchmarks of lesson 14 share: trained agents, kept with their curves.

Finished trainings are kept under ``build``, in another folder as soon as the code that made them
changes, so that a measurement that was interrupted goes on. A quick measurement keeps nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from benchmarks.harness import Clock
from benchmarks.world_models import kept
from course_lib.agents import instructions
from course_lib.agents.instructions import InstructionAgent
from course_lib.lessons.language_agents import trials
from course_lib.rl import ppo
from course_lib.rl.envs import Step
from course_lib.worlds import commands, grid, sentences
from course_lib.worlds.commands import Commands
from course_lib.worlds.sentences import Command

MODULES = (commands, grid, instructions, sentences, ppo)
QUICK = 20_480  # frames of a quick training


class Counted:
    """Environments that count the episodes that ended, and those of them that were successes."""

    action_size = None

    def __init__(self, envs: Commands):
        self.envs, self.num_envs, self.num_actions = envs, envs.num_envs, envs.num_actions
        self.obs_shape, self.ended, self.won = envs.obs_shape, 0, 0

    def reset(self) -> np.ndarray:
        return self.envs.reset()

    def step(self, actions: np.ndarray) -> Step:
        wanted = self.envs.wanted  # before a room that has ended begins anew
        step = self.envs.step(actions)
        self.ended += int((step.terminated | step.truncated).sum())
        self.won += int((self.envs.did == wanted).sum())
        return step

    def share(self) -> float:
        """Successes per episode since the last call."""
        share, self.ended, self.won = self.won / max(1, self.ended), 0, 0
        return round(share, 3)


def fit(agent: InstructionAgent, envs, seed: int, quick: bool = False, every: int = 10) -> dict:
    """Train it with PPO: frames and share of successes every ``every`` updates, CPU seconds."""
    config = replace(instructions.PPO, total_steps=QUICK) if quick else instructions.PPO
    counted, curve = Counted(envs), []
    with Clock() as clock:
        for update, row in enumerate(ppo.train(agent, counted, config, seed), start=1):
            if update % every == 0:
                curve.append([int(row["steps"]), counted.share()])
    return {"curve": curve, "frames": int(row["steps"]), "cpu": round(clock.cpu, 2)}


def trained(
    kind: str,
    seed: int,
    training: Sequence[Command],
    quick: bool = False,
    level: str = "Commands",
    shaped: bool = False,
) -> tuple[InstructionAgent, dict]:
    """An agent with that reader, trained with ``seed``, and how its training went.

    ``shaped`` pays it for coming close to the sentence: see ``Shaped``.
    """
    agent = trials.new_agent(kind, training, seed)
    envs = Commands(training, instructions.PPO.num_envs, seed, level)
    if shaped:
        envs = Shaped(envs)
    if quick:
        return agent, fit(agent, envs, seed, quick)
    words = [kind, *([level] if level != "Commands" else []), *(["shaped"] if shaped else [])]
    name = "_".join([*words, str(seed)]).replace(", ", "_").replace(" ", "_")
    stem = kept.folder("instructions", *MODULES) / name
    record, weights = Path(f"{stem}.json"), Path(f"{stem}.safetensors")
    if not record.exists():
        found = fit(agent, envs, seed)
        save_file(agent.network.state_dict(), weights)
        record.write_text(json.dumps(found), encoding="utf-8")
        print(name, found["curve"][-1], found["cpu"], flush=True)
    agent.network.load_state_dict(load_file(weights))
    return agent, json.loads(record.read_text(encoding="utf-8"))


class Shaped:
    """Pays also for the wrong deed, by how much a sentence that says it sounds like the command.

    The deed in the plainest words ("pick up the red ball") and the sentence heard are compared by
    the cosine of their MiniLM vectors, both less the mean over the sentences of training; what is
    above 0 counts half.
    """

    action_size = None

    def __init__(self, envs: Commands):
        self.envs, self.num_envs, self.num_actions = envs, envs.num_envs, envs.num_actions
        self.obs_shape, encode = envs.obs_shape, trials.minilm()
        heard = encode(envs.sentences)
        deeds = encode([f"{goal.verb} the {goal.colour} {goal.kind}" for goal in sentences.GOALS])
        mean = heard.mean(0)
        cosines = F.cosine_similarity((heard - mean)[:, None], (deeds - mean)[None], dim=-1)
        self.pay = 0.5 * cosines.clamp(min=0).numpy()  # (S, 54)

    @property
    def did(self) -> np.ndarray:
        return self.envs.did

    @property
    def wanted(self) -> np.ndarray:
        return self.envs.wanted

    def reset(self) -> np.ndarray:
        return self.envs.reset()

    def step(self, actions: np.ndarray) -> Step:
        heard = self.envs.numbers.copy()  # of the episode that this step may end
        step = self.envs.step(actions)
        wrong = step.terminated & (self.did != commands.NOTHING) & (step.rewards == 0)
        pay = np.where(wrong, self.pay[heard, self.did], 0).astype(np.float32)
        return step._replace(rewards=step.rewards + pay)
