"""Sirius: half of the loss for interventions, almost nothing for the steps that led to them."""

from enum import IntEnum

import torch
from tensordict import TensorDictBase
from torch import Tensor

from mile.methods.method import ADAM, MakeOptimizer
from mile.methods.onsets import before_interventions, interventions
from mile.methods.weighted_cloning import WeightedCloning
from mile.policies import Policy
from mile.transitions import DEMONSTRATION, decided


class StepClass(IntEnum):
    """The classes of steps that Sirius weighs differently; it has the first four."""

    DEMONSTRATION = 0
    INTERVENTION = 1
    PRE_INTERVENTION = 2
    ROBOT = 3
    NO_CONSENT = 4


class Sirius(WeightedCloning):
    """Clones all steps, weighted by their class.

    The human's action is cloned in steps with ν=1, which get `intervention_share` of the total weight. The robot's own
    action is cloned in steps with ν=0: those just before an intervention get `pre_intervention_share`, all others the
    rest, and those that no human consented to nothing. Demonstrations are cloned with the share that they have of the
    steps.

    Args:
        policy: Policy π_θ, at first the initial policy.
        intervention_share: Share of the total weight for interventions.
        pre_intervention_share: Share of the total weight for the steps before interventions: 0.002 in the released
            code, 0 in the paper.
        pre_intervention_steps: Number of steps before an onset that count as such.
        optimizer: Function that makes the optimiser from the parameters.

    Source: Liu et al., "Robot learning on the job: Human-in-the-loop autonomy and learning during deployment", RSS
    2023, and its released code.
    """

    def __init__(
        self,
        policy: Policy,
        intervention_share: float = 0.5,
        pre_intervention_share: float = 0.002,
        pre_intervention_steps: int = 15,
        optimizer: MakeOptimizer = ADAM,
    ) -> None:
        super().__init__(policy, optimizer)
        self.intervention_share = intervention_share
        self.pre_intervention_share = pre_intervention_share
        self.pre_intervention_steps = pre_intervention_steps

    def loss_weights(self, steps: TensorDictBase) -> Tensor:
        """Return the weight of each step's class, `[steps]`."""
        classes = step_classes(steps, self.pre_intervention_steps)
        shares = torch.bincount(classes, minlength=len(StepClass)).double() / len(classes)  # [classes]
        weights = class_weights(shares, self.intervention_share, self.pre_intervention_share)
        return weights[classes].float()


def step_classes(steps: TensorDictBase, window: int) -> Tensor:
    """Return the `StepClass` of each step, `[steps]`.

    The `window` steps before each onset of an intervention are pre-intervention steps. They lie in the same episode,
    and reach back to an earlier intervention at most.

    Args:
        steps: Whole episodes, in order, `[steps]`.
        window: Number of steps before an onset.
    """
    intervened, before = interventions(steps), before_interventions(steps, window)

    # classes: a later line overrides an earlier one
    classes = torch.where(before, StepClass.PRE_INTERVENTION, StepClass.ROBOT)
    classes[~decided(steps)] = StepClass.NO_CONSENT
    classes[intervened] = StepClass.INTERVENTION
    classes[steps["round"] == DEMONSTRATION] = StepClass.DEMONSTRATION
    return classes


def class_weights(shares: Tensor, intervention_share: float, pre_intervention_share: float) -> Tensor:
    """Return the weight of each `StepClass` from its share of the steps; a class that is absent gets 0."""
    target = torch.zeros_like(shares)
    target[StepClass.DEMONSTRATION] = shares[StepClass.DEMONSTRATION]
    target[StepClass.INTERVENTION] = intervention_share
    target[StepClass.PRE_INTERVENTION] = pre_intervention_share
    target[StepClass.ROBOT] = (1 - target.sum()).clamp_min(0)
    return torch.where(shares > 0, target / shares, 0.0)
