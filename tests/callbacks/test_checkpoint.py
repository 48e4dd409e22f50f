import os
import signal

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchrl.envs import TransformedEnv

from mile.callbacks import DeploymentCallback, LearningCallback, RoundCheckpoint
from mile.datamodules import InterventionDataModule
from mile.envs import InterventionTransform, make_env, make_policy
from mile.methods import MILE
from mile.running.event_files import EPOCH_MEANS, forget_later

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


def fit(folder, human, *extra, ckpt_path=None, logger=False, restart=False, at_desk=False):
    torch.manual_seed(0)
    env = make_env("Counting-v0", num_envs=2)
    supervised = TransformedEnv(make_env("Counting-v0", num_envs=2), InterventionTransform(human))
    trainer = Trainer(
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=1,
        callbacks=[
            DeploymentCallback(supervised, num_rounds=3, episodes_per_round=2, epochs_per_round=EPOCHS),
            LearningCallback(),
            *extra,
            RoundCheckpoint(folder, at_desk),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=-1,
    )
    method = MILE(make_policy(env, hidden_dims=(8,)), make_policy(env, hidden_dims=(8,)), 1.0, 2.0)
    data = InterventionDataModule(folder / "buffer", "Counting-v0", batch_size=4, restart=restart)
    trainer.fit(method, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return method


def names(folder):
    return {path.name for path in folder.glob("*.ckpt")}


def test_the_last_two_rounds_are_kept(tmp_path, every_third):
    fit(tmp_path, every_third)
    assert names(tmp_path) == {"epoch_5.ckpt", "epoch_8.ckpt"}


@pytest.mark.filterwarnings("ignore:'.*' holds 4 episodes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_within_an_epoch_saves_and_goes_on_to_the_same_weights(tmp_path, every_third, number):
    whole = fit(tmp_path / "whole", every_third)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        fit(tmp_path / "run", every_third, SendsSignal(number, 4, "batch 0"))
    assert stopped.value.code == 128 + number
    assert names(tmp_path / "run") == {"epoch_2.ckpt", "epoch_4.ckpt"}
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    resumed = fit(tmp_path / "run", every_third, ckpt_path=tmp_path / "run" / "epoch_4.ckpt")
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_stop_between_epochs_does_not_wait(tmp_path, every_third):
    with pytest.raises(SystemExit) as stopped:
        fit(tmp_path, every_third, SendsSignal(signal.SIGTERM, 3, "between epochs"))
    assert stopped.value.code == 128 + signal.SIGTERM
    assert names(tmp_path) == {"epoch_2.ckpt"}


@pytest.mark.filterwarnings("ignore:'.*' holds 4 episodes")
def test_at_a_desk_a_stop_never_waits_and_the_round_is_learnt_anew(tmp_path, every_third):
    """At the end of an epoch the robot may be evaluated."""
    whole = fit(tmp_path / "whole", every_third)
    with pytest.raises(SystemExit):
        fit(tmp_path / "run", every_third, SendsSignal(signal.SIGINT, 4, "batch 0"), at_desk=True)
    assert names(tmp_path / "run") == {"epoch_2.ckpt"}
    resumed = fit(tmp_path / "run", every_third, ckpt_path=tmp_path / "run" / "epoch_2.ckpt", at_desk=True)
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


def logged(folder):
    """The steps of each tag, scalars and the rest, in a run's folder."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore:'.*' holds .* episodes")
@pytest.mark.parametrize(("epoch", "checkpoint"), [(4, "epoch_4.ckpt"), (7, "epoch_5.ckpt"), (1, None)])
def test_what_a_run_that_goes_on_logs_again_is_there_once(tmp_path, every_third, epoch, checkpoint):
    """It was stopped within a round, killed after one, or killed before its first checkpoint."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    fit(whole, every_third, logger=TensorBoardLogger(whole, "", "", default_hp_metric=False))
    stop = SendsSignal(signal.SIGTERM, epoch, "batch 1") if epoch == 4 else Dies(epoch)
    with pytest.raises((SystemExit, RuntimeError)):
        fit(run, every_third, stop, logger=TensorBoardLogger(run, "", "", default_hp_metric=False))
    path = checkpoint and run / checkpoint
    forget_later(run, path)
    fit(run, every_third, ckpt_path=path, logger=TensorBoardLogger(run, "", "", default_hp_metric=False))

    expected = logged(whole)
    if epoch == 4:  # a signal ends the program before Lightning logs the means of its epoch
        for tag, steps in expected.items():
            if tag.startswith(EPOCH_MEANS):
                steps.pop(epoch)
    assert logged(run) == expected


class Dies(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            for logger in trainer.loggers:
                logger.experiment.flush()
            raise RuntimeError


def test_with_restarts_the_drift_is_measured_from_where_learning_began(tmp_path, every_third):
    seen = []

    class Listens(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            learning = next(it for it in trainer.callbacks if isinstance(it, LearningCallback))
            seen.append({name: weights.clone() for name, weights in learning.before.state_dict().items()})

    method = fit(tmp_path, every_third, Listens(), restart=True)
    for before in seen[1:]:
        assert all(torch.equal(before[name], seen[0][name]) for name in before)
    assert not all(torch.equal(weights, seen[0][name]) for name, weights in method.policy.state_dict().items())
