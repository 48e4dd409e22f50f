"""Cost and scale of a simulated human, from how often they are to intervene (Sec. V, App. D)."""

from collections.abc import Callable, Sequence

import torch
from torchrl.envs import EnvBase, TransformedEnv

from mile.calibration.estimates import check_targets, gap_scale
from mile.calibration.outcome import Calibration
from mile.collection import collect_episodes
from mile.envs import InterventionTransform
from mile.evaluation import summarize
from mile.humans import SimulatedHuman
from mile.intervention import action_spread, expected_gap, intervention_floor
from mile.policies import Policy
from mile.timing import TimingModel

MIN_SCREENED = 16  # episodes, of a trial that only tells where to begin
NEAR = 1.25  # target ratios; with so few episodes a ratio up to this counts as near the target


def calibrate_cost(
    env: EnvBase,
    policy: Policy,
    expert: Policy,
    mental_model: Policy,
    *,
    timing: TimingModel | None = None,
    make: Callable[..., SimulatedHuman] = SimulatedHuman,
    target_ratio: float = 0.2,
    relative_scale: float = 0.25,
    noise: float = 1.0,
    num_episodes: int = 15,
    tolerance: float = 0.01,
    max_bisections: int = 6,
    seed: int = 0,
    metric: str = "return",
    refuse: bool = True,
) -> Calibration:
    """Find the scale from the spread of the gap, and the cost for a target intervention ratio in deployment.

    The scale is relative_scale × the interquartile range of the expected gap over the states that the robot visits
    alone. The cost is found on rollouts with interventions, because these change which states are visited; every trial
    plays the same episodes with the same random draws.

    The ratio need not fall everywhere as the cost rises: a human who comes too late to save an episode has to intervene
    in a longer one. So the search walks up quantiles of the gap to the lowest one that reaches the target. Where there
    are enough episodes, a quarter of them tells where the ratio comes near the target, and whole trials walk from there
    to a quantile that reaches the target while the one below does not. The search then bisects between these two.

    Args:
        env: Environment without an `InterventionTransform`.
        policy: Policy of the robot.
        expert: Policy π* in the human's place.
        mental_model: Policy π̂ that the human expects of the robot.
        timing: Model of how a decision depends on the steps before; None: `Memoryless`.
        make: Function that makes the human, as `SimulatedHuman`.
        target_ratio: Share of steps with ν=1 to reach, in (0, 1).
        relative_scale: Scale σ in interquartile ranges of the gap.
        noise: Factor of the scale.
        num_episodes: Number of episodes in a trial.
        tolerance: Largest distance from the target at which the search stops.
        max_bisections: Largest number of bisections; the best trial is returned then.
        seed: Seed of the episodes.
        metric: Metric of the rollouts, "return" or "success".
        refuse: Raise if interventions do not improve the rollouts.

    Raises:
        ValueError: The target_ratio lies outside (0, 1), relative_scale is not above 0, the gap is the same everywhere,
            or interventions do not raise the return or success of the rollouts.
    """
    from torchmetrics.functional.classification import binary_auroc

    check_targets(target_ratio, relative_scale)

    # the scale, from the gap where the robot acts alone
    steps = collect_episodes(env, policy, num_episodes, seed=seed)
    with torch.no_grad():
        own = expert.at(steps)
        gap = expected_gap(own, mental_model.at(steps)).double()
        spread = float(action_spread(own).double().mean())
    low, high = float(gap.min()), float(gap.max())
    scale = noise * gap_scale(gap, relative_scale)

    # a trial: the same episodes with a human of some cost
    alone = summarize(steps)
    human = make(expert, mental_model, high, scale, timing=timing)
    supervised = TransformedEnv(env, InterventionTransform(human))

    def deploy(cost: float, episodes: int = num_episodes) -> Calibration:
        human.cost = cost
        steps = collect_episodes(supervised, policy, episodes, seed=seed)
        helped = summarize(steps)
        return Calibration(
            cost=cost,
            scale=scale,
            intervention_ratio=helped.intervention_ratio,
            floor=intervention_floor(cost, scale),
            auc=float(binary_auroc(steps["intervention_prob"], steps["intervened"].long())),
            spread=spread,
            alone=alone,
            helped=helped,
            metric=metric,
        )

    # the cost
    candidates = gap.quantile(torch.linspace(0.1, 1, 19, dtype=torch.float64)).tolist()
    few = num_episodes // 4
    start = 0
    if few >= MIN_SCREENED:
        while start < len(candidates) and deploy(candidates[start], few).intervention_ratio > NEAR * target_ratio:
            start += 1
    trials, (low, high) = _walk([low, *candidates, high + 4 * scale], start + 1, target_ratio, deploy)
    best = _bisect(trials, low, high, target_ratio, tolerance, max_bisections, deploy)
    if refuse and not best.helps:
        raise ValueError(
            f"interventions of this expert and mental model do not raise the {metric} of the rollouts ({best}); choose "
            "another pair, target_ratio or relative_scale"
        )
    return best


def _walk(
    costs: Sequence[float], start: int, target: float, deploy: Callable[[float], Calibration]
) -> tuple[list[Calibration], tuple[float, float]]:
    """Walk along costs to two neighbours of which the higher one alone reaches the target ratio.

    Args:
        costs: Costs in ascending order; the first is assumed not to reach the target, the last to reach it.
        start: Index of the cost to begin at.
        target: Target ratio.
        deploy: Function that tries a cost.

    Returns:
        All trials, and the two costs.
    """
    trials: dict[int, Calibration] = {}

    def reaches(index: int) -> bool:
        if index in (0, len(costs) - 1):
            return index > 0
        if index not in trials:
            trials[index] = deploy(costs[index])
        return trials[index].intervention_ratio <= target

    index = start
    while not reaches(index):
        index += 1
    while reaches(index - 1):
        index -= 1
    return list(trials.values()), (costs[index - 1], costs[index])


def _bisect(
    trials: list[Calibration],
    low: float,
    high: float,
    target: float,
    tolerance: float,
    max_bisections: int,
    deploy: Callable[[float], Calibration],
) -> Calibration:
    """Return the trial with the ratio closest to the target, after bisections between two costs."""

    def distance(trial: Calibration) -> float:
        return abs(trial.intervention_ratio - target)

    trials = list(trials)
    for _ in range(max_bisections):
        if trials and min(map(distance, trials)) <= tolerance:
            break
        trial = deploy((low + high) / 2)
        trials.append(trial)
        if trial.intervention_ratio > target:
            low = trial.cost
        else:
            high = trial.cost
    return min(trials, key=distance)
