"""Error of p(ν=1|s) against 10⁷ samples: of the quadrature, and of 1000 samples."""

import torch
from sampled import sampled_intervention_prob
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.special import ndtr

from mile.intervention import intervention_log_probs

STATES, ACTION = 16, 4
CHUNK, CHUNKS = 100_000, 100  # 10⁷ samples
COST, SCALE = 2.0, 2.0  # nats


def gaussian(generator: torch.Generator) -> Independent:
    mean = torch.randn(STATES, ACTION, generator=generator, dtype=torch.float64)
    spread = torch.randn(STATES, ACTION, generator=generator, dtype=torch.float64)
    return Independent(Normal(mean, (0.3 * spread).exp()), 1)


def brute_force(human: Independent, mental_model: Independent) -> tuple[Tensor, Tensor]:
    """Return p(ν=1|s) (Eq. 1-2) by 10⁷ samples of each expectation, and its own standard error."""
    # the expected log-probability of the mental model's actions, and the threshold
    inner = torch.stack([human.log_prob(mental_model.sample((CHUNK,))).mean(0) for _ in range(CHUNKS)])
    threshold = inner.mean(0) + COST

    # the probability that the human's own action exceeds it
    chunks = []
    for _ in range(CHUNKS):
        own = human.log_prob(human.sample((CHUNK,)))
        chunks.append(ndtr((own - threshold) / SCALE).mean(0))
    outer = torch.stack(chunks)

    steepest = 0.4 / SCALE  # Φ's greatest slope
    return outer.mean(0), (outer.var(0) + (steepest * inner.std(0)) ** 2).sqrt() / CHUNKS**0.5


def main() -> None:
    """Print both errors, the mean and the largest over some states."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    human, mental_model = gaussian(generator), gaussian(generator)

    # truth, and two estimates
    truth, noise = brute_force(human, mental_model)
    exact = intervention_log_probs(human, mental_model, COST, SCALE)[1].exp()
    sampled = sampled_intervention_prob(human, mental_model, COST, SCALE)

    # errors
    print(f"p from {truth.min():.2f} to {truth.max():.2f}; standard error of the 10⁷ samples {noise.mean():.1e}")
    for name, estimate in (("quadrature", exact), ("1000 samples", sampled)):
        error = (estimate - truth).abs()
        print(f"{name}: differs by {error.mean():.1e} in the mean, {error.max():.1e} at most")


if __name__ == "__main__":
    main()
