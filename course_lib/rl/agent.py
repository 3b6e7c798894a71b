"""An agent of the actor-critic family: its network and the statistics that its inputs need.

REINFORCE, A2C and PPO train the same agent; they differ only in the loss. Saved, it is one
file of weights (safetensors) and one small JSON file with the settings needed to build it again.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from course_lib.rl.envs import Envs
from course_lib.rl.networks import ActorCritic, seeded
from course_lib.rl.normalize import ObsNormalizer


@dataclass(frozen=True)
class AgentConfig:
    """The shape of an agent."""

    hidden: tuple[int, ...] = (64, 64)  # sizes of the dense layers
    shared: bool = False  # one body for policy and value, or one each
    activation: str = "tanh"  # "tanh" or "relu"
    channels: int = 16  # of the convolution, where observations are images
    log_std: float = 0.0  # at first, for continuous actions: 0 (bold) to -2 (timid)
    orthogonal_init: bool = True  # or PyTorch's own initial weights
    normalize_obs: bool = False  # by running mean and standard deviation


class Agent:
    """A policy and a value, with what they need to read observations.

    ``envs`` tells the shapes of observations and actions; nothing else of it is used.
    """

    def __init__(self, envs: Envs, config: AgentConfig, seed: int = 0, device: str = "cpu"):
        self._build(config, tuple(envs.obs_shape), envs.num_actions, envs.action_size, seed, device)

    def _build(
        self,
        config: AgentConfig,
        obs_shape: tuple[int, ...],
        num_actions: int | None,
        action_size: int | None,
        seed: int,
        device: str,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self._shapes = {
            "obs_shape": obs_shape,
            "num_actions": num_actions,
            "action_size": action_size,
        }
        network = {k: v for k, v in asdict(config).items() if k != "normalize_obs"}
        self.network = seeded(seed, lambda: ActorCritic(**self._shapes, **network)).to(device)
        self.obs_normalizer = ObsNormalizer(obs_shape) if config.normalize_obs else None

    def read(self, obs: np.ndarray) -> torch.Tensor:
        """Observations (N, *obs_shape) as the network sees them: normalised where set so."""
        if self.obs_normalizer is not None:
            obs = self.obs_normalizer(obs)
        return torch.as_tensor(obs, device=self.device)

    @torch.no_grad()
    def act(
        self, obs: np.ndarray, greedy: bool = True, generator: torch.Generator | None = None
    ) -> np.ndarray:
        """Choose actions for observations (N, *obs_shape): the most probable ones, or drawn."""
        policy = self.network.policy(self.read(obs))
        return (policy.mode() if greedy else policy.sample(generator)).cpu().numpy()

    def save(self, folder: str | Path) -> None:
        """Write ``agent.safetensors`` and ``agent.json`` into ``folder``, made if need be."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.tensors(), folder / "agent.safetensors")
        record = {"config": asdict(self.config), **self._shapes}
        (folder / "agent.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> "Agent":
        """Build the agent that ``save`` wrote into ``folder``."""
        path = Path(folder, "agent.json")
        if not path.exists():
            raise FileNotFoundError(f"{folder} holds no saved agent: agent.json is missing")
        record = json.loads(path.read_text(encoding="utf-8"))
        config = record.pop("config")
        agent = cls.__new__(cls)
        record["obs_shape"] = tuple(record["obs_shape"])
        config = AgentConfig(**{**config, "hidden": tuple(config["hidden"])})
        agent._build(config, **record, seed=0, device=device)
        agent.load_tensors(load_file(Path(folder, "agent.safetensors"), device=str(device)))
        return agent

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights and statistics under one name each."""
        found = {f"network.{k}": v.contiguous() for k, v in self.network.state_dict().items()}
        if self.obs_normalizer is not None:
            for name, value in self.obs_normalizer.state().items():
                found[f"obs_normalizer.{name}"] = torch.as_tensor(value)
        return found

    def load_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take back what ``tensors`` gave out."""
        prefix = "obs_normalizer."
        weights = {k: v for k, v in tensors.items() if k.startswith("network.")}
        self.network.load_state_dict({k.removeprefix("network."): v for k, v in weights.items()})
        if self.obs_normalizer is not None:
            statistics = {k: v for k, v in tensors.items() if k.startswith(prefix)}
            self.obs_normalizer.load_state(
                {k.removeprefix(prefix): v.cpu().numpy() for k, v in statistics.items()}
            )
