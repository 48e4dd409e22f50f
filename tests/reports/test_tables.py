import json
from types import SimpleNamespace

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchrl.envs import TransformedEnv

from mile.callbacks import DeploymentCallback, EvaluationCallback, RoundProgressBar
from mile.datamodules import InterventionDataModule
from mile.envs import InterventionTransform, make_env, make_policy
from mile.evaluation import by_round, evaluate_policy
from mile.methods import HGDAgger
from mile.reports.conclusion import conclude
from mile.reports.runs import read_runs
from tests.support import EveryThird

ROUNDS, EPOCHS = 4, 2


def learnt(folder, every):
    """A run of four rounds of two epochs, from the first deployment to the files and the table at its end."""
    torch.manual_seed(0)
    env = make_env("CountingBox-v0", num_envs=2)
    supervised = TransformedEnv(make_env("CountingBox-v0", num_envs=2), InterventionTransform(EveryThird(True)))
    deployment, evaluation = DeploymentCallback(supervised, ROUNDS, 2, EPOCHS), EvaluationCallback(env, 4, 0, every)
    bar = RoundProgressBar()
    trainer = Trainer(
        accelerator="cpu",
        logger=TensorBoardLogger(folder, "", ""),
        callbacks=[deployment, evaluation, bar],
        enable_checkpointing=False,
        enable_model_summary=False,
        max_epochs=-1,
        log_every_n_steps=1,
    )
    method = HGDAgger(make_policy(env, hidden_dims=(8,)), optimizer=lambda weights: torch.optim.Adam(weights, 0.01))
    initial = evaluate_policy(env, method.policy, 4, 0)
    trainer.fit(method, datamodule=InterventionDataModule(folder / "buffer", "CountingBox-v0", batch_size=16))
    cfg = OmegaConf.create(
        {
            "name": "counting",
            "output_dir": str(folder),
            "command": "",
            "seed": 0,
            "variant": None,
            "demonstrations": 0,
            "data": {"from": None, "restart": False},
            "method": {"_target_": "mile.methods.HGDAgger"},
            "env": {"name": "CountingBox-v0"},
            "evaluation": {"num_episodes": 4},
            "callbacks": {"deployment": {"epochs_per_round": EPOCHS}, "evaluation": {"every_n_epochs": every}},
            **dict.fromkeys(("collector", "logger", "trainer")),
        }
    )
    OmegaConf.save(cfg, folder / "config.yaml")
    human = SimpleNamespace(expert=method.policy)
    parts = SimpleNamespace(method=method, metric="return", at_desk=True, simulators=env, human=human)
    conclude(cfg, parts, deployment.outcomes, evaluation.evaluations, {"initial policy": initial})
    return bar.describe()


@pytest.mark.parametrize(
    ("every", "booked"),
    [
        pytest.param(1, {1: 2, 2: 4, 3: 6, 4: 8}, id="twice a round"),
        pytest.param(2, {1: 2, 2: 4, 3: 6, 4: 8}, id="every round"),
        pytest.param(4, {2: 4, 4: 8}, id="every second round"),
        pytest.param(3, {2: 3, 3: 6}, id="every round and a half"),
    ],
)
def test_an_evaluation_is_booked_on_the_last_round_that_was_learnt_from(tmp_path, capsys, monkeypatch, every, booked):
    """`booked` has the epochs trained before the evaluation of each round, counted by hand."""
    monkeypatch.setenv("COLUMNS", "200")
    described = learnt(tmp_path, every)
    evaluated = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(evaluated) == [str(epochs) for epochs in range(1, 9) if epochs % every == 0]
    scores = {number: evaluated[str(epochs)]["mean_return"] for number, epochs in booked.items()}
    assert len({f"{row['mean_return']:.1f}" for row in evaluated.values()}) == len(evaluated)  # none is mistaken

    outcomes, _ = read_runs([tmp_path])
    assert {outcome.round: outcome.score for outcome in outcomes if not outcome.final} == scores

    cells = [[cell.strip() for cell in line.split("│")] for line in capsys.readouterr().out.splitlines()]
    printed = {int(row[1]): row[-2].split(" ")[0] for row in cells if len(row) > 2 and row[1].isdigit()}
    assert printed == {number: f"{scores[number]:.1f}" if number in scores else "" for number in (1, 2, 3, 4)}

    logged = EventAccumulator(str(tmp_path)).Reload().Scalars("evaluation/return")
    assert {event.step: event.value for event in logged} == pytest.approx(
        {number - 1: score for number, score in scores.items()}
    )
    assert described.endswith(f"(round {max(booked)})")


@pytest.mark.parametrize("epochs_per_round", [1, 2, 3, 7, 300])
def test_a_round_is_the_number_of_deployments_before(epochs_per_round):
    """Counted one by one: before epochs 0, m, 2 m and so on."""
    for epochs in range(1, 1000):
        deployments = sum(1 for epoch in range(epochs) if epoch % epochs_per_round == 0)
        assert by_round({epochs: "outcome"}, epochs_per_round) == {deployments: "outcome"}


def test_the_last_evaluation_within_a_round_is_the_rounds():
    assert by_round({4: "d", 2: "b", 1: "a", 3: "c"}, 3) == {1: "c", 2: "d"}
    assert by_round({}, 3) == {}
