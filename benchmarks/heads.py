"""Policies with a mixture or a flow: how exact p(ν=1|s) is, and what a step of MILE costs.

python benchmarks/heads.py
"""

import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from tensordict import TensorDict
from torch import Tensor
from torch.distributions import Distribution
from torch.special import ndtr

from mile.intervention import intervention_log_probs
from mile.methods import MILE
from mile.policies import FlowPolicy, GaussianPolicy, MixturePolicy, Policy

COST, SCALE = 1.0, 1.0
STATES = 24
CHUNKS, CHUNK = 50, 20_000  # samples: a million
FEW = 1000  # samples, in the place of points
HEADS: dict[str, type[Policy]] = {"mixture": MixturePolicy, "flow": FlowPolicy}
STEPS, BATCH = 15, 256
SIZES = ((4, 1), (8, 2), (39, 4))  # numbers of an observation, and of an action


def pair(kind: type[Policy], dims: int) -> tuple[Distribution, Distribution]:
    """Return a human and a belief near them, in some states, bent and split."""
    torch.manual_seed(0)
    human = kind(4, dims, (64, 64)).double()  # pyright: ignore
    belief = kind(4, dims, (64, 64)).double()  # pyright: ignore
    with torch.no_grad():
        for own, others in zip(belief.parameters(), human.parameters(), strict=True):
            own.copy_(others + 0.3 * own)
        for policy in (human, belief):
            policy.network[-1].weight.mul_(5)  # pyright: ignore
        observation = 2 * torch.randn(STATES, 4, dtype=torch.float64)
        return human(observation), belief(observation)


def sampled_prob(human: Distribution, belief: Distribution, chunks: int, chunk: int) -> Tensor:
    """Return p(ν=1|s) from samples, `[STATES]`."""

    def mean(distribution: Distribution, function: Callable[[Tensor], Tensor]) -> Tensor:
        parts = [function(distribution.sample(torch.Size([chunk]))).mean(0) for _ in range(chunks)]
        return torch.stack(parts).mean(0)

    expected = mean(belief, human.log_prob)
    return mean(human, lambda action: ndtr((human.log_prob(action) - expected - COST) / SCALE))


@torch.no_grad()
def errors(kind: type[Policy], dims: int) -> tuple[float, float, float]:
    """Return the mean and the largest error of p(ν=1|s), and the mean error of 1000 samples, against a million."""
    human, belief = pair(kind, dims)
    truth = sampled_prob(human, belief, CHUNKS, CHUNK)
    error = (intervention_log_probs(human, belief, COST, SCALE)[1].exp() - truth).abs()
    few = (sampled_prob(human, belief, 1, FEW) - truth).abs()
    return float(error.mean()), float(error.max()), float(few.mean())


def steps(observation_dim: int, action_dim: int) -> TensorDict:
    """Return a batch of recorded steps."""
    everywhere = torch.ones(BATCH, dtype=torch.bool)
    entries = {"observation": torch.randn(BATCH, observation_dim), "intervened": torch.rand(BATCH) < 0.3}
    for name in ("robot_action", "human_action", "executed_action"):
        entries[name] = 2 * torch.rand(BATCH, action_dim) - 1
    more = {"attended": everywhere, "asked": ~everywhere, "round": torch.zeros(BATCH, dtype=torch.int64)}
    return TensorDict(entries | more, [BATCH])


def step_times(observation_dim: int, action_dim: int) -> dict[str, float]:
    """Return the median processor time of a gradient step of MILE by head, both networks of that head, ms."""
    torch.manual_seed(0)
    batch, modules = steps(observation_dim, action_dim), {}
    for name, kind in {"gaussian": GaussianPolicy, **HEADS}.items():
        policy, mental_model = (kind(observation_dim, action_dim, (256, 256)) for _ in range(2))  # pyright: ignore
        module = MILE(policy, mental_model, COST, SCALE)
        modules[name] = module, torch.optim.Adam(module.parameters(), 1e-4)

    # in turns, because machines drift
    times: dict[str, list[float]] = {name: [] for name in modules}
    for _ in range(STEPS):
        for name, (module, optimizer) in modules.items():
            begin = time.process_time()
            optimizer.zero_grad()
            module.loss(batch).loss.backward()
            optimizer.step()
            times[name].append(time.process_time() - begin)
    return {name: 1000 * statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    console = Console()
    table = Table("head", "dimensions", "mean error", "largest", "of 1000 samples", title="p(ν=1|s)")
    for name, kind in HEADS.items():
        for dims in (1, 2, 3):
            table.add_row(name, str(dims), *(f"{value:.4f}" for value in errors(kind, dims)))
    console.print(table)

    table = Table("dimensions", "gaussian, ms", "mixture / gaussian", "flow / gaussian", title="a step of MILE")
    for observation_dim, action_dim in SIZES:
        times = step_times(observation_dim, action_dim)
        ratios = (f"{times[name] / times['gaussian']:.1f}" for name in HEADS)
        table.add_row(str(action_dim), f"{times['gaussian']:.1f}", *ratios)
    console.print(table)


if __name__ == "__main__":
    main()
