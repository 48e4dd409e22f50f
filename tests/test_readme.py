import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.filterwarnings("ignore")  # Lightning's advice to a user who did not choose a logger
def test_the_example_runs_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {}
    exec(example, names)
    assert names["trainer"].current_epoch == 20
    assert len(names["trainer"].datamodule.buffer.episodes) == 5


def test_every_file_it_names_exists():
    for document in ("README.md", "docs/paper_map.md"):
        text = (ROOT / document).read_text()
        named = re.findall(r"\]\((?!http)([^)#]+)\)", text) + re.findall(
            r"`((?:src|docs|tests|configs)/[\w/]+\.\w+)`", text
        )
        for path in named:
            if path != "configs/env/mine.yaml":
                assert (ROOT / path).exists(), f"{document} names {path}"


@pytest.mark.parametrize("document", ["README.md", "docs/results/index.md", "docs/metrics.md", "docs/paper_map.md"])
def test_no_placeholder_is_left(document):
    assert not re.findall(r"^[A-Z]+_?[A-Z]+$", (ROOT / document).read_text(), re.MULTILINE)


def test_every_test_in_the_paper_map_exists():
    source = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    for name in re.findall(r"`(test_\w+)`", (ROOT / "docs" / "paper_map.md").read_text()):
        assert f"def {name}(" in source
