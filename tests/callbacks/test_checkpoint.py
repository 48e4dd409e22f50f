import os
import signal

import pytest
import torch
from lightning import Callback, Trainer
from torchrl.envs import TransformedEnv

from mile.callbacks import DeploymentCallback, LearningCallback, RoundCheckpoint
from mile.datamodules import InterventionDataModule
from mile.envs import InterventionTransform, make_env, make_policy
from mile.methods import MILE

EPOCHS = 3  # a round


class SendsSignal(Callback):
    def __init__(self, number, epoch, at):
        self.number, self.epoch, self.at = number, epoch, at

    def send(self, trainer, at):
        if trainer.current_epoch == self.epoch and at == self.at:
            os.kill(os.getpid(), self.number)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.send(trainer, f"batch {batch_idx}")

    def on_train_epoch_start(self, trainer, pl_module):
        self.send(trainer, "between epochs")


def fit(folder, human, *extra, ckpt_path=None):
    torch.manual_seed(0)
    env = make_env("Counting-v0", num_envs=2)
    supervised = TransformedEnv(make_env("Counting-v0", num_envs=2), InterventionTransform(human))
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[
            DeploymentCallback(supervised, num_rounds=3, episodes_per_round=2, epochs_per_round=EPOCHS),
            LearningCallback(EPOCHS),
            *extra,
            RoundCheckpoint(folder, EPOCHS),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=-1,
    )
    method = MILE(make_policy(env, hidden_dims=(8,)), make_policy(env, hidden_dims=(8,)), 1.0, 2.0)
    data = InterventionDataModule(folder / "buffer", "Counting-v0", batch_size=4)
    trainer.fit(method, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return method


def names(folder):
    return {path.name for path in folder.glob("*.ckpt")}


def test_the_last_two_rounds_are_kept(tmp_path, every_third):
    fit(tmp_path, every_third)
    assert names(tmp_path) == {"epoch=5.ckpt", "epoch=8.ckpt"}


@pytest.mark.filterwarnings("ignore:'.*' holds 4 episodes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_within_an_epoch_saves_and_goes_on_to_the_same_weights(tmp_path, every_third, number):
    whole = fit(tmp_path / "whole", every_third)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        fit(tmp_path / "run", every_third, SendsSignal(number, 4, "batch 0"))
    assert stopped.value.code == 128 + number
    assert names(tmp_path / "run") == {"epoch=2.ckpt", "epoch=4.ckpt"}
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    resumed = fit(tmp_path / "run", every_third, ckpt_path=tmp_path / "run" / "epoch=4.ckpt")
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_stop_between_epochs_does_not_wait(tmp_path, every_third):
    with pytest.raises(SystemExit) as stopped:
        fit(tmp_path, every_third, SendsSignal(signal.SIGTERM, 3, "between epochs"))
    assert stopped.value.code == 128 + signal.SIGTERM
    assert names(tmp_path) == {"epoch=2.ckpt"}
