"""Cost and scale of a simulated human, from how often they are to intervene (Sec. V, App. D)."""

from dataclasses import asdict, dataclass

import torch
from torchrl.envs import EnvBase, TransformedEnv

from mile.collection import collect_episodes
from mile.envs import InterventionTransform
from mile.evaluation import Evaluation, summarize
from mile.humans import SimulatedHuman
from mile.intervention import expected_gap, intervention_floor
from mile.policies import Policy


@dataclass(frozen=True)
class Calibration:
    """What a pair of cost and scale does in deployment.

    Attributes:
        cost: c, nats.
        scale: σ of Φ, nats.
        intervention_ratio: share of steps with ν=1 in deployed rollouts.
        floor: Φ(−c/σ), p(ν=1) where the human's action is no better than expected of the robot: interventions that
            the floor explains carry no information.
        auc: area under the ROC curve of the human's own p(ν=1|s) as a predictor of ν; 0.5 says nothing, 1 all.
        alone: rollouts of the robot alone.
        helped: the same episodes with interventions.
        metric: what they are judged by, "return" or "success".
    """

    cost: float
    scale: float
    intervention_ratio: float
    floor: float
    auc: float
    alone: Evaluation
    helped: Evaluation
    metric: str

    @property
    def helps(self) -> bool:
        """Do interventions raise what the rollouts are judged by?"""
        return self.helped.score(self.metric) > self.alone.score(self.metric)

    def __str__(self) -> str:
        form = ".0%" if self.metric == "success" else ".1f"
        return (
            f"cost {self.cost:.2f}, scale {self.scale:.2f} nats; intervenes in {self.intervention_ratio:.1%} of the "
            f"steps (floor {self.floor:.2%}, AUC {self.auc:.2f}); {self.metric} "
            f"{self.alone.score(self.metric):{form}} alone, {self.helped.score(self.metric):{form}} with interventions"
        )

    def summary(self) -> dict[str, float | str]:
        """Return the figures as plain numbers."""
        figures = {key: value for key, value in asdict(self).items() if key not in ("alone", "helped")}
        outcomes = {
            f"{self.metric}_alone": self.alone.score(self.metric),
            f"{self.metric}_helped": self.helped.score(self.metric),
        }
        return figures | outcomes


def calibrate_cost(
    env: EnvBase,
    policy: Policy,
    expert: Policy,
    mental_model: Policy,
    *,
    target_ratio: float = 0.2,
    relative_scale: float = 0.25,
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
    plays the same episodes with the same random draws. The ratio does not always fall as the cost rises: a human who
    comes too late to save an episode has to intervene in a longer one. So the search walks up the gap's quantiles to
    the lowest cost that reaches the target, and bisects there.

    Args:
        env: without an `InterventionTransform`.
        policy: the robot's.
        expert: π*, in the human's place.
        mental_model: π̂, what the human expects of the robot.
        target_ratio: share of steps with ν=1 to reach, in (0, 1).
        relative_scale: σ in interquartile ranges of the gap.
        num_episodes: rollouts a trial.
        tolerance: stop when the ratio is so close.
        max_bisections: stop after so many halvings, with the best trial.
        seed: of the rollouts.
        metric: what rollouts are judged by, "return" or "success".
        refuse: a human whose interventions do not help.

    Raises:
        ValueError: target_ratio lies outside (0, 1), relative_scale is not above 0, the gap is the same everywhere, or
            interventions do not raise the return or success of the rollouts.
    """
    from torchmetrics.functional.classification import binary_auroc

    if not 0 < target_ratio < 1:
        raise ValueError(f"target_ratio must lie in (0, 1), got {target_ratio}")
    if not relative_scale > 0:
        raise ValueError(f"relative_scale must be above 0, got {relative_scale}")
    alone = collect_episodes(env, policy, num_episodes, seed=seed)
    with torch.no_grad():
        gap = expected_gap(expert(alone[expert.sees]), mental_model(alone[mental_model.sees])).double()
    low, quartile, three_quarters, high = gap.quantile(gap.new_tensor([0, 0.25, 0.75, 1])).tolist()
    scale = relative_scale * (three_quarters - quartile)
    if not scale > 0:
        raise ValueError(f"the gap is {quartile} nats in half of the states: nothing to calibrate a scale by")

    unhelped = summarize(alone)
    human = SimulatedHuman(expert, mental_model, high, scale)
    supervised = TransformedEnv(env, InterventionTransform(human))

    def deploy(cost: float) -> Calibration:
        human.cost = cost
        steps = collect_episodes(supervised, policy, num_episodes, seed=seed)
        helped = summarize(steps)
        auc = float(binary_auroc(steps["intervention_prob"], steps["intervened"].long()))
        return Calibration(
            cost, scale, helped.intervention_ratio, intervention_floor(cost, scale), auc, unhelped, helped, metric
        )

    high += 4 * scale
    trials = []
    for cost in gap.quantile(torch.linspace(0.1, 1, 19, dtype=torch.float64)).tolist():
        trials.append(deploy(cost))
        if trials[-1].intervention_ratio <= target_ratio:
            high = cost
            break
        low = cost
    for _ in range(max_bisections):
        if min(abs(trial.intervention_ratio - target_ratio) for trial in trials) <= tolerance:
            break
        trials.append(deploy((low + high) / 2))
        if trials[-1].intervention_ratio > target_ratio:
            low = trials[-1].cost
        else:
            high = trials[-1].cost
    best = min(trials, key=lambda trial: abs(trial.intervention_ratio - target_ratio))
    if refuse and not best.helps:
        raise ValueError(
            f"interventions of this expert and mental model do not raise the {metric} of the rollouts ({best}); choose "
            "another pair, target_ratio or relative_scale"
        )
    return best
