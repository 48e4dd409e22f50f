"""Sirius: half of the loss for interventions, almost nothing for what led to them."""

from enum import IntEnum

import torch
from tensordict import TensorDictBase
from torch import Tensor

from mile.methods.method import ADAM, MakeOptimizer
from mile.methods.weighted_cloning import WeightedCloning, interventions
from mile.policies import Policy
from mile.transitions import DEMONSTRATION


class StepClass(IntEnum):
    """What Sirius tells apart."""

    DEMONSTRATION = 0
    INTERVENTION = 1
    PRE_INTERVENTION = 2
    ROBOT = 3


class Sirius(WeightedCloning):
    """Clones all steps, weighted by their class.

    Args:
        policy: π_θ, starts as the initial policy.
        intervention_share: of the total weight, for interventions.
        pre_intervention_share: of the total weight, for the steps before them: 0.002 in the released code, 0 in the
            paper.
        pre_intervention_steps: how many steps before an onset these are.
        optimizer: makes the optimiser from the parameters.

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
        shares = torch.bincount(classes, minlength=len(StepClass)).double() / len(classes)
        return class_weights(shares, self.intervention_share, self.pre_intervention_share)[classes].float()


def step_classes(steps: TensorDictBase, window: int) -> Tensor:
    """Return the `StepClass` of each step, `[steps]`.

    Pre-intervention are the `window` steps before each onset of an intervention, in the same episode, back to an
    earlier intervention at most.

    Args:
        steps: whole episodes, in order, `[steps]`.
        window: in steps.
    """
    intervened, index = interventions(steps), torch.arange(len(steps))
    far = 2 * len(steps) + window
    following = torch.where(intervened, index, far).flip(0).cummin(0).values.flip(0)  # of the next intervention
    reached = following.clamp_max(len(steps) - 1)
    same = (steps["round"][reached] == steps["round"]) & (steps["episode"][reached] == steps["episode"])
    classes = torch.where((following - index <= window) & same, StepClass.PRE_INTERVENTION, StepClass.ROBOT)
    classes[intervened] = StepClass.INTERVENTION
    classes[steps["round"] == DEMONSTRATION] = StepClass.DEMONSTRATION
    return classes


def class_weights(shares: Tensor, intervention_share: float, pre_intervention_share: float) -> Tensor:
    """Return the weight of each `StepClass` `[4]` from its share of the steps; a class that is absent gets 0."""
    target = torch.tensor([shares[0], intervention_share, pre_intervention_share, 0.0], dtype=shares.dtype)
    target[StepClass.ROBOT] = (1 - target.sum()).clamp_min(0)
    return torch.where(shares > 0, target / shares, 0.0)
