"""IWR: draw as many steps of the human as of the robot."""

from tensordict import TensorDictBase
from torch import Tensor

from mile.methods.onsets import half_interventions
from mile.methods.weighted_cloning import WeightedCloning
from mile.transitions import DEMONSTRATION, decided


class IWR(WeightedCloning):
    """Intervention-weighted regression: clones all steps, interventions and others half and half in expectation.

    The human's action is cloned in steps with ν=1, which make up half of each batch in expectation. The robot's own
    action is cloned in steps with ν=0 that a human consented to, which share the other half with the demonstrations. In
    demonstrations the human's action is cloned, but they do not count as interventions.

    Source: Mandlekar et al., "Human-in-the-loop imitation learning using remote teleoperation", 2020.
    """

    def sampling_weights(self, steps: TensorDictBase) -> Tensor:
        """Return m / n for the n interventions, 1 for the m others that are drawn, 0 elsewhere, `[steps]`."""
        return half_interventions(steps, decided(steps) | (steps["round"] == DEMONSTRATION))
