"""What is told of a simulated human without deploying them, from rollouts of the robot alone."""

from typing import Any

import torch
from torch import Tensor
from torchrl.envs import EnvBase

from mile.collection import collect_episodes
from mile.intervention import action_spread, expected_gap, intervention_log_probs
from mile.policies import Policy


def estimate_cost(
    env: EnvBase,
    policy: Policy,
    expert: Policy,
    mental_model: Policy,
    *,
    target_ratio: float = 0.2,
    relative_scale: float = 0.25,
    num_episodes: int = 8,
    seed: int = 0,
) -> tuple[float, float]:
    """Estimate cost and scale in seconds, from rollouts of the robot alone.

    The cost is the one with a mean p(ν=1|s) of target_ratio over the states that the robot visits alone. A human's
    interventions change these states, which `calibrate_cost` takes into account.

    Args:
        env: Environment without an `InterventionTransform`.
        policy: Policy of the robot.
        expert: Policy π* in the human's place.
        mental_model: Policy π̂ that the human expects of the robot.
        target_ratio: Mean of p(ν=1|s), in (0, 1).
        relative_scale: Scale σ in interquartile ranges of the gap.
        num_episodes: Number of rollouts.
        seed: Seed of the episodes.

    Returns:
        Cost c and scale σ, nats.

    Raises:
        ValueError: The target_ratio lies outside (0, 1), relative_scale is not above 0, or the gap is the same
            everywhere.
    """
    from scipy.optimize import brentq

    check_targets(target_ratio, relative_scale)
    steps = collect_episodes(env, policy, num_episodes, seed=seed)

    with torch.no_grad():
        human, robot = expert.at(steps), mental_model.at(steps)
        gap = expected_gap(human, robot).double()
        scale = gap_scale(gap, relative_scale)

        def excess(cost: float) -> float:
            _, log_prob = intervention_log_probs(human, robot, cost, scale)
            return float(log_prob.exp().mean()) - target_ratio

        # far enough for a ratio of almost 1, and of almost 0
        low, high, margin = float(gap.min()), float(gap.max()), 1.0
        while excess(low - margin) < 0 or excess(high + margin) > 0:
            margin *= 2
        cost: Any = brentq(excess, low - margin, high + margin, xtol=1e-3)
        return float(cost), scale


def estimate_spread(env: EnvBase, policy: Policy, expert: Policy, num_episodes: int = 8, seed: int = 1000000) -> float:
    """Return how far an expert's own actions lie from their best one in the mean, nats.

    Args:
        env: Environment without an `InterventionTransform`.
        policy: Policy of the robot, which decides what states there are.
        expert: Policy π* in the human's place.
        num_episodes: Number of rollouts.
        seed: Seed of the episodes.
    """
    steps = collect_episodes(env, policy, num_episodes, seed=seed)
    with torch.no_grad():
        return float(action_spread(expert.at(steps)).double().mean())


def check_targets(target_ratio: float, relative_scale: float) -> None:
    """Raise ValueError unless both are possible."""
    if not 0 < target_ratio < 1:
        raise ValueError(f"target_ratio must lie in (0, 1), got {target_ratio}")
    if not relative_scale > 0:
        raise ValueError(f"relative_scale must be above 0, got {relative_scale}")


def gap_scale(gap: Tensor, relative_scale: float) -> float:
    """Return relative_scale × the interquartile range of the gap `[steps]`, nats.

    Raises:
        ValueError: The gap is the same in half of the states.
    """
    quartile, three_quarters = gap.quantile(gap.new_tensor([0.25, 0.75])).tolist()
    scale = relative_scale * (three_quarters - quartile)
    if not scale > 0:
        raise ValueError(f"the gap is {quartile} nats in half of the states: nothing to calibrate a scale by")
    return scale
