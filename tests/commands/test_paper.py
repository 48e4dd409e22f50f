from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from mile.commands import paper
from mile.commands.paper import run
from mile.plans.evidence import Evidence
from mile.plans.paper import Paper, quick
from mile.plans.runs import Job
from mile.running.command_line import override

FOLDER = Path("/somewhere")
ODD = Path("/tmp/J\u00f6rg's [mile] (copy), a=b")


@pytest.mark.parametrize("plan", [Paper(FOLDER), Evidence(FOLDER), quick(FOLDER), quick(ODD)])
def test_every_run_of_the_plan_is_a_config(plan):
    """One seed of each; Hydra refuses a name that does not exist."""
    with initialize_config_module("mile.configs", version_base=None):
        for job in plan:
            if job.name.startswith("test_beds/"):
                cfg = compose("test_bed", list(job.overrides))
                assert cfg.output == str(plan.folder / Path(job.name).parent)
                assert job.name.endswith(f"/{cfg.task}/{cfg.number}")
            elif job.name.endswith(f"seed_{plan.seeds[-1]}"):
                cfg = compose("train", [*job.overrides, override("output_dir", plan.folder / job.name)])
                assert cfg.output_dir == str(plan.folder / job.name)
                assert cfg.like is None or Path(cfg.like).relative_to(plan.folder).as_posix() in job.needs
                assert job.name.startswith(cfg.name)
                assert cfg.seed == plan.seeds[-1]
                assert cfg.callbacks.deployment.epochs_per_round >= 1


@pytest.mark.parametrize("plan", [Paper(FOLDER), Evidence(FOLDER), quick(FOLDER)])
def test_what_a_run_needs_is_in_the_plan_and_comes_before(plan):
    jobs = list(plan)
    places = {job.name: place for place, job in enumerate(jobs)}
    assert len(places) == len(jobs)
    for job in jobs:
        assert all(places[needed] < places[job.name] for needed in job.needs)
        if job.program == "mile-train":
            used = {text.split("=")[1] for text in job.overrides if str(FOLDER) in text}
            assert used == {str(FOLDER / needed) for needed in job.needs}


def test_a_method_meets_the_same_seeds_as_mile():
    jobs = [job.name.split("/") for job in Paper(FOLDER)]
    for experiment in {experiment for experiment, *_ in jobs}:
        of = {label: {seed for e, it, seed in jobs if (e, it) == (experiment, label)} for _, label, _ in jobs}
        assert {frozenset(seeds) for seeds in of.values() if seeds} == {
            frozenset(f"seed_{s}" for s in Paper(FOLDER).seeds)
        }


def test_what_is_finished_is_skipped_and_what_fails_holds_up_only_what_needs_it(tmp_path, monkeypatch, capsys):
    jobs = [Job("a", ()), Job("b", (), ("a",)), Job("bad", ()), Job("c", (), ("bad",)), Job("d", (), ("b",))]
    begun = []

    def pretend(job, folder):
        begun.append(job.name)
        if job.name == "bad":
            raise RuntimeError
        finish(folder / job.name)
        return 60.0

    def finish(place):
        place.mkdir()
        (place / "results.json").touch()

    finish(tmp_path / "a")
    monkeypatch.setattr(paper, "_run_one", pretend)
    failed = run(jobs, tmp_path, processes=2)
    assert [job.name for job in failed] == ["bad"]
    assert sorted(begun) == ["b", "bad", "d"]
    assert begun.index("b") < begun.index("d")
    assert "bad: FAILED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--only", "lunar_lander"], "no run has 'lunar_lander' in its name"),
        (["--only", "lunarlander/mile/", "--processes", "0"], "--processes must be at least 1, got 0"),
        (["--only", "lunarlander/mile/"], "1 of 5 runs failed; see log.txt in .*; no finished run in"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(tmp_path, monkeypatch, given, message):
    def fail(job, folder):
        raise RuntimeError

    monkeypatch.setattr(paper, "_run_one", fail)
    monkeypatch.setattr("sys.argv", ["mile-paper", str(tmp_path), *given])
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        paper.main()


def test_a_run_in_a_folder_whose_name_needs_quotes(tmp_path, monkeypatch):
    """The command line of one run, as a program of its own."""
    folder = tmp_path / ODD.name
    (job,) = [job for job in quick(folder) if job.name == "lunarlander/mile/seed_5"]
    smaller = Job(job.name, (*job.overrides, "debug=smoke"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torch.py").write_text("raise SystemExit('a file of the working directory was run')")
    assert run([smaller], folder, processes=1) == [], (folder / job.name / "log.txt").read_text()
    assert (folder / job.name / "results.json").exists()
