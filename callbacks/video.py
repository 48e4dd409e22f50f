"""A rollout of every round to look at in TensorBoard."""

import io
from collections.abc import Callable
from typing import cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torchrl.envs import EnvBase, TransformedEnv

from mile.envs import InterventionTransform
from mile.humans import Human
from mile.policies import Policy
from mile.recordings.video import record_video, write_video


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
        frames = record_video(env, cast(Policy, pl_module.policy), self.seed)[::2, ::2, ::2]
        env.close()
        content = io.BytesIO()
        write_video(content, frames, frames_per_second=25)
        # torch's own add_video does not know today's moviepy; TensorBoard shows a GIF as an image
        height, width, channels = frames.shape[1:]
        image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=content.getvalue())
        summary = Summary(value=[Summary.Value(tag="rollout", image=image)])
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.file_writer.add_summary(summary, number)
