from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from mile.envs import make_env
from mile.evaluation import evaluate_policy
from mile.policies import describe_checkpoint, load_policy
from mile.pretrain import pretrain
from mile.train import train

CONFIGS = Path(__file__).parent.parent / "configs"


def names(group):
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def composed(config_name, *overrides):
    with initialize_config_module("mile.configs", version_base=None):
        cfg = compose(config_name, list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]  # as Hydra hands it to the program
    return cfg


def smoke(tmp_path, *overrides):
    return composed("train", "debug=smoke", *overrides, f"output_dir={tmp_path}", "name=test")


@pytest.mark.parametrize("experiment", names("experiment"))
def test_every_experiment_runs_through_all_of_its_stages(tmp_path, experiment):
    rows = train(smoke(tmp_path, f"experiment={experiment}"))
    assert list(rows) == ["initial policy", "with interventions", "learnt policy", "expert (sampled)"]
    learnt = load_policy(tmp_path / "policy")
    assert learnt.architecture == load_policy("lunarlander/initial").architecture | {
        "temperature": learnt.architecture["temperature"]
    }
    assert (tmp_path / "results.json").exists()
    assert (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize(
    "choice",
    [
        f"{group}={name}"
        for group in ("env", "policy", "human", "mental_model", "method", "data", "callbacks", "logger", "trainer")
        for name in names(group)
        if name
        not in ("default", "cpu", "tensorboard", "mile", "intervention", "pretrained", "warm_start", "lunarlander")
    ],
)
def test_every_other_choice_runs(tmp_path, choice):
    rows = train(smoke(tmp_path, "experiment=lunarlander", choice))
    assert all(len(row.returns) == 2 for row in rows.values())


@pytest.mark.parametrize("role", names("role"))
def test_every_role_is_made(tmp_path, role):
    few = ["role.train.num_episodes=1", "evaluation.num_episodes=1", f"output={tmp_path / role}"]
    if role == "mental_model":
        few += ["role.train.steps=5"]
    else:
        few += ["role.train.total_frames=2560", "role.train.frames_per_checkpoint=1280"]
    pretrain(composed("pretrain", f"role={role}", *few))
    description = describe_checkpoint(tmp_path / role)
    assert description["role"] == role
    assert description["evaluation"]["episodes"] == 1


@pytest.mark.parametrize(
    ("role", "low", "high"), [("initial", -50, 120), ("expert", 200, 400), ("mental_model", -100, 120)]
)
def test_what_ships_is_as_good_as_its_json_says(role, low, high):
    told = describe_checkpoint(f"lunarlander/{role}")["evaluation"]
    assert told["episodes"] == 100
    assert low <= told["mean_return"] <= high
    assert told["deterministic"] == (role == "initial")
    policy = load_policy(f"lunarlander/{role}", environment="lunarlander")
    found = evaluate_policy(make_env("lunarlander", 16), policy, 25, seed=7, deterministic=told["deterministic"])
    assert abs(found.mean_return - told["mean_return"]) < 4 * found.returns.std() / 5
