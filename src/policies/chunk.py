"""Policies that decide on several actions at once, one after another."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from mile.policies.policy import Policy, build
from mile.policies.sampling import Sampler, draw, mode
from mile.quadrature import is_diagonal_gaussian, is_gaussian_mixture
from mile.transitions import acted

MAX_SEQUENCES = 4096  # of discrete actions, which are enumerated


class Chunk(Sampler):
    """The distribution of the next actions, `[*batch, length, action_dim]`, or `[*batch, length]` if discrete.

    That of some first actions, whatever follows, is known in closed form: the actions are independent of each other,
    or so in each component of a mixture.

    Args:
        whole: Distribution of all actions as one vector: a diagonal Gaussian or a mixture of them,
            `[*batch, length × action_dim]`; or the logits of the discrete ones, `[*batch, length, actions]`.
        length: Number of actions.

    Raises:
        TypeError: The distribution is of another kind.
    """

    def __init__(self, whole: Distribution, length: int) -> None:
        self.whole = whole
        self.length = length
        self.is_discrete = isinstance(whole, Categorical)
        if self.is_discrete:
            super().__init__(whole.batch_shape[:-1], torch.Size([length]), validate_args=False)
        elif is_diagonal_gaussian(whole) or is_gaussian_mixture(whole):
            shape = torch.Size([length, whole.event_shape[0] // length])
            super().__init__(whole.batch_shape, shape, validate_args=False)
        else:
            raise TypeError(
                f"a chunk of actions needs a distribution of which some first actions have a density: categorical, "
                f"diagonal Gaussian or a mixture of them, got {type(whole).__name__}"
            )

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of the actions that are there, `[*batch]`, nats: a sum over actions.

        Args:
            value: Actions; those that are not there are NaN, or −1 if discrete.
        """
        if value.shape[-len(self.event_shape) :] != self.event_shape:
            wanted, got = list(self.event_shape), list(value.shape)
            raise ValueError(f"a chunk of the shape {wanted} is expected, got {got}; data.chunk must be policy.chunk")
        there = acted(value)  # [*batch, length]
        mask = there if self.is_discrete else there.unsqueeze(-1)
        value = torch.where(mask, value, torch.zeros_like(value))
        if self.is_discrete:
            return torch.where(there, self.whole.log_prob(value), 0.0).sum(-1)

        whole: Any = self.whole
        if isinstance(whole, Independent):
            each = whole.base_dist.log_prob(value.flatten(-2)).unflatten(-1, self.event_shape)
            return torch.where(mask, each, 0.0).sum((-2, -1))

        # of a mixture, in each component first
        parts: Any = whole.component_distribution.base_dist
        each = parts.log_prob(value.flatten(-2).unsqueeze(-2)).unflatten(-1, self.event_shape)
        own = torch.where(mask.unsqueeze(-3), each, 0.0).sum((-2, -1))  # [*batch, components]
        return (whole.mixture_distribution.logits + own).logsumexp(-1)

    def prefix(self, count: int, where: Tensor | None = None) -> Distribution:
        """Return the distribution of the first actions as one action: their vector, or the number of their sequence.

        Args:
            count: Number of actions.
            where: Entries of the batch that are wanted, `[*batch]` bool; None: all.

        Raises:
            ValueError: There are not so many actions, or too many sequences of discrete ones.
        """
        if not 1 <= count <= self.length:
            raise ValueError(
                f"{count} actions were still to come in a recording, and a chunk has 1 to {self.length}; choose "
                f"policy.chunk={count} or more"
            )
        whole: Any = self.whole
        chosen: Any = slice(None) if where is None else where
        if self.is_discrete:
            return _sequences(whole.logits[chosen][..., :count, :])
        end = count * self.event_shape[1]
        if isinstance(whole, Independent):
            normal: Any = whole.base_dist
            return _diagonal(normal.mean[chosen][..., :end], normal.stddev[chosen][..., :end])
        normal = whole.component_distribution.base_dist
        parts = _diagonal(normal.mean[chosen][..., :end], normal.stddev[chosen][..., :end])
        weights = Categorical(logits=whole.mixture_distribution.logits[chosen], validate_args=False)
        return MixtureSameFamily(weights, parts, validate_args=False)

    @property
    def mode(self) -> Tensor:
        """Most probable actions."""
        return self._shaped(mode(self.whole))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Return actions, drawn with torch's global generator."""
        return self._shaped(self.whole.sample(torch.Size(sample_shape)))

    def draw(self, noise: Tensor) -> Tensor:
        """Return actions made from the uniform numbers of one, `[*batch, noise_dim]`: the others' follow from them."""
        noise = _prolonged(noise, self.length)
        return self._shaped(draw(self.whole, noise if self.is_discrete else noise.flatten(-2)))

    def _shaped(self, action: Tensor) -> Tensor:
        return action if self.is_discrete else action.unflatten(-1, self.event_shape)


def first_action(distribution: Distribution) -> Distribution:
    """Return the distribution of the first action of a chunk; any other distribution as it is."""
    return distribution.prefix(1) if isinstance(distribution, Chunk) else distribution


def _diagonal(mean: Tensor, std: Tensor) -> Independent:
    """Return a diagonal Gaussian."""
    return Independent(Normal(mean, std, validate_args=False), 1, validate_args=False)


def _sequences(logits: Tensor) -> Categorical:
    """Return the distribution over the sequences of independent actions `[*batch, count, actions]`."""
    check_sequences(logits.shape[-1], logits.shape[-2])
    joint = logits[..., 0, :]
    for later in logits.unbind(-2)[1:]:
        joint = (joint.unsqueeze(-1) + later.unsqueeze(-2)).flatten(-2)
    return Categorical(logits=joint, validate_args=False)


def check_sequences(actions: int, count: int) -> None:
    """Raise ValueError if there are too many sequences of discrete actions to enumerate."""
    if actions**count > MAX_SEQUENCES:
        most = int(math.log(MAX_SEQUENCES, actions))
        raise ValueError(
            f"{count} of {actions} discrete actions make {actions**count} sequences, and p(ν=1|s) is a sum over them; "
            f"choose policy.execute={most} or less"
        )


class ChunkPolicy(Policy):
    """Decides on `chunk` actions at once, of which a robot executes the first `execute` before it looks again.

    Args:
        observation_dim: Length of an observation vector; 0 where pictures alone are observed.
        action_dim: Number of discrete actions, or length of the vector of one action.
        hidden_dims: Widths of the hidden layers.
        chunk: Number of actions in a chunk.
        execute: Number of them that are executed.
        base: Kind and architecture of a policy over single actions, whose head this one has; see `Policy.describe`.
        pictures: Observed pictures; see `Policy`.

    `act` returns whole chunks, `[*batch, chunk]` (int64) or `[*batch, chunk, action_dim]`; `ActionQueue` executes them.

    Raises:
        ValueError: `execute` is below 1 or above `chunk`, or the head has no density of some first actions.

    Source: Zhao et al., "Learning fine-grained bimanual manipulation with low-cost hardware" (ACT), RSS 2023.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int],
        chunk: int,
        execute: int,
        base: Mapping[str, Any],
        pictures: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        check_chunk(chunk, execute)
        options = {"chunk": chunk, "execute": execute, "base": dict(base)}
        super().__init__(observation_dim, action_dim, hidden_dims, 1, pictures=pictures, **options)
        shape = {**base["architecture"], "observation_dim": self.embedding_dim, "action_dim": chunk * action_dim}
        shape.pop("pictures", None)
        self.network: Any = build({"policy": base["policy"], "architecture": shape})
        self.is_discrete = self.network.is_discrete
        self.chunk = chunk
        self.execute = execute
        with torch.no_grad():
            self._check_head()

    @classmethod
    def like(cls, policy: Policy, chunk: int, execute: int) -> "ChunkPolicy":
        """Return a policy over chunks, with the head, the layers and the encoders of one over single actions.

        The encoders have its weights, too; the other weights are new.
        """
        shape = policy.architecture
        sizes = shape["observation_dim"], shape["action_dim"], shape["hidden_dims"]
        made = cls(*sizes, chunk, execute, policy.describe(), pictures=shape.get("pictures"))
        made.in_keys = policy.in_keys
        made.encoders.load_state_dict(policy.encoders.state_dict())
        return made

    def _check_head(self) -> None:
        """Refuse a head without a density of some first actions."""
        try:
            self.distribution(torch.zeros(self.embedding_dim))
        except TypeError:
            raise ValueError(
                f"a chunk needs a head of which some first actions have a density, and a {type(self.network).__name__} "
                "has none; choose policy.head=gaussian or mixture, or policy.chunk=null"
            ) from None

    def forward(self, *inputs: Tensor) -> Chunk:
        """Return the distribution over chunks for the observed entries; see `Policy.forward`."""
        return self.distribution(self.embed(*inputs))

    def distribution(self, embedding: Tensor) -> Chunk:
        """Return the distribution over chunks for embedded observations, `[*batch, embedding_dim]`."""
        whole = self.network.distribution(embedding)
        if self.is_discrete:
            whole = Categorical(logits=whole.logits.unflatten(-1, (self.chunk, -1)), validate_args=False)
        return Chunk(whole, self.chunk)


def check_chunk(chunk: int, execute: int) -> None:
    """Raise ValueError unless a chunk has an action, and as many as are executed."""
    if chunk < 1:
        raise ValueError(f"chunk (actions) must be at least 1, got {chunk}")
    if not 1 <= execute <= chunk:
        raise ValueError(f"execute (actions) must be at least 1, and at most chunk={chunk}, got {execute}")


def _prolonged(noise: Tensor, chunk: int) -> Tensor:
    """Return uniform numbers for a whole chunk, `[*batch, chunk, noise_dim]`, that follow from those of one action."""
    rows = noise.reshape(-1, noise.shape[-1])
    longer = []
    for row in rows:
        generator = torch.Generator().manual_seed(int(row[0].double() * 2**53))
        longer.append(torch.rand(chunk, len(row), generator=generator, dtype=noise.dtype))
    return torch.stack(longer).reshape(*noise.shape[:-1], chunk, -1)
