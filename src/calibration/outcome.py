"""What a simulated human of some cost and scale does in deployment."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mile.evaluation import Evaluation


@dataclass(frozen=True)
class Calibration:
    """The effect of a pair of cost and scale in deployment.

    Attributes:
        cost: Cost c of an intervention, nats.
        scale: Scale σ of Φ, nats.
        intervention_ratio: Share of steps with ν=1 in deployed rollouts.
        floor: Φ(−c/σ), p(ν=1) where the human's action is no better than expected of the robot: interventions that
            the floor explains carry no information.
        auc: Area under the ROC curve of the human's own p(ν=1|s) as a predictor of ν; 0.5 tells nothing, 1 everything.
        spread: How far the expert's own actions lie from their best one in the mean, nats; see
            `mile.intervention.action_spread`.
        alone: Rollouts of the robot alone.
        helped: The same episodes with interventions.
        metric: Metric of the rollouts, "return" or "success".
    """

    cost: float
    scale: float
    intervention_ratio: float
    floor: float
    auc: float
    spread: float
    alone: Evaluation
    helped: Evaluation
    metric: str

    @property
    def helps(self) -> bool:
        """Whether interventions improve the rollouts."""
        return self.helped.score(self.metric) > self.alone.score(self.metric)

    def __str__(self) -> str:
        return describe(self.summary())

    def summary(self) -> dict[str, float | str]:
        """Return the figures as plain numbers."""
        figures = asdict(self)
        del figures["alone"], figures["helped"]
        figures[f"{self.metric}_alone"] = self.alone.score(self.metric)
        figures[f"{self.metric}_helped"] = self.helped.score(self.metric)
        return figures


def describe(figures: Mapping[str, Any]) -> str:
    """Return the figures of `Calibration.summary` in words."""
    metric = figures["metric"]
    form = ".0%" if metric == "success" else ".1f"
    takeovers = ""
    if "release_cost" in figures:
        takeovers = (
            f"cost of staying in control {figures['release_cost']:.2f} nats, takes over in "
            f"{figures['onset_rate']:.1%} of the steps, for {figures['mean_length']:.1f} in the mean; "
        )
    return (
        f"cost {figures['cost']:.2f}, scale {figures['scale']:.2f} nats; intervenes in "
        f"{figures['intervention_ratio']:.1%} of the steps (floor {figures['floor']:.2%}, AUC {figures['auc']:.2f}); "
        f"{takeovers}own actions {figures['spread']:.3g} nats from the best one; "
        f"{metric} {figures[f'{metric}_alone']:{form}} alone, {figures[f'{metric}_helped']:{form}} with interventions"
    )
