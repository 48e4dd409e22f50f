"""The gap of policies that do not change: what depends on neither cost nor scale is computed once."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from mile.intervention import gap_values, intervention_log_probs, log_expected_phi, log_expected_phis
from mile.quadrature import MIN_LAGUERRE_SCALE, gaussian_gap, is_diagonal_gaussian, is_gaussian_belief, largest_gap
from mile.timing.model import Gap, LogProbs

GRID_STEP = 0.05  # of asinh(b/σ): an error of some 1e-7 in ln p(ν)
MIN_LOG_WEIGHT = -100.0  # of a value of the gap: p(ν) below e^(−100) explains nothing that people do


@dataclass(frozen=True)
class FixedGap:
    """Answers as a `Gap` does, and quickly at ever other costs and scales; without gradients, in float64.

    For Gaussians in d dimensions p(ν=1|s) depends on the state by K alone, the gap of the action that the human likes
    best (`mile.quadrature.largest_gap`): it is computed on a grid of b = K − c, and interpolated by a cubic spline.

    Attributes:
        scale: Standard deviation σ of Φ, nats.
        mean: Expected gap, `[*batch]`, nats.
        log_weights: Log-weights of the values that the gap takes; of Gaussians, of the values of K minus the gap.
        values: These values, `[*batch, values]`; of Gaussians `[values]`.
        peak: K of Gaussians, `[*batch]`; None of others.
        dims: Number of action dimensions d of Gaussians; 0 of others.
        observed: Observed ν, `[*batch]`, where ln p(ν) of it alone is wanted: `log_probs` then returns it twice. None:
            both are.
    """

    scale: float
    mean: Tensor
    log_weights: Tensor
    values: Tensor
    peak: Tensor | None = None
    dims: int = 0
    observed: Tensor | None = None

    def at(self, scale: float, observed: Tensor | None = None) -> "FixedGap":
        """Return the same gap with another scale σ (nats), and with `observed`."""
        return replace(self, scale=scale, observed=observed)

    def expected(self) -> Tensor:
        """Return the expected gap; see `Gap.expected`."""
        return self.mean

    def log_probs(self, cost: float | Tensor) -> LogProbs:
        """Return (ln p(ν=0|s), ln p(ν=1|s)) at a cost (nats), or at one for each state; see `Gap.log_probs`."""
        if self.peak is not None:
            return self._interpolated(self.peak - cost)
        if isinstance(cost, Tensor):
            cost = cost.unsqueeze(-1)
        z = (self.values - cost) / self.scale
        if self.observed is None:
            return log_expected_phis(self.log_weights, z)
        log_prob = log_expected_phi(self.log_weights, torch.where(self.observed.unsqueeze(-1), z, -z))
        return log_prob, log_prob

    def _interpolated(self, b: Tensor) -> LogProbs:
        from scipy.interpolate import CubicSpline  # takes a while

        # a grid that is fine where Φ is steep; of whole steps, so that a likelihood's error is smooth in c and σ
        x = (b / self.scale).asinh()
        first, last = math.floor(float(x.min()) / GRID_STEP) - 1, math.ceil(float(x.max()) / GRID_STEP) + 1
        grid = GRID_STEP * torch.arange(first, last + 1, dtype=torch.float64)
        on_grid = torch.stack(self._on_grid(self.scale * grid.sinh()), -1)

        log_probs = torch.from_numpy(CubicSpline(grid.numpy(), on_grid.numpy())(x.numpy())).clamp(max=0)
        return log_probs[..., 0], log_probs[..., 1]

    def _on_grid(self, b: Tensor) -> LogProbs:
        if self.scale >= MIN_LAGUERRE_SCALE:
            return log_expected_phis(self.log_weights, (b.unsqueeze(-1) - self.values) / self.scale)
        human, mental_model = _gaussians(b - b.min(), self.dims)
        return intervention_log_probs(human, mental_model, -float(b.min()), self.scale)


@torch.no_grad()
def fixed_gap(gap: Gap, min_scale: float) -> FixedGap:
    """Return a gap whose policies do not change any more.

    Args:
        gap: Gap in the states.
        min_scale: Least scale (nats) that will be asked for.
    """
    human, mental_model, scale = gap.human, gap.mental_model, float(gap.scale)
    mean = gap.expected().double().cpu()
    if is_diagonal_gaussian(human) and is_gaussian_belief(mental_model):
        dims = human.event_shape[0]
        one = torch.ones(1, dtype=torch.float64)
        log_weights, values = gaussian_gap(*_gaussians(one, dims), max(min_scale, MIN_LAGUERRE_SCALE))
        matter = log_weights > MIN_LOG_WEIGHT
        values = (one - values).squeeze(0)[matter]
        peak = largest_gap(human, mental_model).double().cpu()
        return FixedGap(scale, mean, log_weights[matter], values, peak, dims)
    log_weights, values = gap_values(human, mental_model, min_scale)
    return FixedGap(scale, mean, log_weights.double().cpu(), values.double().cpu())


def _gaussians(peak: Tensor, dims: int) -> tuple[Independent, Independent]:
    """Return a human and a mental model, of Gaussians in some dimensions, with these K, `[states]`."""
    mean = torch.zeros(*peak.shape, dims, dtype=torch.float64)
    mean[..., 0] = (2 * peak).sqrt()
    human = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean), validate_args=False), 1)
    certain = torch.full_like(mean, 1e-30)
    return human, Independent(Normal(mean, certain, validate_args=False), 1)
