"""The results pages are short, their commands are of today, and no figure is older than its table."""

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from mile.plans.evidence import Evidence
from mile.plans.paper import Paper
from mile.report import report
from tests.support import composed

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = DOCS / "results"
PAPER = DOCS / "paper"
INDEX = RESULTS / "index.md"
PAGES = sorted(set(RESULTS.glob("*.md")) - {INDEX, RESULTS / "report.md"})
SECTIONS = ["Command", "Numbers", "Figure", "Reading", "Caveats"]
NOT_DRAWN = {"user_study.png", "car_racing.png"}  # from folders of participants, and of runs, which are not kept
VARIABLES = {  # what a reader puts in, in commands
    "seed": "5",
    "experiment": "drawer_open",
    "method": "hg_dagger",
    "rate": "1e-4",
    "gate": "mile",
    "head": "mixture",
    "budget": "20",
    "attention": "risk",
    "weight": "0.3",
    "participant": "1",
    "mile": "outputs/mile",
    "record": "outputs/mile",
    "desk": "env=widowx_peg_r3m hardware=simulated",
}

every_page = pytest.mark.parametrize("page", [INDEX, *PAGES], ids=lambda path: path.stem)
every_question = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def without_code(text):
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def prose(text):
    """The paragraphs of a page, list entries among them, without code, tables and images."""
    lines = [line for line in without_code(text).splitlines() if not line.startswith(("|", "!["))]
    return [part for part in re.split(r"\n\s*\n|\n(?=- |#)", "\n".join(lines)) if part.strip()]


def code_blocks(text):
    return re.findall(r"```bash\n(.*?)```", text, re.DOTALL)


def commands(text):
    """The commands of a page, one a line: lines joined, variables filled in, comments cut."""
    for block in code_blocks(text):
        for line in block.replace("\\\n", " ").splitlines():
            filled = re.sub(r"\$(\w+)", lambda match: VARIABLES[match[1]], line.split("  #")[0])
            yield from (part.strip().removeprefix("do ").strip() for part in filled.split(";"))


@every_page
def test_a_page_is_short(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= (60 if page == INDEX else 120)
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


@every_page
def test_a_paragraph_is_short(page):
    paragraphs = prose(page.read_text(encoding="utf-8"))
    assert [paragraph for paragraph in paragraphs if len(paragraph.split()) > 60] == []


@every_question
def test_a_page_begins_with_its_question_and_the_answer(page):
    question, answer = [line for line in page.read_text(encoding="utf-8").splitlines() if line][:2]
    assert re.fullmatch(r"# .*\?", question) or re.fullmatch(r"# .*\(.*\)\?", question)
    assert re.fullmatch(r"\*\*.*\.\*\*", answer)


@every_question
def test_a_page_has_its_sections_in_order_and_a_short_reading(page):
    text = page.read_text(encoding="utf-8")
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sections == [name for name in SECTIONS if name != "Figure" or "Figure" in sections]
    assert ("Figure" in sections) == ("![" in text)
    (reading,) = re.findall(r"## Reading\n(.*?)\n## ", text, re.DOTALL)
    assert len(reading.split()) <= 120


@every_page
def test_a_page_has_a_command(page):
    assert code_blocks(page.read_text(encoding="utf-8"))


@every_page
def test_all_that_a_page_names_exists(page):
    text = without_code(page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\((?!http)([^)]+)\)", text):
        path, _, anchor = link.partition("#")
        target = page.parent / path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert anchor in slugs, link


def test_the_index_leads_to_every_page_and_every_table_is_named():
    index = INDEX.read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f"]({page.name})" not in index] == []
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [path.name for path in (RESULTS / "data").glob("*.csv") if f"(data/{path.name})" not in text] == []


@every_page
def test_commands_are_of_today(page):
    """Overrides compose, and the plan has the runs that are asked for."""
    names = [job.name for job in (*Paper(Path("outputs")), *Evidence(Path("outputs")))]
    for command in commands(page.read_text(encoding="utf-8")):
        words = shlex.split(command.removeprefix("OMP_NUM_THREADS=1 "))
        if words[:2] in (["python", "src/train.py"], ["python", "src/pretrain.py"]):
            composed(Path(words[1]).stem, *words[2:])
        elif words[:1] == ["mile-pretrain"]:
            composed("pretrain", *words[1:])
        elif "--only" in words:
            assert any(words[words.index("--only") + 1] in name for name in names), command
        elif words[:1] == ["python"]:
            assert (DOCS.parent / words[1]).exists(), command


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """All figures that can be drawn, and both reports, anew."""
    folder = tmp_path_factory.mktemp("drawn")
    for name in ("draw", "draw_proxy"):
        spec = importlib.util.spec_from_file_location(name, RESULTS / f"{name}.py")
        draw = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(draw)
        draw.main(folder)
    for place in (PAPER, RESULTS):
        report([place / "runs.csv"], folder / place.name)
    for path in [*(folder / "paper").glob("*.png"), folder / "results" / "gains.png"]:
        shutil.copy(path, folder)
    return folder


def test_no_figure_is_older_than_its_table(drawn):
    shown = set()
    for page in [INDEX, *PAGES]:
        for image in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            shown.add((page.parent / image).resolve())
    assert {path.name for path in shown} - {path.name for path in drawn.glob("*.png")} == NOT_DRAWN
    assert set(RESULTS.glob("*.png")) <= shown

    stale = []
    for path in shown:
        if path.name in NOT_DRAWN:
            continue
        before, now = imread(path), imread(drawn / path.name)
        if before.shape != now.shape or np.mean(np.abs(before - now).max(-1) > 0.2) > 0.001:
            stale.append(path.name)
    assert not stale, f"{stale}: draw them again (docs/results/draw.py, mile-report)"


@pytest.mark.parametrize("place", [PAPER, RESULTS], ids=lambda path: path.name)
def test_a_report_is_that_of_its_runs(drawn, place):
    for name in ("report.md", "runs.csv"):
        assert (place / name).read_bytes() == (drawn / place.name / name).read_bytes()


def test_the_table_of_the_index_is_that_of_the_report():
    report_ = (RESULTS / "report.md").read_text(encoding="utf-8")
    table = [line for line in INDEX.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(table) > 2
    assert "\n".join(table) + "\n\n" in report_
