"""The documentation: links lead somewhere, names exist, what it shows runs, and it can be read."""

import configparser
import json
import re
import runpy
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import gymnasium as gym
import pytest
from omegaconf import OmegaConf

from mile import evaluate, pretrain, report, train
from mile.commands import data, devices, doctor, paper, record, test_bed
from tests.support import composed

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
RESULTS = [page for page in sorted((ROOT / "docs" / "results").glob("*.md")) if page.name != "report.md"]
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "docs/index.md", "docs/architecture.md")]
READ = [*FRONT, *GUIDES, *RESULTS]
WRITTEN = [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name != "report.md"]
LINKING = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *WRITTEN]
NAMING = [page for page in LINKING if page.name != "notebook.md"]  # which says what was tried with what is gone

HYDRA = {
    "train": train,
    "evaluate": evaluate,
    "pretrain": pretrain,
    "record": record,
    "doctor": doctor,
    "test-bed": test_bed,
}
PARSING = {"report": report, "data": data, "paper": paper, "devices": devices}
OTHERS = ("ray", "python", "pip", "make", "git", "ssh", "apt-get", "tensorboard")
GROUPS = (
    "experiment",
    "human",
    "method",
    "gate",
    "attention",
    "protocol",
    "collector",
    "trainer",
    "algorithm",
    "role",
    "hparams",
    "debug",
)
PLACES = {"train": ["output_dir=here"], "evaluate": ["output=here"]}  # Hydra knows these folders in a run alone


def page_name(page):
    return str(page.relative_to(ROOT))


class Block(NamedTuple):
    language: str
    title: str | None
    text: str


def blocks(page):
    """All fenced blocks of a page; one with a title is a file to copy."""
    fence = re.compile(r'^( *)```(\w*)(?: title="(.*?)")?\n(.*?)^\1```$', re.DOTALL | re.MULTILINE)
    return [
        Block(language, title or None, dedent(text)) for _, language, title, text in fence.findall(page.read_text())
    ]


def prose(page):
    """The text of a page without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(page, folder):
    """All words of each command that the page's shell blocks would run: a shell reads them, with other programs."""
    programs, log = folder / "programs", folder / "log"
    programs.mkdir()
    for name in (*OTHERS, *(f"mile-{name}" for name in (*HYDRA, *PARSING))):
        (programs / name).write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" "" >> {log}\n')
        (programs / name).chmod(0o755)
    for name in (".venv/bin", "mile"):
        (folder / name).mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()
    log.touch()
    for block in blocks(page):
        if block.language == "bash":
            environment = {"PATH": str(programs), "ADDRESS": "here"}
            subprocess.run(["/bin/bash", "-euc", block.text], cwd=folder, env=environment, check=True)
    return [command.split("\n") for command in log.read_text().split("\n\n") if command]


def program(words):
    """The name of our program that a command runs, and its arguments; None if it is not ours."""
    if words[0] == "python" and words[1].startswith("src/"):
        return Path(words[1]).stem, words[2:]
    if words[0].startswith("mile-"):
        return words[0].removeprefix("mile-"), words[1:]
    return None, words


@pytest.mark.parametrize("page", READ, ids=page_name)
def test_lines_and_paragraphs_are_short(page):
    for line in page.read_text().splitlines():
        assert len(line) <= 120 or line.lstrip().startswith(("|", "[", "![")), line
    for paragraph in re.split(r"\n\s*\n|\n(?= *(?:[-*]|\d+\.) )", prose(page)):
        if not paragraph.lstrip().startswith(("|", "[")):
            assert len(paragraph.split()) <= 60, paragraph


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES, *RESULTS], ids=page_name)
def test_pages_are_short(page):
    longest = 125 if page.name == "README.md" else 120
    assert len(page.read_text().splitlines()) <= longest


@pytest.mark.parametrize("page", LINKING, ids=page_name)
def test_every_relative_link_leads_to_a_file(page):
    text = prose(page)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    for link in links:
        if not link.startswith(("http", "#")):
            assert (page.parent / link.partition("#")[0]).exists(), f"{page_name(page)} links to {link}"


@pytest.mark.parametrize("page", NAMING, ids=page_name)
def test_every_file_it_names_exists(page):
    copied = {block.title for block in blocks(page)}
    folders = "src|docs|tests|configs|callbacks|datamodules|hardware|benchmarks"
    for name in re.findall(rf"`((?:{folders})/[\w/]+\.\w+)`", page.read_text()):
        assert (ROOT / name).exists() or name in copied, f"{page_name(page)} names {name}"


@pytest.mark.parametrize("page", NAMING, ids=page_name)
def test_every_program_and_choice_it_names_exists(page):
    text = page.read_text()
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    scripts = config["options.entry_points"]["console_scripts"]
    for name in re.findall(r"\bmile-[a-z]+(?:-[a-z]+)*\b", text):
        assert f"{name} = " in scripts or name == "mile-interventions", f"{page_name(page)} names {name}"

    copied = {block.title for block in blocks(page)}
    for group, name in re.findall(rf"(?<![\w.])({'|'.join(GROUPS)})=(\w+)", text):
        path = f"configs/{group}/{name}.yaml"
        assert (ROOT / path).exists() or path in copied, f"{page_name(page)} names {group}={name}"


def test_every_test_in_the_paper_map_exists():
    source = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    for name in re.findall(r"`(test_\w+)`", (ROOT / "docs" / "paper_map.md").read_text()):
        assert f"def {name}(" in source


@pytest.mark.parametrize("page", LINKING, ids=page_name)
def test_no_placeholder_is_left(page):
    assert not re.findall(r"^[A-Z]+_?[A-Z]+$", page.read_text(), re.MULTILINE)


class Parsed(BaseException):
    """A program's arguments were read."""


def check_words(name, words, monkeypatch):
    """Read a command's arguments as the program does, and stop there."""
    if name in PARSING:
        parse = ArgumentParser.parse_args

        def parse_and_stop(parser, *arguments):
            parse(parser, *arguments)
            raise Parsed

        monkeypatch.setattr(ArgumentParser, "parse_args", parse_and_stop)
        monkeypatch.setattr(sys, "argv", [f"mile-{name}", *words])
        with pytest.raises(Parsed):
            PARSING[name].main()
        monkeypatch.setattr(ArgumentParser, "parse_args", parse)
        return

    swept = "-m" in words
    overrides = [word.split(",")[0] if swept else word for word in words if word != "-m"]
    cfg = composed(name.replace("-", "_"), *overrides, *PLACES.get(name, []))
    if name not in ("record", "doctor"):  # which leave alone what they do not need
        OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


@pytest.mark.usefixtures("as_a_program")
@pytest.mark.parametrize("page", [*FRONT, *GUIDES], ids=page_name)
def test_every_command_is_one_that_its_program_takes(page, tmp_path, monkeypatch):
    makefile, setup = (ROOT / "Makefile").read_text(), (ROOT / "setup.cfg").read_text()
    for words in commands(page, tmp_path):
        name, arguments = program(words)
        if name is not None:
            if not any(word.startswith("--config-dir") for word in arguments):  # those are run, below
                check_words(name, arguments, monkeypatch)
        elif words[0] == "make":
            assert f"\n{words[1]}:" in makefile, words
        elif words[0] == "python":
            assert (ROOT / words[1]).exists(), words
        elif words[0] == "pip":
            for extra in re.findall(r"\w+", words[-1].partition("[")[2]):
                assert f"\n{extra} =\n" in setup, words


def python_examples():
    """Return the Python blocks of all guides that are no files to copy."""
    examples = []
    for page in GUIDES:
        for block in blocks(page):
            if block.language == "python" and block.title is None:
                examples.append(pytest.param(block.text, id=page_name(page)))
    return examples


@pytest.mark.parametrize("text", python_examples())
def test_every_python_example_runs(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(text)
    runpy.run_path("example.py")


@pytest.fixture
def newcomer(tmp_path, monkeypatch, as_a_program):
    """A newcomer in an empty folder, who copies a guide's files and types its commands, each with some more words."""
    registered, loaded = set(gym.registry), set(sys.modules)
    follow = tmp_path / "follow"
    follow.mkdir()
    monkeypatch.chdir(follow)
    monkeypatch.syspath_prepend(follow)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("MILE_CACHE", str(tmp_path / "cache"))

    def read(page, more=()):
        copied = []
        for block in blocks(page):
            if block.title is not None:
                path = follow / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text)
                copied.append(path.stem)
        for words in commands(page, tmp_path):
            name, arguments = program(words)
            if name is not None:
                extra = [word for key, few in more for word in few if key in (name, *arguments)]
                monkeypatch.setattr(sys, "argv", [f"mile-{name}", *arguments, *extra])
                (HYDRA | PARSING)[name].main()
        return copied

    yield read
    for name in set(gym.registry) - registered:
        if not str(gym.registry[name].entry_point).startswith("mile."):  # those modules stay loaded
            del gym.registry[name]
    for name in set(sys.modules) - loaded:
        if not getattr(sys.modules[name], "__file__", None) or str(follow) in str(sys.modules[name].__file__):
            del sys.modules[name]


SMALL = [
    ("pretrain", ["train.steps=20", "evaluation.num_episodes=2"]),
    ("role=expert", ["demos.num_episodes=2"]),
    ("role=initial", ["demos.num_episodes=2"]),
    ("role=mental_model", ["train.num_episodes=2"]),
    ("train", ["debug=smoke", "logger=none"]),
]
OWN = ["your_environment", "your_method", "your_robot"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("guide", OWN)
def test_a_guide_leads_from_nothing_to_a_policy(newcomer, guide):
    arm = ["env.num_envs=1", "calibration.num_episodes=2", "callbacks.deployment.episodes_per_round=1"]
    few = [("experiment=widowx_peg", arm)]
    newcomer(ROOT / "docs" / "guides" / f"{guide}.md", SMALL + few)
    results = list(Path("outputs").rglob("results.json"))
    assert results
    for path in results:
        assert (path.parent / "policy.safetensors").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("guide", OWN[:2])  # the robot without servos is no test bed
def test_what_a_guide_leads_to_is_better_than_where_it_began(newcomer, guide):
    newcomer(ROOT / "docs" / "guides" / f"{guide}.md", [("train", ["logger=none"])])
    for path in Path("outputs").rglob("results.json"):
        rows = json.loads(path.read_text())
        assert rows["learnt policy"]["mean_return"] > rows["initial policy"]["mean_return"]


@pytest.mark.filterwarnings("ignore")
def test_recordings_are_shown_given_and_taken_as_the_guide_says(newcomer, monkeypatch):
    study = ["experiment=user_study_single", "participant=1", "human=scripted", "human.calibrate.target_ratio=0.9"]
    size = [
        "debug=smoke",
        "logger=none",
        "callbacks.deployment.episodes_per_round=4",
        "++callbacks.deployment.num_rounds=1",
    ]
    monkeypatch.setattr(sys, "argv", ["mile-train", *study, *size])
    train.main()
    newcomer(ROOT / "docs" / "guides" / "exchange.md", [("train", ["debug=smoke", "logger=none"])])
    for name in ("episode.png", "episode.gif", "people.hdf5", "recordings/people", "recordings/minari"):
        assert Path(name).exists()
