"""HG-DAgger: clone the human where they acted, and discard the rest."""

from tensordict import TensorDictBase
from torch import Tensor

from mile.methods.weighted_cloning import WeightedCloning


class HGDAgger(WeightedCloning):
    """Clones the steps in which the human acted, all equally often.

    Steps with ν=1 are cloned. Steps with ν=0 are discarded. Demonstrations are cloned like steps with ν=1.

    Source: Kelly et al., "HG-DAgger: Interactive imitation learning with human experts", ICRA 2019.
    """

    def sampling_weights(self, steps: TensorDictBase) -> Tensor:
        """Return 1 where the human acted, 0 elsewhere, `[steps]`."""
        return steps["intervened"].float()
