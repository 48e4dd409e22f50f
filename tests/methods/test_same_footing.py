"""The same recording, the same gradient steps, batches of as many rows, and the same search, for every method."""

import csv
from pathlib import Path

import pytest

from mile.methods import APO, EIL, HACO, PPL, PVP, AdvantageConditioned, BCIntervention, Residual
from mile.plans.paper import Paper
from mile.plans.runs import CLONING, OTHERS, TASKS
from tests.methods.training import CLONING as CLONING_KINDS
from tests.methods.training import ENVIRONMENTS, train
from tests.support import composed

DATA = Path(__file__).parents[2] / "docs" / "results" / "data"


@pytest.mark.parametrize("task", TASKS)
def test_the_plan_gives_every_method_the_same_recording_steps_and_rows(task):
    footing = {}
    for job in Paper(Path("outputs")):
        experiment, label, seed = job.name.split("/")
        if experiment == task and label.endswith("_same_data") and seed == "seed_5":
            cfg = composed("train", *job.overrides, "output_dir=here")
            rounds = cfg.callbacks.deployment
            steps = rounds.num_rounds * rounds.epochs_per_round * cfg.data.batches_per_epoch
            footing[label] = (
                steps,
                cfg.data.batch_size,
                cfg.data["from"],
                cfg.data.restart,
                cfg.evaluation.num_episodes,
            )
    wanted = {f"{method}_same_data" for method in (*CLONING, *OTHERS)} | {"bc_intervention_one_network_same_data"}
    assert set(footing) == wanted
    assert len(set(footing.values())) == 1

    # MILE's own run, which they learn from, has as many
    cfg = composed("train", *next(job for job in Paper(Path("outputs")) if job.name == f"{task}/mile/seed_5").overrides)
    rounds = cfg.callbacks.deployment
    steps, batch_size, *_ = footing["iwr_same_data"]
    assert (rounds.num_rounds * rounds.epochs_per_round * cfg.data.batches_per_epoch, cfg.data.batch_size) == (
        steps,
        batch_size,
    )


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("task", TASKS)
def test_the_readmes_command_learns_as_long_whatever_the_method(task, method):
    one, other = (composed("train", f"experiment={task}", f"method={name}") for name in ("mile", method))
    for key in ("num_rounds", "episodes_per_round", "epochs_per_round"):
        assert one.callbacks.deployment[key] == other.callbacks.deployment[key]
    assert one.data == other.data


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_method_is_served_as_many_full_batches(tmp_path, name, monkeypatch):
    kinds = [*CLONING_KINDS, BCIntervention, PPL, APO, EIL, PVP, HACO, Residual, AdvantageConditioned]
    served = {}
    for kind in kinds:
        lengths = served[kind] = []

        def loss(self, batch, lengths=lengths, own=kind.loss):
            lengths.append(len(batch))
            return own(self, batch)

        monkeypatch.setattr(kind, "loss", loss)
        train(tmp_path / kind.__name__, kind, name, rounds=1, batches_per_epoch=2)
    assert {tuple(lengths) for lengths in served.values()} == {(16,) * 6}


@pytest.mark.parametrize("table", ["learning_rates", "learning_rates_of_others"])
def test_every_method_had_the_same_search(table):
    tried = {}
    with (DATA / f"{table}.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            tried.setdefault((row["task"], row["method"]), set()).add((float(row["rate"]), row["seed"]))
    wanted = {(rate, seed) for rate in (3e-5, 1e-4, 3e-4) for seed in ("100", "101")}
    assert all(pairs == wanted for pairs in tried.values())


@pytest.mark.parametrize("task", ["lunarlander", "button_press", "drawer_open", "peg_insert"])
def test_the_rate_that_is_used_is_the_best_of_the_search(task):
    scores = {}
    with (DATA / "learning_rates_of_others.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["task"] == task and row["method"] in OTHERS:
                scores.setdefault(row["method"], {}).setdefault(float(row["rate"]), []).append(float(row["score"]))
    assert set(scores) == set(OTHERS)
    for method, by_rate in scores.items():
        best = min(by_rate, key=lambda rate: (-sum(by_rate[rate]), rate))
        cfg = composed("train", f"experiment={task}", f"method={method}")
        assert cfg.method.optimizer.lr == best, method
