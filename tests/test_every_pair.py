"""Every method in every experiment, alone and in two processes; an hour, so by hand: pytest -m slow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mile.datamodules import InterventionBuffer
from mile.train import train
from tests.support import smoke

ROOT = Path(__file__).parents[1]
METHODS = sorted(path.stem for path in (ROOT / "configs" / "method").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (ROOT / "configs" / "experiment").glob("*.yaml"))
VARIANTS = [*METHODS, "ppl method.horizon=4", "pvp method.mask=released", "bc_intervention method.shared_trunk=true"]
DESK = ["hardware=simulated", "env.num_envs=1", "env.max_episode_steps=20", "human.watch.num_episodes=1"]
NO_WEIGHTS = "widowx_peg_r3m"  # needs R3M's weights, which nobody may pass on; tests/test_configs.py runs it

# pairs that are refused, and the line that says why
REFUSED = {
    ("ppl method.horizon=4", "widowx_peg"): "plays attempts again in a simulator, and a desk has none",
    ("ppl method.horizon=4", "car_racing"): "shows no vector to predict; choose method.horizon=0",
}


def overrides(method, experiment):
    more = []
    if "study" in experiment:
        more = ["human=scripted", "participant=1", "human.calibrate.target_ratio=0.9"]
    if experiment == "play":
        more = ["human=calibrated"]
    if "widowx" in experiment:
        more = DESK
    return [f"experiment={experiment}", *f"method={method}".split(), *more]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:no interventions in round", "ignore:MILE learns from deployments alone")
@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if name != NO_WEIGHTS])
@pytest.mark.parametrize("method", VARIANTS)
def test_every_method_runs_every_experiment_or_says_in_a_line_why_not(tmp_path, method, experiment):
    cfg = smoke(tmp_path, *overrides(method, experiment))
    if (method, experiment) in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[method, experiment]):
            train(cfg)
        return
    assert "learnt policy" in train(cfg)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["lunarlander", "button_press"])
@pytest.mark.parametrize("method", VARIANTS)
def test_every_method_learns_in_two_processes(tmp_path, method, experiment):
    more = ["debug=smoke", "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "data.batch_size=8"]
    more += ["callbacks.deployment.episodes_per_round=2", f"hydra.run.dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, ROOT / "src" / "train.py", *overrides(method, experiment), *more],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = (InterventionBuffer(tmp_path / "run" / name, experiment) for name in ("buffer", "buffer_rank_1"))
    assert len(first.episodes) == len(second.episodes) == 4
    assert (tmp_path / "run" / "policy.safetensors").exists()
