"""Flow matching's bound in the place of ln π: bias and spread of the gradient of p(ν=1|s), against exact heads.

python benchmarks/proxy_likelihood.py --output outputs/proxy_likelihood.csv
"""

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.special import ndtr

from mile.intervention import intervention_log_probs
from mile.policies import FlowMatchingPolicy, FlowPolicy, GaussianPolicy, MixturePolicy, Policy
from mile.policies.flow_matching import FlowMatching

COST, SCALE = 1.0, 1.0
STATES, DIMS = 12, 2
TRUTH = 400_000  # samples of the human and of the belief
REPEATS = 4000
AT_A_TIME = 500
ACTIONS = (1, 2, 4, 8, 16, 32, 64)  # of the human, and as many of the robot
PAIRS, MANY = 8, 64  # of time and noise, where there are several; and where their noise hardly matters
BATCH, TIMED = 256, 12  # states, and repetitions, of the times

Score = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # of the human's and the robot's actions


def situations(components: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the human's means and standard deviation by component, and the belief's, in some states."""
    generator = torch.Generator().manual_seed(0)
    mean = 1.2 * torch.randn(STATES, components, DIMS, generator=generator, dtype=torch.float64)
    std = 0.3 + 0.4 * torch.rand(STATES, components, 1, generator=generator, dtype=torch.float64)
    belief = 0.8 * torch.randn(STATES, DIMS, generator=generator, dtype=torch.float64)
    return mean, std, belief, torch.full((STATES, DIMS), 0.4, dtype=torch.float64)


def human_of(mean: Tensor, std: Tensor) -> MixtureSameFamily:
    """Return the human: two ways, equally probable."""
    parts = Independent(Normal(mean, std.expand_as(mean)), 1)
    return MixtureSameFamily(Categorical(logits=torch.zeros(mean.shape[:-1], dtype=mean.dtype)), parts)


def field_of(mean: Tensor, std: Tensor) -> FlowMatching:
    """Return the velocity field that flow matching would learn of that human, in closed form: no network errs here."""

    def velocity(point: Tensor, when: Tensor) -> Tensor:
        point, when = point.unsqueeze(-2), when.unsqueeze(-2)  # [*batch, 1, dims], over components
        variance = (1 - when) ** 2 + (when * std) ** 2
        away = point - when * mean
        log_share = -0.5 * (away.square() / variance).sum(-1) - 0.5 * DIMS * variance.squeeze(-1).log()
        each = mean + (when * std**2 - (1 - when)) / variance * away
        return (log_share.softmax(-1).unsqueeze(-1) * each).sum(-2)

    return FlowMatching(velocity, mean[:, 0])


def gradient(score: Score, human: Tensor, belief: Tensor, std: Tensor, normal: Tensor) -> Tensor:
    """Return the gradient of p(ν=1|s) by the belief's mean, from samples.

    Args:
        score: Function of the human's and the robot's actions to the scores of both, `[actions, …]` each.
        human: Actions of the human, `[actions, repeats, STATES, DIMS]`.
        belief: Mean of the belief, `[STATES, DIMS]`.
        std: Its standard deviation.
        normal: Standard normal numbers of the robot's actions, like `human`.

    Returns:
        `[repeats, STATES, DIMS]`.
    """
    mean = belief.expand(normal.shape[1], -1, -1).clone().requires_grad_()
    own, expected = score(human, mean + std * normal)
    prob = ndtr((own - expected.mean(0) - COST) / SCALE).mean(0)
    return torch.autograd.grad(prob.sum(), mean)[0]


def calibration(field: FlowMatching, human: MixtureSameFamily) -> Tensor:
    """Return the factor of each state that brings the bound closest to ln π over the human's actions, `[STATES]`.

    A bound is not in nats: whoever uses it chooses other numbers for c and σ. This choice is the best affine one.
    """
    torch.manual_seed(3)
    action = human.sample(torch.Size([400]))
    times = ((torch.arange(400) + 0.5) / 400).reshape(-1, 1, 1, 1).double()
    noise = torch.randn(400, 1, STATES, DIMS, dtype=torch.float64)
    bound, exact = field.scores(action, times, noise).mean(0), human.log_prob(action)
    bound, exact = bound - bound.mean(0), exact - exact.mean(0)
    return (bound * exact).sum(0) / bound.square().sum(0)


def densities(human: MixtureSameFamily) -> Score:
    """Return ln π as a score."""
    return lambda own, robot: (human.log_prob(own), human.log_prob(robot))


def proxy(field: FlowMatching, factor: Tensor, pairs: int, common: bool) -> Score:
    """Return the bound as a score, over stratified times: the same noise for all actions, or each its own."""

    def score(human: Tensor, robot: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([human, robot])
        shape = both[:1].shape if common else both.shape
        strata = torch.arange(pairs).reshape(-1, *(1,) * both.ndim)
        times = (strata + torch.rand(1, *shape[:-1], 1, dtype=torch.float64)) / pairs
        noise = torch.randn(pairs, *shape, dtype=torch.float64)
        scores = factor * field.scores(both, times, noise).mean(0)
        own, expected = scores.chunk(2)
        return own, expected

    return score


def errors(score: Score, truth: Tensor, components: int, actions: int, repeats: int = REPEATS) -> tuple[float, float]:
    """Return bias and spread of the gradient, in units of the true one's length, the median over states."""
    mean, std, belief, belief_std = situations(components)
    human, parts = human_of(mean, std), []
    at_a_time = min(AT_A_TIME, repeats)
    for _ in range(repeats // at_a_time):
        own = human.sample(torch.Size([actions, at_a_time]))
        parts.append(gradient(score, own, belief, belief_std, torch.randn_like(own)))
    values, length = torch.cat(parts), truth.norm(dim=-1)
    bias = (values.mean(0) - truth).norm(dim=-1) / length
    spread = values.var(0).sum(-1).sqrt() / length
    return float(bias.median()), float(spread.median())


def true_gradient(components: int) -> Tensor:
    """Return the gradient from very many samples and the exact density, `[STATES, DIMS]`."""
    mean, std, belief, belief_std = situations(components)
    human, parts = human_of(mean, std), []
    for seed in range(TRUTH // 20_000):
        torch.manual_seed(seed)
        own = human.sample(torch.Size([20_000, 1]))
        parts.append(gradient(densities(human), own, belief, belief_std, torch.randn_like(own))[0])
    return torch.stack(parts).mean(0)


def points_gradient(components: int) -> Tensor:
    """Return the gradient as MILE computes it with a mixture: over 64 points of each component."""
    mean, std, belief, belief_std = situations(components)
    belief.requires_grad_()
    expected = Independent(Normal(belief, belief_std), 1)
    _, log_prob = intervention_log_probs(human_of(mean, std), expected, COST, SCALE)
    return torch.autograd.grad(log_prob.exp().sum(), belief)[0]


def milliseconds(function: Callable[[], object]) -> float:
    """Return the median processor time of a call, ms."""
    times = []
    for _ in range(TIMED):
        begin = time.process_time()
        function()
        times.append(1000 * (time.process_time() - begin))
    return sorted(times)[TIMED // 2]


def costs() -> dict[str, float]:
    """Return the time of the gradient of p(ν=1|s) by both networks in 256 states, ms, by head and number of scores."""
    torch.manual_seed(0)
    observation, times = torch.randn(BATCH, 8), {}
    kinds: dict[str, type[Policy]] = {"gaussian": GaussianPolicy, "mixture": MixturePolicy, "flow": FlowPolicy}
    for name, kind in kinds.items():
        human, belief = kind(8, DIMS, (256, 256)), GaussianPolicy(8, DIMS, (256, 256))  # pyright: ignore

        def step(human: Policy = human, belief: Policy = belief) -> None:
            intervention_log_probs(human(observation), belief(observation), COST, SCALE)[1].mean().backward()

        times[name] = milliseconds(step)

    # scores: each is a pass through the network
    policy, belief = FlowMatchingPolicy(8, DIMS, (256, 256)), GaussianPolicy(8, DIMS, (256, 256))
    for scores in (2, 16, 128):

        def step(scores: int = scores) -> None:
            mean: Tensor = belief(observation).mean
            value = mean + torch.randn(scores, BATCH, DIMS)
            policy(observation).scores(value, torch.rand(scores, BATCH, 1), torch.randn_like(value)).mean().backward()

        times[f"{scores} scores"] = milliseconds(step)
    return times


def main() -> None:
    """Print both tables, and write the first."""
    parser = argparse.ArgumentParser(description="bias and spread of the gradient of p(ν=1|s) with a bound for ln π")
    parser.add_argument("--output", type=Path, required=True, help="CSV to write")
    parser.add_argument("--components", type=int, default=2, help="ways of the human")
    arguments = parser.parse_args()
    output: Path = arguments.output
    components: int = arguments.components

    torch.set_num_threads(1)
    truth = true_gradient(components)
    mean, std, *_ = situations(components)
    human, field = human_of(mean, std), field_of(mean, std)
    factor, one = calibration(field, human), torch.ones(STATES, dtype=torch.float64)
    rows = []
    at_points = (points_gradient(components) - truth).norm(dim=-1) / truth.norm(dim=-1)
    rows.append(("mixture over points", "", "", float(at_points.median()), 0.0))
    torch.manual_seed(1)
    for actions in ACTIONS:
        ways = {
            "density, samples": (densities(human), 1),
            "bound, own noise": (proxy(field, factor, 1, common=False), 1),
            "bound, common noise": (proxy(field, factor, 1, common=True), 1),
            "bound, common noise, 8 times": (proxy(field, factor, PAIRS, common=True), PAIRS),
            "bound, own noise, not calibrated": (proxy(field, one, 1, common=False), 1),
        }
        for name, (score, pairs) in ways.items():
            rows.append((name, actions, 2 * actions * pairs, *errors(score, truth, components, actions)))
    actions = ACTIONS[-1]
    averaged = errors(proxy(field, factor, MANY, common=False), truth, components, actions, repeats=100)
    rows.append(("bound, own noise, 64 times", actions, 2 * actions * MANY, *averaged))

    # out
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("estimator", "actions", "scores", "bias", "spread"))
        for name, actions, scores, bias, spread in rows:
            writer.writerow((name, actions, scores, f"{bias:.4f}", f"{spread:.4f}"))
    table = Table("estimator", "actions of each", "scores", "bias", "spread", title="gradient of p(ν=1|s)")
    for name, actions, scores, bias, spread in rows:
        table.add_row(name, str(actions), str(scores), f"{bias:.3f}", f"{spread:.3f}")
    console = Console()
    console.print(table)
    table = Table("head", "ms", title=f"both networks, {BATCH} states")
    for name, value in costs().items():
        table.add_row(name, f"{value:.1f}")
    console.print(table)


if __name__ == "__main__":
    main()
