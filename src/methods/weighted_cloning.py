"""The base of HG-DAgger, IWR and Sirius: behaviour cloning, of some steps more than of others."""

from tensordict import TensorDictBase

from mile.methods.method import Loss, Method
from mile.transitions import action_taken


class WeightedCloning(Method):
    """Clones the human's action where the human acted, and the robot's own action elsewhere.

    The loss is the mean of w · NLL. A subclass gives each step its weight w in the loss, or says how often it is drawn.
    """

    learns_chunks = True
    needs_density = False

    def loss(self, batch: TensorDictBase) -> Loss:
        """Return the loss for recorded steps `[batch_size]`; the entry `weight`, if there is one, is w."""
        nll = -self.policy.at(batch).log_prob(action_taken(batch))  # [batch_size]
        if "weight" in batch.keys():
            nll = nll * batch["weight"]
        return Loss(nll.mean())
