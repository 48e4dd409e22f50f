import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


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
        ("evaluate", [], "Missing mandatory value: checkpoint"),
        ("evaluate", ["checkpoint=lunarlander/nobody"], "no checkpoint at 'lunarlander/nobody'"),
        ("evaluate", ["checkpoint=lunarlander/expert", "num_episodes=0"], "num_episodes must be at least 1, got 0"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path, program, overrides, message):
    done = run(tmp_path, program, *overrides, "hydra.run.dir=.")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert message in done.stderr


def test_the_traceback_is_there_for_who_asks(tmp_path):
    done = run(tmp_path, "evaluate", "checkpoint=lunarlander/nobody", HYDRA_FULL_ERROR="1")
    assert "Traceback" in done.stderr


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
