import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from mile import evaluate, pretrain, train
from mile.signals import STOPPING

ROOT = Path(__file__).parent.parent
MAIN = {"train": train.main, "evaluate": evaluate.main, "pretrain": pretrain.main}


def run(folder, program, *overrides, **environment):
    return subprocess.run(
        [sys.executable, ROOT / "src" / f"{program}.py", *overrides],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("program", "overrides", "message"),
    [
        ("train", ["experiment=moonlander"], "Could not find 'experiment/moonlander'"),
        ("train", ["env=moonlander"], "Could not find 'env/moonlander'"),
        ("train", ["experiment=lunarlander", "lerning_rate=1"], "Could not override 'lerning_rate'"),
        ("train", ["experiment=lunarlander", "data.batch_size=0"], "batch_size must be at least 1, got 0"),
        ("train", ["experiment=lunarlander_paper", "human.scale=0"], "scale (σ, nats) must be finite and above 0"),
        ("train", ["ckpt_path=nowhere/last.ckpt"], "does not exist; give a run's folder"),
        ("evaluate", ["checkpoint=lunarlander/expert", "video=a.mp4"], "must end in .gif, .webp or .png, got 'a.mp4'"),
        ("evaluate", [], "Missing mandatory value: checkpoint"),
        ("evaluate", ["checkpoint=lunarlander/nobody"], "no checkpoint at 'lunarlander/nobody'"),
        ("train", ["env=metaworld", "env.task=drawer-opne-v3"], "no task 'drawer-opne-v3'; similar: drawer-open-v3"),
        ("train", ["env=metaworld"], "Missing mandatory value: env.task"),
        ("train", ["experiment=drawer_open", "policy.name=peg_insert/initial"], "expected 'drawer_open'"),
        ("train", ["env=drawer_open", "human=table1", "mental_model=nobody"], "Could not find 'mental_model/nobody'"),
        ("pretrain", ["role=expert", "algorithm=bc"], "scripted policies, 'lunarlander' has none"),
        ("pretrain", ["role=mental_model", "algorithm=sac"], "Could not find 'train/mental_model_sac'"),
        ("train", ["experiment=widowx_peg", "human=browser"], "nothing is calibrated on an arm"),
        ("train", ["experiment=widowx_peg", "human=calibrated"], "expert must not move a real arm"),
        (
            "train",
            ["experiment=widowx_peg", "callbacks.evaluation.every_n_epochs=9999"],
            "must see the learnt policy before they leave: callbacks.evaluation.every_n_epochs must be at most ",
        ),
        ("train", ["env=widowx_peg"], "a robot needs a desk; choose hardware=simulated"),
        ("train", ["experiment=lunarlander", "human=browser", "trainer=ddp"], "a person oversees one process"),
        ("evaluate", ["checkpoint=lunarlander/expert", "num_episodes=0"], "num_episodes must be at least 1, got 0"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path, monkeypatch, capsys, program, overrides, message):
    """In this process, because to import everything anew takes long."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr("sys.argv", [f"{program}.py", *overrides, "hydra.run.dir=."])
    monkeypatch.setattr("warnings.formatwarning", warnings.formatwarning)
    before = {number: signal.getsignal(number) for number in STOPPING}
    with pytest.raises(SystemExit) as left:
        MAIN[program]()
    for number, handler in before.items():
        signal.signal(number, handler)
    line = str(left.value)
    assert line.startswith("error: ")
    assert "\n" not in line
    assert message in line
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("overrides", [["experiment=moonlander"], ["experiment=lunarlander", "data.batch_size=0"]])
def test_the_program_prints_that_line_and_fails(tmp_path, overrides):
    done = run(tmp_path, "train", *overrides, "hydra.run.dir=.")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr


def test_the_traceback_is_there_for_who_asks(tmp_path):
    done = run(tmp_path, "evaluate", "checkpoint=lunarlander/nobody", HYDRA_FULL_ERROR="1")
    assert "Traceback" in done.stderr


def test_processes_that_are_started_apart_must_agree_on_a_folder(tmp_path):
    done = run(tmp_path, "train", "experiment=lunarlander", "trainer=ddp", WORLD_SIZE="2", RANK="1", LOCAL_RANK="1")
    assert done.stderr.startswith("error: 2 processes that are started apart must share a folder; give hydra.run.dir=")


def test_evaluate_prints_a_table_and_writes_json_and_video(tmp_path):
    done = run(
        tmp_path, "evaluate", "checkpoint=lunarlander/expert", "num_episodes=4", "video=landing.gif", "hydra.run.dir=."
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "mean return" in done.stdout
    figures = json.loads((tmp_path / "evaluation.json").read_text())["lunarlander/expert"]
    assert figures["episodes"] == 4
    low, high = figures["return_interval"]
    assert low < figures["mean_return"] < high
    assert (tmp_path / "landing.gif").read_bytes().startswith(b"GIF89a")


def test_a_sweep_survives_a_job_that_fails_and_skips_what_has_finished(tmp_path):
    sweep = ["-m", "experiment=lunarlander", "debug=smoke", "data.batch_size=0,8"]
    many_cores = "import os\nos.sched_getaffinity = lambda pid: set(range(16))\n"
    (tmp_path / "sitecustomize.py").write_text(many_cores)  # where Lightning would advise more workers
    first, again = run(tmp_path, "train", *sweep, PYTHONPATH=str(tmp_path)), run(tmp_path, "train", *sweep)
    assert first.returncode == again.returncode == 1
    assert "batch_size must be at least 1, got 0" in first.stderr
    assert "warning" not in first.stderr
    (finished,) = tmp_path.glob("outputs/lunarlander_sweep/*/results.json")
    assert "batch_size=8" in finished.parent.name
    assert "is finished" in again.stdout


def test_a_search_is_composed():
    with initialize_config_module("mile.configs", version_base=None):
        cfg = compose("train", ["hparams=optuna", "experiment=lunarlander"], return_hydra_config=True)
    assert cfg.hydra.sweeper._target_.endswith("OptunaSweeper")
    for name in cfg.hydra.sweeper.params:
        assert OmegaConf.select(cfg, name) is not None, name
