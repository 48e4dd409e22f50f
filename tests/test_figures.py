"""Four runs whose figures stay to the digit while files move and words change; run by hand: pytest -m slow.

`figures.json` holds [mean return, success rate, interventions, steps] of each row of a run's deployment.json,
evaluation.json and results.json, as made at commit ffe5195 on an x86-64 machine with the versions of constraints.txt.
Where a change is meant to move a figure, make the file anew and say in CHANGELOG.md what moved, and why.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FIGURES = json.loads(Path(__file__).with_name("figures.json").read_text())
DEMO = ["mile.train", "experiment=lunarlander", "cache=false", "hydra.run.dir=run"]
PAPER = ["mile.commands.paper", "--plan", "quick", "--processes", "1", "plan", "--only"]
RUNS = {  # command, and the folder of the run
    "demo": (DEMO, "run"),
    "two ranks": ([*DEMO, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"], "run"),
    "rlif": ([*PAPER, "lunarlander/rlif/seed_5"], "plan/lunarlander/rlif/seed_5"),
    "in rounds": ([*PAPER, "drawer_open_iterative/mile/seed_5"], "plan/drawer_open_iterative/mile/seed_5"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_has_the_figures_of_before_to_the_digit(tmp_path, name):
    command, folder = RUNS[name]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=environment, check=True)
    for file, expected in FIGURES[name].items():
        rows = json.loads((tmp_path / folder / f"{file}.json").read_text())
        measured = {}
        for row, figures in rows.items():
            measured[row] = [figures[key] for key in ("mean_return", "success_rate", "interventions", "steps")]
        assert measured == expected, file
