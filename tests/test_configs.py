import gc
import math
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError

from mile.datamodules import InterventionBuffer
from mile.envs import make_env
from mile.envs.frames import decompress
from mile.evaluate import evaluate
from mile.evaluation import evaluate_policy
from mile.hardware.safety import Limits
from mile.hardware.simulated.bench import SimulatedBench
from mile.policies import describe_checkpoint, load_policy
from mile.pretrain import pretrain
from mile.reports.runs import read_runs
from mile.train import train
from mile.transitions import DEMONSTRATION
from tests.graphics import needs_graphics
from tests.support import PEOPLE, SCRIPT, composed, smoke

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.fixture(autouse=True)
def _one_run_at_a_time():
    """Leave nothing to the next run: neither MuJoCo's memory, which Python does not see, nor Lightning's variables."""
    yield
    gc.collect()
    if dist.is_initialized():
        dist.destroy_process_group()
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)  # with LOCAL_RANK, Lightning would wait for ranks that somebody else starts


def names(group):
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


NOT_STUDIES = [name for name in names("experiment") if "study" not in name]


def test_no_file_is_without_a_key():
    for path in CONFIGS.rglob("*.yaml"):
        assert OmegaConf.load(path), path


@pytest.mark.filterwarnings("ignore:no interventions in round")  # two episodes calibrate nothing
@pytest.mark.parametrize("experiment", [it for it in names("experiment") if it != "widowx_peg_r3m"])
def test_every_experiment_runs_through_all_of_its_stages(tmp_path, experiment):
    nobody = ["human=scripted", "participant=1", "human.calibrate.target_ratio=0.9"] if "study" in experiment else []
    if experiment == "play":
        nobody = ["human=calibrated"]
    if "widowx" in experiment:
        nobody = ["hardware=simulated", "env.num_envs=1", "env.max_episode_steps=20", "human.watch.num_episodes=1"]
    rows = train(smoke(tmp_path, f"experiment={experiment}", *nobody))
    assert list(rows) == ["initial policy", "with interventions", "learnt policy", "expert (sampled)"]
    environment = describe_checkpoint(tmp_path / "policy")["environment"]
    assert experiment.removeprefix("released_").startswith((environment, "user_study", "play"))
    learnt, initial = load_policy(tmp_path / "policy").architecture, load_policy(f"{environment}/initial").architecture
    assert {**learnt, "temperature": 0} == {**initial, "temperature": 0}
    assert (tmp_path / "results.json").exists()
    assert list(tmp_path.glob("*.ckpt"))


BASELINES = [name for name in names("method") if not name.startswith("mile")]
DEFAULTS = ["default", "cpu", "tensorboard", "mile", "intervention", "pretrained", "warm_start", "calibrated"]


@pytest.mark.filterwarnings("ignore:no interventions in round")
@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(f"{group}={name}", marks=[pytest.mark.gpu] * (name == "gpu"))
        for group in ("policy", "human", "mental_model", "method", "data", "callbacks", "logger", "trainer")
        for name in names(group)
        if name not in DEFAULTS
    ]
    + [f"method.timing={name}" for name in ("sticky", "delayed", "accumulating", "believing")]
    + [f"gate={name}" for name in names("gate") if name != "human"]
    + [f"fleet=2 attention={name}" for name in names("attention")]
    + ["likelihood=joint", "method=ppl method.horizon=2", "method=bc_intervention method.shared_trunk=true"]
    + [f"policy.chunk=8 policy.execute=4 method={name}" for name in ("mile", "mile_silence", "sirius")],
)
def test_every_other_choice_runs(tmp_path, choice):
    more = []
    if choice == "human=hesitant":  # with continuous actions alone
        more = ["env=drawer_open"]
    if choice in PEOPLE:
        more = [*PEOPLE[choice], *SCRIPT]  # a person who only presses start
    if choice in {"human=scripted", "human=scripted_wrong", "callbacks=study"}:
        more = ["+participant=1", "human.calibrate.target_ratio=0.9"]
    rows = train(smoke(tmp_path, "experiment=lunarlander", *choice.split(), *more))
    assert all(len(row.returns) == 2 for row in rows.values())


@pytest.mark.filterwarnings("ignore:no interventions in round")
def test_at_a_desk_the_person_judges_and_no_expert_acts(tmp_path):
    desk = [
        "experiment=widowx_peg",
        "hardware=simulated",
        "human=on_widowx",
        "env.num_envs=1",
        "env.max_episode_steps=5",
    ]
    rows = train(smoke(tmp_path, *desk, *PEOPLE["human=on_widowx"], *SCRIPT))
    assert list(rows) == ["initial policy", "learnt policy"]
    outcomes, unfinished = read_runs([tmp_path])
    assert not unfinished
    assert math.isnan(outcomes[0].expert)


@needs_graphics
@pytest.mark.filterwarnings("ignore:no interventions in round")
def test_the_experiment_from_pictures_runs_from_demonstrations_to_results(tmp_path):
    """With an encoder that needs no weights; tests/hardware/test_vision.py has R3M's own."""
    seen = ["~env.encoder.folder", "env.encoder._target_=tests.hardware.brightness.brightness", "+env.embedding=3"]
    desk = ["hardware=simulated", "env.num_envs=1", "++env.max_episode_steps=10", *seen]
    for role, *few in (
        ("initial", "demos.num_episodes=2"),
        ("mental_model", "train.num_episodes=1", f"train.robot.name={tmp_path}/initial"),
    ):
        few += ["train.steps=5", "evaluation.num_episodes=1", f"output={tmp_path / role}"]
        pretrain(composed("pretrain", "env=widowx_peg_r3m", f"role={role}", *desk, *few))
    made = [f"policy.name={tmp_path}/initial", f"human.mental_model.name={tmp_path}/mental_model"]
    more = ["human.watch.num_episodes=1", "human.watch.steps=5"]
    train(smoke(tmp_path, "experiment=widowx_peg_r3m", *desk, *made, *more))
    assert load_policy(tmp_path / "policy").architecture["observation_dim"] == 4 * (3 + 3)
    recorded = InterventionBuffer(tmp_path / "buffer", "widowx_peg").steps
    assert recorded["state"].shape[-1] == 4 * 6
    assert decompress(recorded["frame"][0]).shape == (224, 224, 3)


def test_scripted_participants_differ():
    def ratio(participant):
        cfg = composed("train", "experiment=user_study_single", "human=scripted", f"participant={participant}")
        return cfg.human.calibrate.target_ratio

    assert [ratio(number) for number in (1, 5, 8)] == [0.1, 0.3, 0.2]


def test_the_learner_may_have_another_cost_and_scale_than_the_human(tmp_path):
    more = ["human=table1", "learner_cost_ratio=2", "learner_scale_ratio=0.5", "method.frozen_mental_model=true"]
    train(smoke(tmp_path, "experiment=drawer_open", *more))
    content = torch.load(next(tmp_path.glob("*.ckpt")), weights_only=True)["hyper_parameters"]
    assert (content["cost"], content["scale"]) == (2 * 60, 75 / 2)
    assert content["frozen_mental_model"]


@pytest.mark.filterwarnings("ignore:no interventions in round")
@pytest.mark.parametrize("method", BASELINES)
def test_every_method_learns_continuous_actions_too(tmp_path, method):
    more = ["demonstrations=1", "data.restart=true"]
    train(smoke(tmp_path, "experiment=button_press", f"method={method}", *more))
    buffer = InterventionBuffer(tmp_path / "buffer", "button_press")
    assert [len(buffer.recorded(number)) for number in (DEMONSTRATION, 0, 1)] == [1, 1, 1]


TASKS = ("lunarlander", "button_press", "drawer_open", "peg_insert")
TABLE_1 = {  # learning rates, read off the page in its order of tasks; BC intervention is not in it
    "mile": (1e-5, 1e-4, 5e-4, 1e-4),
    "hg_dagger": (5e-6, 5e-5, 1e-4, 5e-6),
    "iwr": (5e-6, 5e-6, 1e-4, 1e-6),
    "sirius": (5e-6, 5e-6, 1e-4, 1e-6),
    "rlif": (5e-4, 3e-4, 3e-4, 3e-4),
}


@pytest.mark.parametrize("method", TABLE_1)
def test_table_1s_learning_rates_are_there(method):
    for task, rate in zip(TASKS, TABLE_1[method], strict=True):
        cfg = composed("train", f"experiment={task}", f"method={method}", "rates=table1")
        assert cfg.method.optimizer.lr == rate


def test_every_rate_is_of_a_method_and_a_task():
    """A misspelt name would not be noticed: other tasks and methods have a rate of their own."""
    tasks = {composed("train", f"experiment={name}", "+participant=1").tuned_for for name in NOT_STUDIES}
    for name in names("rates"):
        rates = composed("train", f"rates={name}").rates
        assert set(rates) <= tasks
        for task in rates:
            assert set(rates[task]) <= {*BASELINES, "mile"}


def test_a_user_gets_the_learning_rates_of_the_comparison():
    """As docs/results has them, for some; in rounds all have the same."""
    for task, method, rate in (
        ("drawer_open", "mile", 3e-5),
        ("peg_insert", "iwr", 3e-4),
        ("drawer_open", "mile_silence", 3e-5),
        ("peg_insert_iterative", "mile", 1e-4),
        ("drawer_open_iterative", "sirius", 1e-4),
    ):
        assert composed("train", f"experiment={task}", f"method={method}").method.optimizer.lr == rate


def test_rlif_has_its_own_rhythm_whatever_the_experiment_says():
    for task in TASKS:
        cfg = composed("train", f"experiment={task}", "method=rlif")
        assert cfg.callbacks.deployment.epochs_per_round == 1
        assert cfg.callbacks.deployment.deterministic == (task == "lunarlander")
        assert cfg.data.batch_size == (64 if task == "lunarlander" else 256)


def test_the_same_data_for_another_method(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = train(smoke(tmp_path / "first", "experiment=lunarlander", "callbacks.deployment.episodes_per_round=2"))
    more = ["protocol=same_data", f"data.from={tmp_path / 'first'}", f"like={tmp_path / 'first'}"]
    second = train(smoke(tmp_path / "second", "experiment=lunarlander", "method=iwr", *more))
    buffers = [InterventionBuffer(tmp_path / name / "buffer", "lunarlander") for name in ("first", "second")]
    rows = [buffer.rows() for buffer in buffers]
    assert torch.equal(*(buffer.steps["timestamp"][row] for buffer, row in zip(buffers, rows, strict=True)))
    assert buffers[1].recorded(0) == {0, 1, 2, 3}
    for name in ("initial policy", "with interventions", "expert (sampled)"):
        assert torch.equal(first[name].returns, second[name].returns)


@pytest.mark.parametrize("collector", names("collector"))
def test_every_collector_plays_the_same(tmp_path, collector):
    few = [
        "env.num_envs=2",
        "checkpoint=lunarlander/expert",
        "num_episodes=5",
        f"output={tmp_path / 'evaluation.json'}",
    ]
    result = evaluate(composed("evaluate", f"collector={collector}", *few))
    here = evaluate_policy(make_env("lunarlander", 5), load_policy("lunarlander/expert"), 5, seed=2000000)
    assert torch.equal(result.returns, here.returns)


@pytest.mark.parametrize("env", names("env"))
def test_every_environment_has_table_1_or_none(env):
    """Table I's cost and scale, read off the page."""
    cfg = composed("train", f"env={env}", "human=table1", *(["env.task=door-open-v3"] if env == "metaworld" else []))
    told = {"lunarlander": (3, 1), "button_press": (150, 200), "drawer_open": (60, 75), "peg_insert": (75, 175)}
    told |= {"widowx_peg": (70, 100), "widowx_peg_r3m": (70, 100)}
    if env in told:
        assert (cfg.human.cost, cfg.human.scale) == told[env]
    else:
        with pytest.raises(InterpolationKeyError):
            _ = cfg.human.cost


RECIPES = [("lunarlander", "expert", "dqn"), ("lunarlander", "initial", "dqn"), ("lunarlander", "mental_model", None)]
for manipulation in ("button_press", "peg_insert"):
    RECIPES += [(manipulation, role, algorithm) for role in ("expert", "initial") for algorithm in ("bc", "sac")]
    RECIPES += [(manipulation, "mental_model", None)]  # algorithm=recorded: see tests/commands/test_record.py


@pytest.mark.parametrize(("env", "role", "algorithm"), RECIPES)
def test_every_ingredient_is_made(tmp_path, env, role, algorithm):
    few = ["evaluation.num_episodes=1", f"output={tmp_path / role}"]
    if role == "mental_model":
        few += ["train.num_episodes=1", "train.steps=5"]
    elif algorithm == "bc":
        few += ["demos.num_episodes=2", "train.steps=5"]
    else:
        frames = 1280 if algorithm == "dqn" else 256
        few += ["train.num_episodes=1", f"train.algorithm.total_frames={2 * frames}"]
        few += [f"train.algorithm.frames_per_checkpoint={frames}"]
    if algorithm == "sac":
        few += ["demos.num_episodes=2", "train.stop_at=0.0", "train.algorithm.warmup_frames=256"]
    chosen = [] if algorithm is None else [f"algorithm={algorithm}"]
    pretrain(composed("pretrain", f"env={env}", f"role={role}", *chosen, *few))
    description = describe_checkpoint(tmp_path / role)
    assert description["role"] == role
    assert description["evaluation"]["episodes"] == 1


def test_every_algorithm_is_among_the_recipes():
    assert set(names("algorithm")) == {"bc", "sac", "dqn", "rollouts", "recorded"}


def test_special_recipes_are_for_environments_and_roles_that_exist():
    """They are optional in the defaults list, so that Hydra would not notice a misspelt name."""
    for name in names("special"):
        env = max((env for env in names("env") if name.startswith(f"{env}_")), key=len)
        assert name.removeprefix(f"{env}_") in names("role")
    ingredients = composed("pretrain", "role=expert").ingredients
    assert set(ingredients) <= set(names("env"))
    for task in ingredients:
        assert set(ingredients[task]) <= set(names("role"))
    assert set(names("schedule")) <= set(names("method"))


def test_ingredients_are_cloned_from_the_demonstrations_that_were_chosen_for_them():
    cfg = composed("pretrain", "env=peg_insert", "role=expert")
    assert (cfg.demos.num_episodes, cfg.demos.noise, cfg.demos.max_steps, cfg.train.steps) == (600, 0.2, 200, 15000)
    cfg = composed("pretrain", "env=peg_insert", "role=initial")
    assert (cfg.demos.bias, list(cfg.demos.biased), cfg.demos.max_steps, cfg.train.steps) == (0.1, [37, 38], 220, 2000)
    cfg = composed("pretrain", "env=button_press", "role=initial")
    assert (cfg.demos.num_episodes, list(cfg.demos.biased), cfg.train.steps) == (10, [4, 5, 6], 800)
    assert composed("pretrain", "env=peg_insert", "role=expert", "algorithm=sac").demos.num_episodes == 30


SHIPPED = {  # between which a role's mean return or success rate must lie, for a task that shows something
    "lunarlander": {"initial": (-50, 120), "expert": (200, 400), "mental_model": (-100, 120)},
    **{
        env: {"initial": (0.1, 0.4), "expert": (0.75, 1.0), "mental_model": (0.0, 0.5)}
        for env in ("button_press", "drawer_open", "peg_insert", "widowx_peg")
    },
}


@pytest.mark.parametrize(("name", "role"), [(name, role) for name, roles in SHIPPED.items() for role in roles])
def test_what_ships_is_as_good_as_its_json_says(name, role):
    slow = name == "widowx_peg"  # it acts through a serial port
    env = make_env(name, bench=SimulatedBench) if slow else make_env(name, 16)
    episodes, description = 9 if slow else 25, describe_checkpoint(f"{name}/{role}")
    told = description["evaluation"]
    score = told["mean_return" if env.metric == "return" else "success_rate"]
    low, high = SHIPPED[name][role]
    assert told["episodes"] == 100
    assert low <= score <= high
    assert told["deterministic"] == (role == "initial")
    assert f"role={role}" in description["command"]
    policy = load_policy(f"{name}/{role}", environment=name)
    found = evaluate_policy(env, policy, episodes, seed=7, deterministic=told["deterministic"])
    spread = found.returns.std() if env.metric == "return" else max(score * (1 - score), 0.04) ** 0.5
    assert abs(found.score(env.metric) - score) < 4 * spread / episodes**0.5
    env.close()


def test_the_desk_is_described_by_its_config_and_not_touched():
    desk = instantiate(composed("doctor").hardware)()
    assert (desk.robot.port, desk.robot.kernel.limits) == ("/dev/ttyUSB0", Limits())
    desk.close()
