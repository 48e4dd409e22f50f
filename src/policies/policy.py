"""What every policy of the paper has in common: π_θ, π̂_ξ and π* alike."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution

from mile.policies.networks import ObservationNormalizer, mlp
from mile.policies.sampling import draw, mode


class Policy(nn.Module, ABC):
    """A stochastic policy: `policy(observation)` returns a torch distribution over actions.

    Args:
        observation_dim: length of an observation vector.
        action_dim: number of discrete actions, or length of a continuous action vector.
        hidden_dims: widths of the hidden layers (Table I).
        output_dim: number of outputs of the network.
        options: further arguments of the subclass; they are saved with the architecture.

    Attributes:
        architecture: the constructor's arguments, which a checkpoint stores to build the policy again.
        sees: the entry of a step that it acts on: "observation"; or "state", where a simulated human sees more.
    """

    sees: str = "observation"

    def __init__(
        self, observation_dim: int, action_dim: int, hidden_dims: Sequence[int], output_dim: int, **options: Any
    ) -> None:
        super().__init__()
        self.architecture = {
            "observation_dim": observation_dim,
            "action_dim": action_dim,
            "hidden_dims": list(hidden_dims),
            **options,
        }
        self.normalizer = ObservationNormalizer(observation_dim)
        self.network = mlp(observation_dim, hidden_dims, output_dim)

    @abstractmethod
    def forward(self, observation: Tensor) -> Distribution:
        """Return the distribution over actions for observations `[*batch, observation_dim]`."""

    def act(self, observation: Tensor, noise: Tensor | None = None, deterministic: bool = True) -> Tensor:
        """Choose actions: the distribution's mode, or a sample of it.

        Args:
            observation: `[*batch, observation_dim]`.
            noise: uniform numbers in [0, 1) that a sample is made from, `[*batch, noise_dim]`; without them
                the sample uses torch's global generator.
            deterministic: take the mode.

        Returns:
            Actions: `[*batch]` (int64) or `[*batch, action_dim]`.
        """
        distribution = self(observation)
        return mode(distribution) if deterministic else draw(distribution, noise)
