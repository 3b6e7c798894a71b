"""Stop a PPO run and go on later, exactly where it stopped.

``save`` writes everything that the next update depends on: weights, statistics, the optimiser's
memory, the random numbers to come, and where each environment stands. Training that was saved,
ended and loaded again gives the same weights, bit for bit, as training that never stopped
(on one thread, with the same versions of the packages).

Tensors are stored as safetensors, the rest as JSON; nothing is unpickled.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from course_lib.rl.agent import Agent
from course_lib.rl.envs import Envs
from course_lib.rl.ppo import Config, Run


def save(folder: str | Path, agent: Agent, envs: Envs, config: Config, run: Run) -> None:
    """Write ``agent`` and ``run`` into ``folder``, in place of what an earlier save left there.

    Call it between two updates: in the body of the loop over ``ppo.train``. The files are
    complete before the old ones go, so that an interrupted save loses nothing.
    """
    folder = Path(folder).resolve()
    fresh, old = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
    ours = {"agent.json", "agent.safetensors", "run.json", "run.safetensors"}
    for place in (folder, fresh, old):
        others = {path.name for path in place.iterdir()} - ours if place.exists() else set()
        if others or place == Path.cwd():
            first = min(others, default="the running program")
            raise ValueError(f"{place} holds {first}, which no save wrote: name another folder")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    agent.save(fresh)
    collector, scaler = run.collector, run.collector.reward_scaler
    tensors = {
        "generator": run.generator.get_state(),
        "obs": torch.as_tensor(collector.obs),
        "ended": torch.as_tensor(collector.ended),
        "running": torch.as_tensor(collector.episodes.running),
    }
    if scaler is not None:
        tensors |= {f"scaler.{k}": torch.as_tensor(v) for k, v in scaler.state().items()}
    for i, memory in run.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{k}": v for k, v in memory.items()}
    save_file({k: v.contiguous() for k, v in tensors.items()}, fresh / "run.safetensors")
    record = {
        "steps": run.steps,
        "config": asdict(config),
        "recent": list(collector.episodes.finished),
        "envs": envs.state(),
    }
    (fresh / "run.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load(folder: str | Path, envs: Envs, config: Config) -> tuple[Agent, Run]:
    """Read what ``save`` wrote, bring ``envs`` to where they stood, return agent and run.

    ``envs`` must be made as they were then; their seed does not matter. ``config`` must be the
    same, too, since a run that changes its settings half-way is another run.
    """
    folder = Path(folder)
    if not (folder / "run.json").exists():
        raise FileNotFoundError(f"{folder} holds no saved run: run.json is missing")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    given = json.loads(json.dumps(asdict(config)))  # tuples become lists, as in the file
    differing = [key for key in given if given[key] != record["config"].get(key)]
    if differing:
        raise ValueError(
            f"this run was saved with other settings: {differing[0]} was "
            f"{record['config'].get(differing[0])}, now it is {given[differing[0]]}"
        )
    agent = Agent.load(folder)
    run = Run(agent, envs, config)
    tensors = load_file(folder / "run.safetensors")
    run.steps = record["steps"]
    run.generator.set_state(tensors["generator"])
    collector = run.collector
    envs.load_state(record["envs"])
    collector.obs = tensors["obs"].numpy()
    collector.ended = tensors["ended"].numpy()
    collector.episodes.running = tensors["running"].numpy()
    collector.episodes.finished.extend(record["recent"])
    if collector.reward_scaler is not None:
        collector.reward_scaler.load_state(
            {k[7:]: v.numpy() for k, v in tensors.items() if k.startswith("scaler.")}
        )
    memory: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("adam."):
            _, i, key = name.split(".")
            memory.setdefault(int(i), {})[key] = value
    run.optimizer.load_state_dict({**run.optimizer.state_dict(), "state": memory})
    return agent, run
