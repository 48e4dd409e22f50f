"""A rollout of every round to look at in TensorBoard."""

from collections.abc import Callable

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torchrl.envs import EnvBase, TransformedEnv

from mile.envs import InterventionTransform
from mile.humans import Human
from mile.video import record_video


class VideoCallback(Callback):
    """Records the policy under the human's eyes at the end of every round; the human's frames have a red border.

    Args:
        make_env: makes an environment of one copy with `render_mode="rgb_array"`.
        human: who intervenes.
        seed: of the episode.
        every_n_epochs: as many as a round has.
    """

    def __init__(self, make_env: Callable[[], EnvBase], human: Human, seed: int, every_n_epochs: int) -> None:
        self.make_env = make_env
        self.human = human
        self.seed = seed
        self.every_n_epochs = every_n_epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record one episode."""
        number, epoch = divmod(trainer.current_epoch, self.every_n_epochs)
        if epoch + 1 != self.every_n_epochs:
            return
        env = TransformedEnv(self.make_env(), InterventionTransform(self.human))
        frames = torch.from_numpy(record_video(env, pl_module.policy, self.seed)[::2, ::2, ::2])
        env.close()
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_video("rollout", frames.permute(0, 3, 1, 2)[None], number, fps=25)
