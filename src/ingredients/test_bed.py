"""Whether an expert, an initial policy and a mental model are a sound test bed (docs/results/test_bed.md)."""

from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from torchrl.envs import EnvBase, TransformedEnv

from mile.collection import collect_episodes
from mile.envs import InterventionTransform
from mile.evaluation import evaluate_policy
from mile.humans import SimulatedHuman
from mile.ingredients.cloning import clone_policy
from mile.policies import Policy
from mile.policies.sampling import mode


class Criteria(NamedTuple):
    """What a test bed must fulfil, in the environment's metric.

    Attributes:
        initial: Lowest and highest score of the initial policy.
        gain: Least gain over the initial policy, of its helped episodes and of the oracle.
        expert: Least score of the expert, whose actions are sampled.
    """

    initial: Sequence[float]
    gain: float
    expert: float


def judge_initial(score: float, criteria: Criteria) -> str:
    """Return what is wrong with the score of an initial policy; nothing: ""."""
    low, high = criteria.initial
    if low <= score <= high:
        return ""
    return f"the initial policy scores {score:.2f}, outside of [{low}, {high}]"


def judge_gain(name: str, score: float, initial: float, criteria: Criteria) -> str:
    """Return what is wrong with a score that must be above the initial policy's; nothing: "".

    Args:
        name: What has the score, and a verb.
        score: The score.
        initial: Score of the initial policy.
        criteria: What the test bed must fulfil.
    """
    enough = initial + criteria.gain
    return "" if score >= enough else f"{name} {score:.2f}, below {enough:.2f}"


def helped_score(
    env: EnvBase, policy: Policy, human: SimulatedHuman, *, metric: str, num_episodes: int, seed: int
) -> tuple[float, float]:
    """Return how good an initial policy is with a human's interventions, and the share of steps with ν=1.

    Args:
        env: Environment without an `InterventionTransform`.
        policy: Initial policy.
        human: Calibrated human.
        metric: Metric of the environment, "return" or "success".
        num_episodes: Number of episodes.
        seed: Seed of the episodes.
    """
    supervised = TransformedEnv(env, InterventionTransform(human))
    helped = evaluate_policy(supervised, policy, num_episodes, seed)
    return helped.score(metric), helped.intervention_ratio


def oracle_score(
    env: EnvBase,
    policy: Policy,
    human: SimulatedHuman,
    *,
    metric: str,
    num_episodes: int,
    seed: int,
    learns_from: int,
    steps: int,
    learning_rate: float,
) -> float:
    """Return how good an initial policy is after it has learnt what the expert does in all states of helped episodes.

    Args:
        env: Environment without an `InterventionTransform`.
        policy: Initial policy.
        human: Calibrated human.
        metric: Metric of the environment, "return" or "success".
        num_episodes: Number of episodes of the evaluation.
        seed: Seed of these episodes; those that it learns from have the next one.
        learns_from: Number of helped episodes that it learns from.
        steps: Number of gradient steps.
        learning_rate: Learning rate.
    """
    supervised = TransformedEnv(env, InterventionTransform(human))
    recorded = collect_episodes(supervised, policy, learns_from, seed=seed + 1)
    oracle = deepcopy(policy)
    with torch.no_grad():
        best = mode(human.expert.at(recorded))
    clone_policy(oracle, recorded, best, steps=steps, learning_rate=learning_rate, seed=seed, normalize=False)
    return evaluate_policy(env, oracle, num_episodes, seed).score(metric)
