"""The base class of every policy of the paper: π_θ, π̂_ξ and π* alike."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution

from mile.policies.networks import ObservationNormalizer, mlp
from mile.policies.sampling import draw, mode

KINDS: dict[str, type["Policy"]] = {}  # by the name of the class


class Policy(nn.Module, ABC):
    """A stochastic policy: `policy(observation)` returns a torch distribution over actions.

    Args:
        observation_dim: Length of an observation vector.
        action_dim: Number of discrete actions, or length of a continuous action vector.
        hidden_dims: Widths of the hidden layers (Table I).
        output_dim: Number of outputs of the network.
        input_dim: Number of its inputs; None: observation_dim.
        options: Further arguments of the subclass, which are saved with the architecture.

    Attributes:
        architecture: Arguments of the constructor, which a checkpoint stores to build the policy again.
        sees: Entry of a step that the policy acts on: "observation"; or "state", where a simulated human sees more.
        is_discrete: Whether actions are numbers of a list.
    """

    sees: str = "observation"
    is_discrete: bool = False

    def __init_subclass__(cls) -> None:
        """Make a kind of policy known by its name, by which `build` and checkpoints make it again."""
        super().__init_subclass__()
        KINDS[cls.__name__] = cls

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int],
        output_dim: int,
        input_dim: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.architecture = {
            "observation_dim": observation_dim,
            "action_dim": action_dim,
            "hidden_dims": list(hidden_dims),
            **options,
        }
        self.normalizer = ObservationNormalizer(observation_dim)
        self.network = mlp(observation_dim if input_dim is None else input_dim, hidden_dims, output_dim)

    @abstractmethod
    def forward(self, observation: Tensor) -> Distribution:
        """Return the distribution over actions for observations `[*batch, observation_dim]`."""

    def features(self, observation: Tensor) -> Tensor:
        """Return the last hidden layer, `[*batch, width]`, for observations `[*batch, observation_dim]`."""
        return self.network[:-1](self.normalizer(observation))

    def act(self, observation: Tensor, noise: Tensor | None = None, deterministic: bool = True) -> Tensor:
        """Return actions: the distribution's mode, or a sample of it.

        Args:
            observation: Observations, `[*batch, observation_dim]`.
            noise: Uniform numbers in [0, 1) that a sample is made from, `[*batch, noise_dim]`; without them
                the sample uses torch's global generator.
            deterministic: Return the mode.

        Returns:
            Actions: `[*batch]` (int64) or `[*batch, action_dim]`.
        """
        distribution = self(observation)
        if deterministic:
            return mode(distribution)
        return draw(distribution, noise)

    def describe(self) -> dict[str, Any]:
        """Return the kind and the architecture, from which `build` makes a policy with other weights."""
        return {"policy": type(self).__name__, "architecture": self.architecture}


def build(description: Mapping[str, Any]) -> Policy:
    """Build a policy from what `Policy.describe` returned; its weights are new."""
    return KINDS[description["policy"]](**description["architecture"])
