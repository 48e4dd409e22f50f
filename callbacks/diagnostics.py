"""Does the intervention model predict the human? Asked of each round before it is trained on."""

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc


class InterventionModelCallback(Callback):
    """Compares p(ν=1|s) with the interventions of the newest round, which the module has not seen yet.

    Logs the accuracy beside that of always predicting the majority, AUC, BCE and Brier score, and for TensorBoard a
    histogram of p(ν=1|s) and a reliability diagram. The module must have `intervention_prob(observation)`.

    Args:
        every_n_epochs: as many as a round has.
    """

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = every_n_epochs

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare, if this epoch is the first of its round."""
        number, epoch = divmod(trainer.current_epoch, self.every_n_epochs)
        if epoch:
            return
        buffer = trainer.datamodule.buffer
        steps = buffer.steps[buffer.rows([number])]
        prob = pl_module.intervention_prob(steps["observation"].to(pl_module.device)).double().cpu()  # pyright: ignore
        metrics = prediction_metrics(prob, steps["intervened"])
        for logger in trainer.loggers:
            logger.log_metrics({f"prediction/{name}": value for name, value in metrics.items()}, step=number)
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_histogram("prediction/intervention_prob", prob, number)
                figure = reliability_diagram(prob, steps["intervened"])
                logger.experiment.add_figure("prediction/reliability", figure, number)


def prediction_metrics(prob: Tensor, intervened: Tensor) -> dict[str, float]:
    """Rate predictions of ν.

    Args:
        prob: p(ν=1|s), `[steps]`.
        intervened: ν, `[steps]` bool.

    Returns:
        accuracy, majority_accuracy (of always predicting the more frequent ν), bce (nats), brier and, if both ν occur,
        auc.
    """
    actual = intervened.double()
    ratio = float(actual.mean())
    metrics = {
        "accuracy": float(((prob > 0.5) == intervened).double().mean()),
        "majority_accuracy": max(ratio, 1 - ratio),
        "bce": float(torch.nn.functional.binary_cross_entropy(prob, actual)),
        "brier": float(((prob - actual) ** 2).mean()),
    }
    if 0 < ratio < 1:
        metrics["auc"] = float(binary_auroc(prob, intervened.long()))
    return metrics


def reliability_diagram(prob: Tensor, intervened: Tensor, bins: int = 10) -> Figure:
    """Plot how often the human intervened where the model gave p(ν=1|s), in equal bins of p."""
    index = (prob * bins).long().clamp_max(bins - 1)
    count = torch.zeros(bins, dtype=torch.float64).index_add_(0, index, torch.ones_like(prob))
    predicted = torch.zeros_like(count).index_add_(0, index, prob) / count
    observed = torch.zeros_like(count).index_add_(0, index, intervened.double()) / count
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.scatter(predicted, observed, s=10 + 200 * count / count.sum())
    axes.set(xlabel="predicted p(ν=1|s)", ylabel="share of steps with ν=1", xlim=(0, 1), ylim=(0, 1))
    return figure
