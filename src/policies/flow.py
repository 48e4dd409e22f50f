"""Policies whose actions are bent and split Gaussian noise: normalising flows."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import AffineTransform, Independent, Normal
from zuko.distributions import NormalizingFlow
from zuko.transforms import ComposedTransform, CouplingTransform, DependentTransform, MonotonicRQSTransform

from mile.policies.networks import checked_bounds
from mile.policies.policy import Policy

WIDTH = 16  # of a coupling's hidden layer
LARGEST_LOG_FACTOR = 0.5  # by which a coupling stretches a part of an action, or shrinks it
STEEPEST = 0.03  # lowest slope of a spline: densities, and with them gaps in nats, stay bounded


class FlowPolicy(Policy):
    """A normalising flow: its density is exact, and it holds several modes.

    From an action to noise: each part of the action is standardised; in each coupling half of the parts are shifted and
    stretched by what the other half is, in turns; a spline for each part spreads its modes. Everything depends on the
    state. In one dimension there is nothing to couple. Before anything is learnt, it is close to a Gaussian.

    Args:
        observation_dim: Length of an observation vector.
        action_dim: Length of an action vector.
        hidden_dims: Widths of the hidden layers.
        couplings: Number of couplings, at least 0.
        bins: Number of pieces of a spline, at least 2.
        log_std_bounds: Lowest and highest log standard deviation of the standardisation.
        pictures: Observed pictures; see `Policy`.

    Raises:
        ValueError: There are too few couplings or bins, or the bounds are not in ascending order.

    Source: Dinh et al., "Density estimation using Real NVP", 2017; Durkan et al., "Neural spline flows", 2019.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (256, 256),
        couplings: int = 2,
        bins: int = 8,
        log_std_bounds: Sequence[float] = (-2.0, 1.0),
        pictures: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        low, high = checked_bounds(log_std_bounds)
        if couplings < 0 or bins < 2:
            raise ValueError(f"a flow needs at least 0 couplings and 2 bins, got {couplings} and {bins}")
        number = couplings if action_dim > 1 else 0
        self.sizes = [action_dim, action_dim, number * WIDTH, action_dim * (3 * bins - 1)]
        super().__init__(
            observation_dim,
            action_dim,
            hidden_dims,
            sum(self.sizes),
            pictures=pictures,
            couplings=couplings,
            bins=bins,
            log_std_bounds=[low, high],
        )
        self.low, self.high, self.bins = low, high, bins
        self.couplings = nn.ModuleList(Coupling(action_dim, first=turn % 2) for turn in range(number))

    def forward(self, *inputs: Tensor) -> NormalizingFlow:
        """Return the distribution over actions for the observed entries; see `Policy.forward`."""
        return self.distribution(self.embed(*inputs))

    def distribution(self, embedding: Tensor) -> NormalizingFlow:
        """Return the distribution over actions for embedded observations, `[*batch, embedding_dim]`."""
        output = self.network(embedding)
        # bfloat16 is for the network alone
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        mean, raw, contexts, knots = output.split(self.sizes, -1)

        # standardise, couple, spread
        log_std = self.low + (self.high - self.low) * raw.sigmoid()
        transforms: list[Any] = [Standardisation(-mean * (-log_std).exp(), (-log_std).exp(), event_dim=1)]
        for turn, coupling in enumerate(self.couplings):
            transforms.append(coupling(contexts.narrow(-1, WIDTH * turn, WIDTH)))
        parts = knots.unflatten(-1, (mean.shape[-1], -1)).split([self.bins, self.bins, self.bins - 1], -1)
        transforms.append(DependentTransform(MonotonicRQSTransform(*parts, slope=STEEPEST), 1))

        noise = Normal(torch.zeros_like(mean), torch.ones_like(mean), validate_args=False)
        return NormalizingFlow(ComposedTransform(*transforms), Independent(noise, 1, validate_args=False))


class Standardisation(AffineTransform):
    """An affine transform of vectors, whose shape it keeps; torch's would add that of its own batch."""

    def forward_shape(self, shape: Any) -> Any:
        """Return the same shape."""
        return shape

    inverse_shape = forward_shape


class Coupling(nn.Module):
    """An affine coupling: every other part of a vector is shifted and stretched by what the parts between them are.

    Args:
        dim: Length of the vector, at least 2.
        first: First part that stays as it is, 0 or 1.
    """

    stays: Any  # parts, [dim] bool

    def __init__(self, dim: int, first: int) -> None:
        super().__init__()
        stays = torch.arange(dim) % 2 == first
        self.register_buffer("stays", stays, persistent=False)
        self.hidden = nn.Linear(int(stays.sum()), WIDTH, bias=False)
        self.output = nn.Linear(WIDTH, 2 * int((~stays).sum()))

    def forward(self, context: Tensor) -> CouplingTransform:
        """Return the transform in states of a context, `[*batch, WIDTH]`: what the hidden layer's sums begin with."""

        def transform(values: Tensor) -> DependentTransform:
            shift, raw = self.output(torch.relu(self.hidden(values) + context)).to(values).chunk(2, -1)
            return DependentTransform(AffineTransform(shift, (LARGEST_LOG_FACTOR * raw.tanh()).exp()), 1)

        return CouplingTransform(transform, self.stays)
