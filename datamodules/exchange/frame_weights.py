"""How much each recorded step counts, for those who train elsewhere: by IWR, by Sirius, or by p(ν=1|s)."""

import torch
from tensordict import TensorDictBase
from torch import Tensor

from mile.methods.onsets import half_interventions
from mile.methods.sirius import StepClass, class_weights, step_classes
from mile.transitions import DEMONSTRATION, acted, decided

RULES = ("iwr", "sirius", "mile")
SHARE, SHARE_BEFORE, WINDOW = 0.5, 0.002, 15  # Sirius', of its released code


def frame_weights(steps: TensorDictBase, rule: str) -> Tensor:
    """Return the weight of each step, `[steps]` float64, in [0, 1], of which the largest is 1.

    Corrections without an action do not count. By "mile" a step that the human chose counts fully, and one of the
    robot's as much as it is probable that a human would leave it alone, 1 − p(ν=1|s).

    Args:
        steps: Whole episodes, one after another, `[steps]`.
        rule: Rule, one of `RULES`.

    Raises:
        ValueError: The rule needs probabilities that are not recorded; or no step counts.
    """
    if rule == "iwr":
        weights = half_interventions(steps, decided(steps) | (steps["round"] == DEMONSTRATION))
    elif rule == "sirius":
        classes = step_classes(steps, WINDOW)
        shares = torch.bincount(classes, minlength=len(StepClass)).double() / len(classes)
        weights = class_weights(shares, SHARE, SHARE_BEFORE)[classes]
    else:
        weights = torch.where(steps["intervened"], 1.0, 1 - steps["intervention_prob"])
        unknown = int(weights.isnan().sum())
        if unknown:
            raise ValueError(
                f"{unknown} of {len(steps)} steps have no p(ν=1|s); choose --by iwr or sirius, or record with a "
                "simulated human, or with a person whom MILE learns from"
            )
    weights = torch.where(steps["intervened"] & ~acted(steps["human_action"]), 0.0, weights.double())
    if not weights.any():
        raise ValueError("no step of this recording counts")
    return weights / weights.max()
