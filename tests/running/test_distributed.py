"""Two processes that talk over gloo, as `trainer=ddp` starts them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mile.datamodules import InterventionBuffer
from mile.policies import load_policy

ROOT = Path(__file__).parents[2]
SMOKE = ["experiment=lunarlander", "debug=smoke", "callbacks.deployment.episodes_per_round=3", "data.batch_size=8"]


def train(folder, *overrides):
    done = subprocess.run(
        [sys.executable, ROOT / "src" / "train.py", *SMOKE, *overrides, f"hydra.run.dir={folder}"],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("accelerator", ["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def test_two_processes_hold_the_same_episodes_and_end_with_one_policy(tmp_path, accelerator):
    if accelerator == "gpu" and torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    printed = train(tmp_path / "two", "trainer=ddp", "trainer.devices=2", f"trainer.accelerator={accelerator}")
    train(tmp_path / "one")
    assert printed.count("learnt policy") == 2  # the line before, and the table, of rank 0 alone
    one, first, second = (
        InterventionBuffer(tmp_path / path, "lunarlander") for path in ("one/buffer", "two/buffer", "two/buffer_rank_1")
    )
    assert {(it.round, it.episode) for it in first.episodes} == {(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5)}
    rows, others = first.rows(), second.rows()
    for key in ("observation", "robot_action", "human_action", "episode", "step", "timestamp"):
        assert torch.equal(first.steps[key][rows], second.steps[key][others])
    # the first round, before anything was learnt, is that of a single process
    rows, others = first.rows([0]), one.rows([0])
    assert torch.equal(first.steps["observation"][rows], one.steps["observation"][others])
    assert (tmp_path / "two" / "policy.safetensors").exists()


def test_two_processes_learn_what_one_learns_from_batches_twice_as_large(tmp_path):
    """Eq. 3 of the joint batch, to what rounding leaves of ten steps of Adam."""
    train(tmp_path / "recording")
    recording = ["protocol=same_data", f"data.from={tmp_path / 'recording'}", "callbacks.deployment.num_rounds=1"]
    train(tmp_path / "two", *recording, "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    train(tmp_path / "one", *recording, "data.batch_size=16")
    initial = load_policy("lunarlander/initial")
    one, two = (load_policy(tmp_path / name / "policy") for name in ("one", "two"))
    for weights, others in zip(two.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(weights, others, atol=1e-5, rtol=0)
    moved = [
        (weights - before).abs().max() for weights, before in zip(one.parameters(), initial.parameters(), strict=True)
    ]
    assert max(moved) > 5e-4
