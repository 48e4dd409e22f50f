"""The base class of every policy of the paper: π_θ, π̂_ξ and π* alike."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from tensordict import TensorDictBase
from torch import Tensor
from torch.distributions import Distribution

from mile.policies.encoders import Observer
from mile.policies.networks import mlp
from mile.policies.sampling import draw, mode

KINDS: dict[str, type["Policy"]] = {}  # by the name of the class


class Policy(Observer, ABC):
    """A stochastic policy: `policy(observation)` returns a torch distribution over actions.

    Args:
        observation_dim: Length of an observation vector; 0 where pictures alone are observed.
        action_dim: Number of discrete actions, or length of a continuous action vector.
        hidden_dims: Widths of the hidden layers (Table I).
        output_dim: Number of outputs of the network.
        more_dim: Number of its inputs beside what is observed.
        pictures: Arguments of a `PictureEncoder` for each observed entry that is a picture, by name; None: there is
            none.
        options: Further arguments of the subclass, which are saved with the architecture.

    Attributes:
        architecture: Arguments of the constructor, which a checkpoint stores to build the policy again.
        in_keys: Entries of a step that the policy acts on, in the order of its inputs.
        is_discrete: Whether actions are numbers of a list.
        has_density: Whether `log_prob` of its distributions is the logarithm of a density.
    """

    is_discrete: bool = False
    has_density: bool = True

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
        more_dim: int = 0,
        pictures: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(observation_dim, pictures)
        self.architecture = {
            "observation_dim": observation_dim,
            "action_dim": action_dim,
            "hidden_dims": list(hidden_dims),
            **options,
        }
        if pictures:
            self.architecture["pictures"] = {name: dict(encoding) for name, encoding in pictures.items()}
        self.network = mlp(self.embedding_dim + more_dim, hidden_dims, output_dim)

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Distribution:
        """Return the distribution over actions for the observed entries, each `[*batch, …]`, as `in_keys` has them."""

    def at(self, steps: TensorDictBase, encoded: Tensor | None = None) -> Distribution:
        """Return the distribution over actions in steps `[*batch]`.

        Args:
            steps: Steps with the observed entries.
            encoded: What `encode` returned for their pictures; None: they are encoded here.
        """
        if encoded is None:
            return self(*self.inputs(steps))
        return self.distribution(self.embed(*self.inputs(steps), encoded=encoded))

    def distribution(self, embedding: Tensor) -> Distribution:
        """Return the distribution over actions for embedded observations, `[*batch, embedding_dim]`.

        Raises:
            NotImplementedError: The policy needs more than what is observed.
        """
        raise NotImplementedError(f"a {type(self).__name__} acts on more than an embedding")

    def features(self, steps: TensorDictBase) -> Tensor:
        """Return the last hidden layer, `[*batch, width]`, in steps `[*batch]`."""
        return self.network[:-1](self.embed(*self.inputs(steps)))

    def act(self, *inputs: Tensor, noise: Tensor | None = None, deterministic: bool = True) -> Tensor:
        """Return actions: the distribution's mode, or a sample of it.

        Args:
            inputs: Observed entries, as `in_keys` has them.
            noise: Uniform numbers in [0, 1) that a sample is made from, `[*batch, noise_dim]`; without them
                the sample uses torch's global generator.
            deterministic: Return the mode.

        Returns:
            Actions: `[*batch]` (int64) or `[*batch, action_dim]`.
        """
        distribution = self(*inputs)
        if deterministic:
            return mode(distribution)
        return draw(distribution, noise)

    def describe(self) -> dict[str, Any]:
        """Return the kind, the architecture and what is observed, from which `build` makes one with other weights."""
        return {"policy": type(self).__name__, "architecture": self.architecture, "in_keys": list(self.in_keys)}


def build(description: Mapping[str, Any]) -> Policy:
    """Build a policy from what `Policy.describe` returned; its weights are new."""
    policy = KINDS[description["policy"]](**description["architecture"])
    policy.in_keys = tuple(description.get("in_keys", policy.in_keys))
    return policy


class Perceptron(Observer):
    """A network of a policy's shape, with other outputs and with weights of its own.

    Args:
        policy: Policy whose hidden layers, encoders and normalisation of vectors are copied; their weights are not.
        output_dim: Number of outputs.
        more_dim: Number of inputs beside what is observed.
        layer_norm: Normalise each hidden layer.
    """

    def __init__(self, policy: Policy, output_dim: int = 1, more_dim: int = 0, layer_norm: bool = False) -> None:
        shape = policy.architecture
        super().__init__(shape["observation_dim"], shape.get("pictures"))
        self.in_keys = policy.in_keys
        self.normalizer.load_state_dict(policy.normalizer.state_dict())
        self.network = mlp(self.embedding_dim + more_dim, shape["hidden_dims"], output_dim, layer_norm)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the outputs, `[*batch, output_dim]`, for the observed entries, as `in_keys` has them."""
        return self.network(self.embed(*inputs))

    def at(self, steps: TensorDictBase) -> Tensor:
        """Return the outputs in steps `[*batch]`, `[*batch, output_dim]`."""
        return self(*self.inputs(steps))
