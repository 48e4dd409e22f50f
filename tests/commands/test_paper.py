import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from mile.commands import paper
from mile.plans import execution
from mile.plans.evidence import Evidence
from mile.plans.execution import here, on_ray, run
from mile.plans.paper import Paper, quick
from mile.plans.runs import Job
from mile.running.command_line import override

FOLDER = Path("/somewhere")
ODD = Path("/tmp/J\u00f6rg's [mile] (copy), a=b")


@pytest.mark.parametrize("plan", [Paper(FOLDER), Evidence(FOLDER), quick(FOLDER), quick(ODD)])
def test_every_run_of_the_plan_is_a_config(plan):
    """The last seed of each; Hydra refuses a name that does not exist."""
    last = {Path(job.name).parent: job for job in plan}
    with initialize_config_module("mile.configs", version_base=None):
        for job in last.values():
            if job.name.startswith("test_beds/"):
                cfg = compose("test_bed", list(job.overrides))
                assert cfg.output == str(plan.folder / Path(job.name).parent)
                assert job.name.endswith(f"/{cfg.task}/{cfg.number}")
                compose("train", [f"experiment={cfg.task}", *cfg.options])
            else:
                cfg = compose("train", [*job.overrides, override("output_dir", plan.folder / job.name)])
                assert cfg.output_dir == str(plan.folder / job.name)
                assert cfg.like is None or Path(cfg.like).relative_to(plan.folder).as_posix() in job.needs
                assert job.name.startswith(cfg.name)
                assert job.name.endswith(f"/seed_{cfg.seed}")
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

    def pretend(job, folder, started):
        begun.append(job.name)
        if job.name == "bad":
            raise RuntimeError("it is bad")
        finish(folder / job.name)
        return 60.0

    def finish(place):
        place.mkdir()
        (place / "results.json").touch()

    finish(tmp_path / "a")
    monkeypatch.setattr(execution, "run_one", pretend)
    with here(tmp_path, 2) as player:
        failures = run(jobs, tmp_path, player)
    assert [(failure.job.name, failure.reason, failure.has_run) for failure in failures] == [
        ("bad", "it is bad", True),
        ("c", "needs bad", False),
    ]
    assert sorted(begun) == ["b", "bad", "d"]
    assert begun.index("b") < begun.index("d")
    assert "bad: FAILED" in capsys.readouterr().out


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Write a module that jobs can run."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "program.py"


def test_a_failure_is_that_of_the_last_attempt(tmp_path, program):
    reasons = []
    for text in ("print('error: it is bad')\nraise SystemExit(1)", "import os\nos.kill(os.getpid(), 9)"):
        program.write_text(text)
        with here(tmp_path, 1) as player:
            (failure,) = run([Job("a", (), module="program")], tmp_path, player)
        reasons.append(failure.reason)
    assert reasons[0] == "it is bad"
    assert "SIGKILL" in reasons[1]


def test_what_stops_the_plan_stops_its_jobs(tmp_path, program):
    program.write_text("import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(600)")
    futures = []

    def submit_and_stop():
        with here(tmp_path, 1) as player, contextlib.chdir(tmp_path):
            futures.append(player.submit(Job("a", (), module="program")))
            while not (tmp_path / "begun").exists():
                time.sleep(0.01)
            raise SystemExit(128 + signal.SIGTERM)

    with pytest.raises(SystemExit):
        submit_and_stop()
    assert "SIGTERM" in str(futures[0].exception())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--only", "lunar_lander"], "no run has 'lunar_lander' in its name"),
        (["--only", "lunarlander/mile/", "--processes", "0"], "--processes must be at least 1, got 0"),
        (["--only", "lunarlander/mile/"], "1 of 5 runs failed, 4 were not run; see the table; no finished run in"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(tmp_path, monkeypatch, given, message):
    def fail(job, folder):
        raise RuntimeError

    monkeypatch.setattr(execution, "run_one", fail)
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
    with here(folder, 1) as player:
        assert run([smaller], folder, player) == [], (folder / job.name / "log.txt").read_text()
    assert (folder / job.name / "results.json").exists()


def test_a_cluster_of_two_has_the_same_digits_and_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    """Ray's own command starts the cluster, as the guide says; the second plan finds one run of two finished."""
    name = "lunarlander/mile/seed_5"
    smaller = {}
    for place in ("here", "cluster"):
        (job,) = [job for job in quick(tmp_path / place) if job.name == name]
        smaller[place] = [Job(str(seed), (*job.overrides, "debug=smoke", f"seed={seed}")) for seed in (5, 6)]
    with here(tmp_path / "here", 1) as player:
        assert run(smaller["here"], tmp_path / "here", player) == []

    # a cluster that no other test meets; its sockets need a short path
    sockets = tempfile.mkdtemp(dir="/tmp")
    monkeypatch.setenv("RAY_TMPDIR", sockets)
    program = Path(sys.executable).with_name("ray")
    start = [program, "start", "--head", "--block", "--port=0", "--num-cpus=2", "--include-dashboard=false"]
    with subprocess.Popen(start, stdout=subprocess.DEVNULL) as cluster:
        while not list(Path(sockets).rglob("ray_current_cluster")):
            assert cluster.poll() is None
            time.sleep(0.1)
        try:
            with on_ray(tmp_path / "cluster") as player:
                assert player.processes == 2
                assert run(smaller["cluster"][:1], tmp_path / "cluster", player) == []
            kept = (tmp_path / "cluster/5/results.json").stat().st_mtime
            with on_ray(tmp_path / "cluster") as player:
                assert run(smaller["cluster"], tmp_path / "cluster", player) == []
        finally:
            cluster.terminate()
    shutil.rmtree(sockets, ignore_errors=True)
    assert (tmp_path / "cluster/5/results.json").stat().st_mtime == kept
    assert [path.name for path in (tmp_path / "cluster").glob(".shared-*")] == []
    for seed in "56":
        files = [(tmp_path / place / seed / "results.json").read_bytes() for place in ("here", "cluster")]
        assert files[0] == files[1]


def test_a_folder_that_a_machine_does_not_see_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"'{tmp_path}' on .* is another one; give a folder that all machines share"):
        execution._run_where_shared(Job("a", ()), tmp_path, tmp_path / "nothing")
