"""What training does to the networks: asked of each round once it is trained on."""

from copy import deepcopy
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from tensordict import TensorDictBase
from torch import Tensor
from torch.distributions import kl_divergence
from torch.nn.utils import get_total_norm

from mile.methods import Method
from mile.policies import Policy

MAX_STEPS = 4096  # recorded steps that a round is asked about, evenly spread


class LearningCallback(Callback):
    """Logs what each term of the loss asks of each network, and how far the policy moved where nobody intervened.

    * `gradient/<term>/<network>`: L2 norm of that term's own gradient at the end of a round, where a loss has terms;
    * `gradient/cosine`: between the gradients of `intervention_loss` and `policy_loss` in the policy: below 0 they pull
      apart;
    * `drift/not_intervened`, `drift/intervened`: mean KL(π where the round's learning began ‖ π after it) over recorded
      steps with ν=0 and ν=1, nats. With restarts learning begins from the initial policy, not from the one deployed.

    The module must be a `Method`. Comes after the `DeploymentCallback`, which restarts.

    Args:
        every_n_epochs: as many as a round has.
    """

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = every_n_epochs
        self.before: Policy | None = None
        self.restored: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the weights that began the round, for a run that is stopped within it."""
        return {} if self.before is None else dict(self.before.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep them until there is a policy to put them into."""
        self.restored = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put them into a policy."""
        if self.restored:
            self.before = deepcopy(cast(Policy, pl_module.policy))
            self.before.load_state_dict(self.restored)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the policy that begins a round, in which there may be nothing to learn from."""
        if trainer.current_epoch % self.every_n_epochs == 0:
            self.before = deepcopy(cast(Policy, pl_module.policy))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the policy that a round's learning begins with, after a restart."""
        if not batch_idx:
            self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare at the end of a round."""
        number, epoch = divmod(trainer.current_epoch, self.every_n_epochs)
        if epoch + 1 != self.every_n_epochs:
            return
        buffer = trainer.datamodule.buffer
        rows = buffer.rows(range(number + 1))
        if not len(rows):  # demonstrations alone
            return
        steps = trainer.datamodule.steps()[rows[:: len(rows) // MAX_STEPS + 1]].to(pl_module.device)
        gradients = term_gradients(cast(Method, pl_module), steps)
        metrics = {"/".join(("gradient", *key)): float(get_total_norm(them)) for key, them in gradients.items()}
        if ("policy_loss", "policy") in gradients:
            ours, theirs = (
                torch.cat([part.flatten() for part in gradients[term, "policy"]])
                for term in ("intervention_loss", "policy_loss")
            )
            metrics["gradient/cosine"] = float(torch.cosine_similarity(ours, theirs, dim=0))
        before, after = cast(Policy, self.before), cast(Policy, pl_module.policy)
        with torch.no_grad():
            divergence = kl_divergence(before(steps["observation"]), after(steps["observation"]))
        for name, where in (("intervened", steps["intervened"]), ("not_intervened", ~steps["intervened"])):
            if where.any():
                metrics[f"drift/{name}"] = float(divergence[where].mean())
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=number)


def term_gradients(method: Method, steps: TensorDictBase) -> dict[tuple[str, str], tuple[Tensor, ...]]:
    """Return the gradient of each term of the loss in each network's weights, by term and network."""
    if not method.automatic_optimization:
        return {}  # there is no loss on recorded steps
    terms = method.loss(steps)._asdict()
    return {
        (term, name): torch.autograd.grad(
            terms[term], list(network.parameters()), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        for term in [term for term in terms if term != "loss"]
        for name, network in method.networks().items()
    }
