"""Measures whether the intervention model predicts the human, on each round before the round is learnt from."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from tensordict import TensorDictBase
from torch import Tensor

from mile.callbacks.rounds import RoundCallback
from mile.intervention import intervention_floor
from mile.recordings.prediction import prediction_metrics
from mile.transitions import decided

GAP_PARTS = ("own", "expected")  # of `mile.intervention.gap_parts`


class InterventionModelCallback(RoundCallback):
    """Compares p(ν=1) with the interventions of the newest round, which the module has not seen yet.

    A module that lives in time predicts each step given ν in the steps before it, as a console shows it.

    Logs what `mile.recordings.prediction.prediction_metrics` returns, the floor Φ(−c/σ), and the mean of both parts of
    the gap where the human intervened and where they did not. TensorBoard gets a histogram of p(ν=1), a reliability
    diagram and a plot of one episode. Steps in which the human did not decide do not count. A module without
    `predict(steps)` is ignored; one without `gap_parts(steps)`, `cost` and `scale` has no gap.
    """

    def on_round_start(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Compare, and log."""
        if not hasattr(pl_module, "predict"):
            return
        module: Any = pl_module
        buffer = trainer.datamodule.buffer
        steps = buffer.at(buffer.rows([number]))  # all entries, not those alone that the method reads
        if not len(steps):  # demonstrations alone: nobody could intervene
            return

        free = decided(steps)  # where ν is to be predicted at all
        if not free.any():
            return

        # predictions
        prob, intervened = module.predict(steps), steps["intervened"]
        metrics = {}
        for name, value in prediction_metrics(prob[free], intervened[free]).items():
            metrics[f"prediction/{name}"] = value

        # the gap, and where the human intervened
        gap: list[Tensor] = []
        if hasattr(pl_module, "gap_parts"):
            gap = [part.cpu().double() for part in module.gap_parts(module.observed(steps))]
            metrics["prediction/floor"] = intervention_floor(module.cost, module.scale)
            for name, where in (("intervened", intervened & free), ("not_intervened", ~intervened & free)):
                if where.any():
                    for part_name, part in zip(GAP_PARTS, gap, strict=True):
                        metrics[f"gap/{part_name}_{name}"] = float(part[where].mean())

        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=number)
            if isinstance(logger, TensorBoardLogger):
                _add_figures(logger.experiment, number, steps, prob, gap)


def _add_figures(writer: Any, number: int, steps: TensorDictBase, prob: Tensor, gap: Sequence[Tensor]) -> None:
    """Add histogram, reliability diagram and the longest episode's plot to TensorBoard's writer."""
    free = decided(steps)
    writer.add_histogram("prediction/intervention_prob", prob[free], number)
    writer.add_figure("prediction/reliability", reliability_diagram(prob[free], steps["intervened"][free]), number)

    longest = steps["episode"] == steps["episode"][steps["step"].argmax()]
    figure = episode_plot(steps[longest], prob[longest], [part[longest] for part in gap])
    writer.add_figure("prediction/episode", figure, number)


def reliability_diagram(prob: Tensor, intervened: Tensor, bins: int = 10) -> Figure:
    """Plot how often the human intervened against the model's p(ν=1|s), in equal bins of p.

    Args:
        prob: Predicted p(ν=1|s), `[steps]` float64.
        intervened: Observed ν, `[steps]` bool.
        bins: Number of bins.
    """
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
    """Plot p(ν=1|s) along an episode over the observed interventions, and the two parts of the gap below.

    Args:
        steps: Steps of one episode, `[steps]`.
        prob: Predicted p(ν=1|s), `[steps]`.
        gap: Parts of the gap E_{a ~ π}[ln π(a|s)] and E_{a' ~ π̂}[ln π(a'|s)], each `[steps]`, nats; or none.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    rows = 2 if gap else 1
    all_axes = list(figure.subplots(rows, sharex=True, squeeze=False).flat)

    # probabilities
    axes = all_axes[0]
    axes.fill_between(steps["step"], steps["intervened"].float(), step="mid", color="0.85", label="ν=1 (human acted)")
    axes.plot(steps["step"], prob, label="p(ν=1|s), model")
    if steps["intervention_prob"].isfinite().all():
        axes.plot(steps["step"], steps["intervention_prob"], linewidth=0.8, label="p(ν=1|s), simulated human")
    axes.set(ylabel="probability", ylim=(0, 1))
    axes.legend(loc="upper right")

    # the gap
    if gap:
        axes = all_axes[1]
        axes.plot(steps["step"], gap[0], label="of its own action")
        axes.plot(steps["step"], gap[1], label="of what is expected of the robot")
        axes.set(ylabel="mean ln π(a|s), nats", yscale="symlog")
        axes.legend(loc="lower right")
    axes.set(xlabel=f"step of episode {int(steps['episode'][0])}")
    return figure
