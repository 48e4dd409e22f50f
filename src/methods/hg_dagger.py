"""HG-DAgger: clone the human where they acted, and forget the rest."""

from tensordict import TensorDictBase
from torch import Tensor

from mile.methods.weighted_cloning import WeightedCloning


class HGDAgger(WeightedCloning):
    """Behaviour cloning of the steps in which the human acted, demonstrations among them; robot steps are discarded.

    Source: Kelly et al., "HG-DAgger: Interactive imitation learning with human experts", ICRA 2019.
    """

    def sampling_weights(self, steps: TensorDictBase) -> Tensor:
        """Return 1 where the human acted, 0 elsewhere, `[steps]`."""
        return steps["intervened"].float()
