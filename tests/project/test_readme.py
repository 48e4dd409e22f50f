import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.mark.filterwarnings("ignore")  # Lightning's advice to a user who did not choose a logger
def test_the_example_runs_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(example, names)
    assert names["trainer"].current_epoch == 20
    assert len(names["trainer"].datamodule.buffer.episodes) == 5
    assert float(capsys.readouterr().out.split()[-1]) > 100  # the initial policy's return is -14


def test_a_stranger_finds_what_matters():
    for needed in (
        "git clone",
        "make demo",
        "src/intervention.py",
        "docs/guides/your_environment.md",
        "docs/guides/your_method.md",
        "docs/guides/your_robot.md",
        "docs/results/index.md",
        "Python 3.11",
    ):
        assert needed in README
