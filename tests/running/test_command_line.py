import json
import os
import re
import shlex
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mile import evaluate, pretrain, train
from mile.datamodules import InterventionBuffer
from mile.envs import make_env
from mile.ingredients.demonstrations import expert_episode
from mile.policies import load_policy
from mile.running.command_line import job_folder, override
from mile.running.signals import STOPPING

ROOT = Path(__file__).parents[2]
MAIN = {"train": train.main, "evaluate": evaluate.main, "pretrain": pretrain.main}


def run(folder, program, *overrides, **environment):
    return subprocess.run(
        [sys.executable, ROOT / "src" / f"{program}.py", *overrides],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | environment,
        timeout=300,
        check=False,
    )


ROUNDS = ["experiment=lunarlander", "callbacks.deployment.num_rounds=2"]


@pytest.mark.parametrize(
    ("program", "overrides", "message"),
    [
        ("train", ["experiment=moonlander"], "Could not find 'experiment/moonlander'"),
        ("train", ["env=moonlander"], "Could not find 'env/moonlander'"),
        ("train", ["experiment=lunarlander", "lerning_rate=1"], "Could not override 'lerning_rate'"),
        ("train", ["experiment=lunarlander", "data.batch_size=0"], "batch_size must be at least 1, got 0"),
        ("train", ["experiment=lunarlander_paper", "human.scale=0"], "scale (σ, nats) must be finite and above 0"),
        ("train", ["ckpt_path=nowhere/last.ckpt"], "does not exist; give a run's folder"),
        ("evaluate", ["checkpoint=lunarlander/expert", "video=a.mp4"], "must end in .gif, .webp or .png, got 'a.mp4'"),
        ("evaluate", [], "Missing mandatory value: checkpoint"),
        ("evaluate", ["checkpoint=lunarlander/nobody"], "no checkpoint at 'lunarlander/nobody'"),
        ("train", ["env=metaworld", "env.task=drawer-opne-v3"], "no task 'drawer-opne-v3'; similar: drawer-open-v3"),
        ("train", ["env=metaworld"], "Missing mandatory value: env.task"),
        ("train", ["experiment=drawer_open", "policy.name=peg_insert/initial"], "expected 'drawer_open'"),
        ("train", ["env=drawer_open", "human=table1", "mental_model=nobody"], "Could not find 'mental_model/nobody'"),
        ("pretrain", ["role=expert", "algorithm=bc"], "scripted policies, 'lunarlander' has none"),
        ("pretrain", ["role=mental_model", "algorithm=sac"], "a mental model is cloned from rollouts of the robot"),
        ("train", ["experiment=widowx_peg", "human=browser"], "nothing is calibrated on an arm"),
        ("train", ["experiment=widowx_peg", "human=calibrated"], "expert must not move a real arm"),
        (
            "train",
            ["experiment=widowx_peg", "callbacks.evaluation.every_n_epochs=9999"],
            "must see the learnt policy before they leave: callbacks.evaluation.every_n_epochs must div",
        ),
        (
            "train",
            ["experiment=widowx_peg", "callbacks.evaluation=null"],
            "must see the learnt policy before they leave: callbacks.evaluation.every_n_epochs must div",
        ),
        ("train", ["env=widowx_peg"], "a robot needs a desk; choose hardware=simulated"),
        ("train", ["experiment=lunarlander", "human=browser", "trainer=ddp"], "a person oversees one process"),
        ("train", ["experiment=lunarlander", "trainer=gpu"], "needs a GPU that PyTorch can use, there is none"),
        ("train", ["experiment=lunarlander", "method.intervention_weight=2"], "(λ) must lie in [0, 1], got 2"),
        (
            "train",
            ["experiment=lunarlander", "learner_scale_ratio=0"],
            "learner_scale_ratio must be finite and above 0",
        ),
        ("train", ["experiment=lunarlander", "callbacks.deployment.num_rounds=0"], "num_rounds must be at least 1"),
        (
            "train",
            ["experiment=lunarlander", "protocol=matched_interventions", "callbacks.deployment.match=nowhere"],
            "'nowhere' holds no finished run to match",
        ),
        ("evaluate", ["checkpoint=lunarlander/expert", "num_episodes=0"], "num_episodes must be at least 1, got 0"),
        ("train", [*ROUNDS, "gate=nobody"], "Could not find 'gate/nobody'"),
        ("train", [*ROUNDS, "gate=mile", "gate.budget=0"], "gate.budget must be at least 1, got 0"),
        ("train", [*ROUNDS, "gate=mile", "method=iwr"], "needs MILE's mental model; choose method=mile"),
        ("train", [*ROUNDS, "gate.budget=20"], "is a robot's that asks; choose a gate, such as gate=mile"),
        ("train", [*ROUNDS, "gate=aim", "data.from=there"], "and data.from=there is a recording; leave out one"),
        ("train", ["experiment=lunarlander", "gate=random"], "give callbacks.deployment.num_rounds=2 or more"),
        ("train", [*ROUNDS, "gate=random", "fleet=8"], "choose gate=human"),
        ("train", [*ROUNDS, "gate=always", "method.timing=sticky"], "choose method.timing=memoryless"),
        ("train", [*ROUNDS, "fleet=2", "method.learn_cost=true"], "method.learn_cost=false"),
        ("train", [*ROUNDS, "fleet=2", "human=sticky"], "has a human who looks away"),
        ("train", ["experiment=widowx_peg", "gate=always"], "must be able to take over at any time"),
        ("train", [*ROUNDS, "fleet=1"], "a fleet has at least 2 robots, got fleet=1"),
        ("train", [*ROUNDS, "fleet=8", "attention=mile", "method=pvp"], "choose method=mile"),
        ("train", [*ROUNDS, "fleet=8", "trainer=ddp"], "fleet=8 has one human, in one process"),
        ("train", ["experiment=widowx_peg", "hardware=simulated", "fleet=2"], "a desk has one arm"),
        ("train", ["experiment=widowx_peg", "method=ppl", "method.horizon=4"], "a desk has none; choose method."),
        ("train", ["experiment=lunarlander", "method=apo", "policy.chunk=4"], "choose method=mile, mile_silence, hg"),
        ("train", ["env=two_ways", "policy.chunk=4", "policy.execute=5"], "at most chunk=4, got 5"),
        ("train", ["env=two_ways", "policy.execute=2"], "a number of the actions of policy.chunk, which is null"),
        ("train", ["env=two_ways", "policy.chunk=4", "data.chunk=2"], "data.chunk=2 must be policy.chunk=4"),
        ("train", ["env=two_ways", "policy.chunk=4", "likelihood=joint"], "needs method.likelihood=product, got joint"),
        ("train", ["env=two_ways", "policy.chunk=11"], "is longer than an episode of at most 10"),
        ("train", ["env=two_ways", "policy.head=flow_matching"], "needs a policy with a density"),
        ("train", ["experiment=lunarlander", "policy.chunk=8"], "choose policy.execute=6 or less"),
        ("train", [*ROUNDS, "gate=aim", "method=iwr", "policy.chunk=4"], "policy.chunk=4 decides on several"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path, monkeypatch, capsys, program, overrides, message):
    """In this process, because to import everything anew takes long."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr("sys.argv", [f"{program}.py", *overrides, "hydra.run.dir=."])
    monkeypatch.setattr("warnings.formatwarning", warnings.formatwarning)
    before = {number: signal.getsignal(number) for number in STOPPING}
    with pytest.raises(SystemExit) as left:
        MAIN[program]()
    for number, handler in before.items():
        signal.signal(number, handler)
    line = str(left.value)
    assert line.startswith("error: ")
    assert "\n" not in line
    assert message in line
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("overrides", [["experiment=moonlander"], ["experiment=lunarlander", "data.batch_size=0"]])
def test_the_program_prints_that_line_and_fails(tmp_path, overrides):
    done = run(tmp_path, "train", *overrides, "hydra.run.dir=.")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr


def test_the_traceback_is_there_for_who_asks(tmp_path):
    done = run(tmp_path, "evaluate", "checkpoint=lunarlander/nobody", HYDRA_FULL_ERROR="1")
    assert "Traceback" in done.stderr


def test_processes_that_are_started_apart_must_agree_on_a_folder(tmp_path):
    done = run(tmp_path, "train", "experiment=lunarlander", "trainer=ddp", WORLD_SIZE="2", RANK="1", LOCAL_RANK="1")
    assert done.stderr.startswith("error: 2 processes that are started apart must share a folder; give hydra.run.dir=")


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


def test_a_sweep_survives_a_job_that_fails_and_skips_what_has_finished(tmp_path):
    sweep = ["-m", "experiment=lunarlander", "debug=smoke", "data.batch_size=0,8"]
    many_cores = "import os\nos.sched_getaffinity = lambda pid: set(range(16))\n"
    (tmp_path / "sitecustomize.py").write_text(many_cores)  # where Lightning would advise more workers
    first, again = run(tmp_path, "train", *sweep, PYTHONPATH=str(tmp_path)), run(tmp_path, "train", *sweep)
    assert first.returncode == again.returncode == 1
    assert "batch_size must be at least 1, got 0" in first.stderr
    assert "warning" not in first.stderr
    (finished,) = tmp_path.glob("outputs/lunarlander_sweep/*/results.json")
    assert "batch_size_8" in finished.parent.name
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", finished.parent.name)  # needs no quotes, for a shell or for Hydra
    assert "is finished" in again.stdout


def test_a_search_goes_on_after_a_trial_that_fails(tmp_path):
    search = ["hparams=optuna", "hydra.sweeper.n_trials=3", "data.batch_size=choice(0,8)", "logger=none"]
    done = run(tmp_path, "train", "experiment=lunarlander", "debug=smoke", *search)
    assert done.returncode == 0, done.stderr
    assert "batch_size must be at least 1, got 0" in done.stderr
    assert len(list(tmp_path.glob("outputs/*_sweep/*/results.json"))) >= 1
    assert len([path for path in tmp_path.glob("outputs/*_sweep/*") if path.is_dir()]) == 3


@pytest.mark.parametrize("word", ["ckpt_path=run/epoch=3.ckpt", "checkpoint=/tmp/J\u00f6rg/x", "like=a (copy)/b"])
def test_a_word_that_hydra_cannot_read_is_given_back_in_quotes(monkeypatch, word):
    """What is printed says the same to the shell and to Hydra."""
    monkeypatch.setattr("sys.argv", ["train.py", word])
    with pytest.raises(SystemExit) as left:
        train.main()
    assert f"'{word}' cannot be read as key=value" in str(left.value)
    (advice,) = re.findall(r"for the shell it is: (.*) \(HYDRA", str(left.value))
    (unquoted,) = shlex.split(advice)
    key, value = word.split("=", 1)
    parsed = OverridesParser.create().parse_override(unquoted)
    assert (parsed.key_or_group, parsed.value()) == (key, value)


@pytest.mark.parametrize("place", ["/home/x/plain", "mile (copy)", "J\u00f6rg", 'a"b', "c'd", "back\\", "a=b,c", "[d]"])
def test_an_override_means_the_text_that_it_was_given(place):
    parsed = OverridesParser.create().parse_override(override("like", place))
    assert parsed.value() == place
    with initialize_config_module("mile.configs", version_base=None):
        assert compose("train", [override("like", place)]).like == place


def test_jobs_that_differ_have_different_folders_with_plain_names():
    overrides = ["like_a b", "like_a_b", "like_a/b", "x" * 300, "x" * 301, "seed_1"]
    folders = [job_folder(text) for text in overrides]
    assert len(set(folders)) == len(folders)
    assert all(re.fullmatch(r"[A-Za-z0-9_.+-]{1,210}", folder) for folder in folders)
    assert folders[-1] == "seed_1"


def test_runs_that_begin_in_one_second_have_folders_of_their_own(tmp_path):
    """Eight processes ask for the same folder."""
    ask = "import sys; from mile.running.command_line import new_folder as f; print(f(sys.argv[1]), f(sys.argv[1]))"
    asking = [
        subprocess.Popen([sys.executable, "-c", ask, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    answers = [process.communicate()[0].split() for process in asking]
    assert all(first == second for first, second in answers)  # as often as one process asks
    assert sorted(Path(first).name for first, _ in answers) == ["run", *(f"run_{number}" for number in range(2, 9))]


def test_a_name_from_a_config_makes_no_folder_once_a_run_has_begun(tmp_path, monkeypatch, as_a_program):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py", "ckpt_path=nowhere", "hydra.run.dir=."])
    with pytest.raises(SystemExit):
        train.main()
    foreign = OmegaConf.create({"x": f"${{new_folder:{tmp_path}/made}}"})
    with pytest.raises(OmegaConfBaseException):
        OmegaConf.resolve(foreign)
    assert not (tmp_path / "made").exists()


def test_a_reader_who_leaves_does_not_end_a_run(tmp_path):
    command = f"{sys.executable} {ROOT / 'src' / 'train.py'} experiment=lunarlander debug=smoke hydra.run.dir=run"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | head -1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (tmp_path / "run" / "results.json").exists()


def test_no_policy_is_written_over_without_being_asked(tmp_path, monkeypatch, as_a_program):
    """A sweep has a file for each job, and a second call keeps what is there."""
    monkeypatch.chdir(tmp_path)
    recording = InterventionBuffer("shown", "lunarlander")
    steps = expert_episode(make_env("lunarlander", max_episode_steps=20), load_policy("lunarlander/expert"), 0, seed=0)
    steps["next", "success"][-1] = True
    recording.append(steps)
    cloning = ["role=initial", "algorithm=recorded", "train.demonstrate.folder=shown", "train.steps=2"]
    cloning += ["evaluation.num_episodes=1", "+env.max_episode_steps=20"]

    def call(*words):
        monkeypatch.setattr("sys.argv", ["pretrain.py", *words, *cloning])
        pretrain.main()
        return {path: path.read_bytes() for path in tmp_path.rglob("outputs/**/*.safetensors")}

    swept = call("-m", "seed=0,1")
    assert len(set(swept.values())) == 2
    first = call("seed=2")
    assert len(first) == 3
    with pytest.raises(SystemExit, match=r"initial.safetensors' exists; choose another output=…, or overwrite=true"):
        call("seed=3")
    assert {path: path.read_bytes() for path in first} == first
    assert call("seed=3", "overwrite=true") != first


SECOND_OF_TWO_TASKS = {  # as srun says it to a run of its own, one of two in a job
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "study",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "1",
    "SLURM_NODELIST": "localhost",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
}


@pytest.mark.parametrize(
    ("place", "environment"),
    [
        ("mile (copy)", SECOND_OF_TWO_TASKS | {"PYTHONIOENCODING": "ascii"}),
        ("J\u00f6rg", {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "PYTHONIOENCODING": "cp1252"}),
    ],
)
def test_one_process_is_a_whole_run_whatever_its_surroundings_say(tmp_path, place, environment):
    """A rank in the environment, letters that the terminal does not know, a folder that needs quotes."""
    smoke = ["experiment=lunarlander", "debug=smoke", override("hydra.run.dir", tmp_path / place / "run")]
    done = run(tmp_path, "train", *smoke, **environment)
    assert done.returncode == 0, done.stderr
    assert "learnt policy" in done.stdout
    files = set(os.listdir(tmp_path / place / "run"))
    assert {"results.json", "config.yaml", "policy.safetensors", "buffer"} <= files
    (printed,) = re.findall(r"^tensorboard --logdir (.*)$", done.stdout, re.MULTILINE)
    assert len(shlex.split(printed)) == 1


def test_a_search_is_composed():
    with initialize_config_module("mile.configs", version_base=None):
        cfg = compose("train", ["hparams=optuna", "experiment=lunarlander"], return_hydra_config=True)
    assert cfg.hydra.sweeper._target_.endswith("OptunaSweeper")
    for name in cfg.hydra.sweeper.params:
        assert OmegaConf.select(cfg, name) is not None, name
