"""Shows a rollout of every round in TensorBoard."""

import io
from collections.abc import Callable
from typing import ClassVar, cast

from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torchrl.envs import EnvBase, TransformedEnv

from mile.callbacks.rounds import RoundCallback
from mile.envs import InterventionTransform
from mile.humans import Human
from mile.policies import Policy
from mile.recordings.video import record_video, write_video


class VideoCallback(RoundCallback):
    """Records an episode of the supervised policy at the end of every round; the human's frames have a red border.

    Args:
        make_env: Function that makes an environment of one copy with `render_mode="rgb_array"`.
        human: Human who supervises the policy.
        seed: Seed of the episode.
    """

    NEEDS: ClassVar = {"make_env": "make_pictured_env", "human": "human"}

    def __init__(self, make_env: Callable[[], EnvBase], human: Human, seed: int) -> None:
        self.make_env = make_env
        self.human = human
        self.seed = seed

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Record one episode."""
        env = TransformedEnv(self.make_env(), InterventionTransform(self.human))
        frames = record_video(env, cast(Policy, pl_module.policy), self.seed)[::2, ::2, ::2]
        env.close()

        # a GIF: torch's own add_video fails with current versions of moviepy
        content = io.BytesIO()
        write_video(content, frames, frames_per_second=25)

        # TensorBoard shows a GIF as an image
        height, width, channels = frames.shape[1:]
        image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=content.getvalue())
        summary = Summary(value=[Summary.Value(tag="rollout", image=image)])
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.file_writer.add_summary(summary, number)
