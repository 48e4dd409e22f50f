"""Rounds against counting by hand, and callbacks of a round against the epochs of a real fit."""

import pytest
import torch
from lightning import Trainer
from torchrl.envs import TransformedEnv

from mile.callbacks import DeploymentCallback, EvaluationCallback, RoundCallback, Rounds
from mile.datamodules import InterventionDataModule
from mile.envs import InterventionTransform, make_env, make_policy
from mile.methods import HGDAgger
from tests.support import EveryThird, quiet_trainer


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_every_epoch_belongs_to_a_round_that_begins_and_ends_once(count, epochs):
    rounds = Rounds(count, epochs)
    expected = [number for number in range(count) for _ in range(epochs)]
    assert [rounds.round_of(epoch) for epoch in range(count * epochs)] == expected
    for number in range(count):
        members = [epoch for epoch in range(count * epochs) if rounds.round_of(epoch) == number]
        assert [epoch for epoch in members if rounds.begins_with(epoch)] == [members[0]]
        assert [epoch for epoch in members if rounds.ends_with(epoch)] == [members[-1]]
    assert [rounds.learnt(trained) for trained in range(1, count * epochs + 1)] == [1 + number for number in expected]


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0), (-1, 2)])
def test_there_is_at_least_one_round_of_one_epoch(numbers):
    with pytest.raises(ValueError, match="must be at least 1"):
        Rounds(*numbers)


class Diary(RoundCallback):
    """Writes down what happens when, and how much is recorded then."""

    def __init__(self):
        self.entries = []

    def on_round_start(self, trainer, pl_module, number):
        self.entries.append(("start", number, trainer.current_epoch, len(trainer.datamodule.buffer.episodes)))

    def on_round_end(self, trainer, pl_module, number):
        self.entries.append(("end", number, trainer.current_epoch, len(trainer.datamodule.buffer.episodes)))


def fit(folder, *callbacks):
    env = make_env("CountingBox-v0", num_envs=2)
    torch.manual_seed(0)
    trainer = quiet_trainer(*callbacks)
    data = InterventionDataModule(folder / "buffer", "CountingBox-v0", batch_size=16)
    trainer.fit(HGDAgger(make_policy(env, hidden_dims=(8,))), datamodule=data)


def deployment(rounds, epochs):
    env = TransformedEnv(make_env("CountingBox-v0", num_envs=2), InterventionTransform(EveryThird(True)))
    return DeploymentCallback(env, num_rounds=rounds, episodes_per_round=1, epochs_per_round=epochs)


def test_a_round_starts_with_its_episodes_and_ends_after_its_epochs(tmp_path):
    diary = Diary()
    fit(tmp_path, deployment(2, 3), diary)
    assert diary.entries == [("start", 0, 0, 1), ("end", 0, 2, 1), ("start", 1, 3, 2), ("end", 1, 5, 2)]


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2, 3, 4]), (3, [3]), (4, [4]), (8, [])])
def test_evaluations_keep_their_own_rhythm(tmp_path, every, expected):
    """More and less often than the rounds, of two epochs each."""
    evaluation = EvaluationCallback(make_env("CountingBox-v0", num_envs=2), 2, 0, every)
    fit(tmp_path, deployment(2, 2), evaluation)
    assert list(evaluation.evaluations) == expected


def test_without_a_deployment_a_callback_of_rounds_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="there are no rounds; add a DeploymentCallback"):
        Diary().on_train_epoch_start(Trainer(logger=False, callbacks=[], enable_checkpointing=False), None)
