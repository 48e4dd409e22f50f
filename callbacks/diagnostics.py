"""Does the intervention model predict the human? Asked of each round before it is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensordict import TensorDictBase
from torch import Tensor

from mile.intervention import intervention_floor
from mile.recordings.prediction import prediction_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP = ("own", "expected")  # its two parts, see `mile.intervention.gap_parts`


class InterventionModelCallback(Callback):
    """Compares p(ν=1|s) with the interventions of the newest round, which the module has not seen yet.

    Logs what `mile.recordings.prediction.prediction_metrics` says, the floor Φ(−c/σ), and for TensorBoard a histogram
    of p(ν=1|s), a reliability diagram and a plot of one episode. A module without `intervention_prob(observation)` is
    left alone; one without `gap_parts(observation)`, `cost` and `scale` has no gap.

    Args:
        every_n_epochs: as many as a round has.
    """

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = every_n_epochs

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare, if this epoch is the first of its round."""
        number, epoch = divmod(trainer.current_epoch, self.every_n_epochs)
        if epoch or not hasattr(pl_module, "intervention_prob"):
            return
        buffer = trainer.datamodule.buffer
        steps = trainer.datamodule.steps()[buffer.rows([number])].cpu()
        if not len(steps):  # demonstrations alone: nobody could intervene
            return
        observation = steps["observation"].to(pl_module.device)
        prob = pl_module.intervention_prob(observation).cpu().double()  # pyright: ignore
        metrics = {f"prediction/{name}": value for name, value in prediction_metrics(prob, steps["intervened"]).items()}
        gap: list[Tensor] = []
        if hasattr(pl_module, "gap_parts"):
            gap = [part.cpu().double() for part in pl_module.gap_parts(observation)]  # pyright: ignore
            metrics["prediction/floor"] = intervention_floor(pl_module.cost, pl_module.scale)  # pyright: ignore
            for name, where in (("intervened", steps["intervened"]), ("not_intervened", ~steps["intervened"])):
                if where.any():
                    for of, part in zip(GAP, gap, strict=True):
                        metrics[f"gap/{of}_{name}"] = float(part[where].mean())
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=number)
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_histogram("prediction/intervention_prob", prob, number)
                figure = reliability_diagram(prob, steps["intervened"])
                logger.experiment.add_figure("prediction/reliability", figure, number)
                longest = steps["episode"][steps["step"].argmax()]
                shown = steps["episode"] == longest
                figure = episode_plot(steps[shown], prob[shown], [part[shown] for part in gap])
                logger.experiment.add_figure("prediction/episode", figure, number)


def reliability_diagram(prob: Tensor, intervened: Tensor, bins: int = 10) -> Figure:
    """Plot how often the human intervened where the model gave p(ν=1|s), in equal bins of p."""
    from matplotlib.figure import Figure

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


def episode_plot(steps: TensorDictBase, prob: Tensor, gap: Sequence[Tensor] = ()) -> Figure:
    """Plot p(ν=1|s) along an episode over the interventions that happened; below it the two parts of the gap, if given.

    Args:
        steps: one episode, `[steps]`.
        prob: p(ν=1|s) as the model has it, `[steps]`.
        gap: E_{a ~ π}[ln π(a|s)] and E_{a' ~ π̂}[ln π(a'|s)], each `[steps]`, nats.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    above, *below = figure.subplots(1 + bool(gap), sharex=True, squeeze=False).flat
    above.fill_between(steps["step"], steps["intervened"].float(), step="mid", color="0.85", label="ν=1 (human acted)")
    above.plot(steps["step"], prob, label="p(ν=1|s), model")
    if steps["intervention_prob"].isfinite().all():
        above.plot(steps["step"], steps["intervention_prob"], linewidth=0.8, label="p(ν=1|s), simulated human")
    above.set(ylabel="probability", ylim=(0, 1))
    above.legend(loc="upper right")
    for axes in below:
        axes.plot(steps["step"], gap[0], label="of its own action")
        axes.plot(steps["step"], gap[1], label="of what is expected of the robot")
        axes.set(ylabel="mean ln π(a|s), nats", yscale="symlog")
        axes.legend(loc="lower right")
    [above, *below][-1].set(xlabel=f"step of episode {int(steps['episode'][0])}")
    return figure
