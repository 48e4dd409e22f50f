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


class Scores(NamedTuple):
    """How good a test bed's policies are, in the environment's metric.

    Attributes:
        initial: The initial policy alone.
        helped: The initial policy, with the human's interventions.
        ratio: Share of the helped steps with ν=1.
        oracle: The initial policy after it has learnt the expert's action in every state of some helped episodes.
    """

    initial: float
    helped: float
    ratio: float
    oracle: float


def judge_initial(score: float, criteria: Criteria) -> str:
    """Return what is wrong with the score of an initial policy; nothing: ""."""
    low, high = criteria.initial
    if low <= score <= high:
        return ""
    return f"the initial policy scores {score:.2f}, outside of [{low}, {high}]"


def judge(scores: Scores, criteria: Criteria) -> str:
    """Return what is wrong with a test bed; nothing: ""."""
    enough = scores.initial + criteria.gain
    if reason := judge_initial(scores.initial, criteria):
        return reason
    if scores.helped < enough:
        return f"helped episodes score {scores.helped:.2f}, below {enough:.2f}"
    if scores.oracle < enough:
        return f"the oracle scores {scores.oracle:.2f}, below {enough:.2f}"
    return ""


def measure(
    env: EnvBase,
    policy: Policy,
    human: SimulatedHuman,
    *,
    metric: str,
    num_episodes: int,
    seed: int,
    oracle_episodes: int,
    oracle_steps: int,
    oracle_rate: float,
) -> Scores:
    """Measure a test bed.

    Args:
        env: Environment without an `InterventionTransform`.
        policy: Initial policy.
        human: Calibrated human.
        metric: Metric of the environment, "return" or "success".
        num_episodes: Number of episodes of each evaluation.
        seed: Seed of these episodes; those that the oracle learns from have the next one.
        oracle_episodes: Number of helped episodes that the oracle learns from.
        oracle_steps: Number of its gradient steps.
        oracle_rate: Learning rate of the oracle.
    """
    supervised = TransformedEnv(env, InterventionTransform(human))
    alone = evaluate_policy(env, policy, num_episodes, seed)
    helped = evaluate_policy(supervised, policy, num_episodes, seed)

    # the oracle: every state that was visited, with the expert's most probable action
    steps = collect_episodes(supervised, policy, oracle_episodes, seed=seed + 1)
    oracle = deepcopy(policy)
    with torch.no_grad():
        best = mode(human.expert.at(steps))
    options = {"steps": oracle_steps, "learning_rate": oracle_rate, "seed": seed}
    clone_policy(oracle, steps, best, **options, normalize=False)
    learnt = evaluate_policy(env, oracle, num_episodes, seed)
    return Scores(alone.score(metric), helped.score(metric), helped.intervention_ratio, learnt.score(metric))
