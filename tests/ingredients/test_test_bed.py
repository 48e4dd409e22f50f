"""A test bed is judged by criteria that were written down before, and made by one command."""

import json
import shutil

import pytest
import torch
from hydra import compose, initialize_config_module

from mile.commands.test_bed import make_test_bed
from mile.envs import make_env
from mile.evaluation import evaluate_policy
from mile.humans import SimulatedHuman
from mile.ingredients.test_bed import Criteria, helped_score, judge_gain, judge_initial, oracle_score
from mile.policies import describe_checkpoint, load_policy
from mile.reports.runs import read_runs
from mile.running.cache import fingerprint
from mile.train import train
from tests.support import composed

CRITERIA = Criteria(initial=[0.05, 0.7], gain=0.2, expert=0.9)


def test_a_bed_is_sound_or_it_is_said_what_is_wrong():
    assert judge_initial(0.3, CRITERIA) == ""
    assert judge_initial(0.04, CRITERIA) == "the initial policy scores 0.04, outside of [0.05, 0.7]"
    assert judge_gain("helped episodes score", 0.5, 0.3, CRITERIA) == ""
    assert judge_gain("the oracle scores", 0.49, 0.3, CRITERIA) == "the oracle scores 0.49, below 0.50"


def test_the_bed_that_ships_is_sound():
    """LunarLander's, whose oracle lands as all who learnt from it did; with the calibration that ships."""
    env, policy = make_env("lunarlander", 16), load_policy("lunarlander/initial")
    human = SimulatedHuman(load_policy("lunarlander/expert"), load_policy("lunarlander/mental_model"), 9.93, 3.61)
    episodes = {"metric": "return", "num_episodes": 20, "seed": 0}
    criteria = Criteria([-100, 60], 50, 200)
    torch.manual_seed(0)
    initial = evaluate_policy(env, policy, 20, 0).mean_return
    helped, ratio = helped_score(env, policy, human, **episodes)
    oracle = oracle_score(env, policy, human, **episodes, learns_from=10, steps=200, learning_rate=1e-4)
    assert judge_initial(initial, criteria) == ""
    assert judge_gain("helped episodes score", helped, initial, criteria) == ""
    assert judge_gain("the oracle scores", oracle, initial, criteria) == ""
    assert 0.1 < ratio < 0.35


FEW = [
    "judgement.num_episodes=4",
    "oracle.learns_from=2",
    "oracle.steps=5",
    "criteria.success.initial=[0,1]",
    "criteria.success.expert=0",
    "+recipes.two_ways.expert=['demos.num_episodes=4','train.steps=50']",
    "+recipes.two_ways.initial=['demos.num_episodes=2','train.steps=20']",
    "+recipes.two_ways.mental_model=['train.num_episodes=2','train.steps=20']",
    "options=['++calibration.num_episodes=4','++calibration.refuse=false']",
]


def make(folder, *more):
    """Make a bed of Two-Ways with hardly any learning, as the program does."""
    with initialize_config_module("mile.configs", version_base=None):
        return make_test_bed(compose("test_bed", ["task=two_ways", "number=7", f"output={folder}", *FEW, *more]))


@pytest.fixture(scope="module")
def bed(tmp_path_factory):
    """A bed with no criterion that it could fail."""
    folder = tmp_path_factory.mktemp("beds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILE_CACHE", str(folder / "cache"))
        return make(folder, "criteria.success.gain=-1")


def test_its_seeds_follow_from_its_number(bed):
    assert describe_checkpoint(bed / "expert")["seed"] == 20_002
    assert describe_checkpoint(bed / "initial")["seed"] == 10_700
    assert describe_checkpoint(bed / "mental_model")["role"] == "mental_model"
    assert json.loads((bed / "test_bed.json").read_text())["wrong"] == ""


def test_a_run_begins_on_it_and_a_report_knows_no_places(bed, tmp_path):
    """The same settings wherever the bed lies, others than on what ships; the person is the bed's expert."""
    few = ["experiment=two_ways", "debug=smoke", "logger=none", "human.calibrate.target_ratio=0.9"]
    moved = shutil.copytree(bed, tmp_path / "moved")
    for seed, options in enumerate([[f"test_bed={bed}"], [f"test_bed={moved}"], []]):
        output = tmp_path / "runs" / f"{seed}"
        output.mkdir(parents=True)
        train(composed("train", *few, *options, f"output_dir={output}", f"seed={seed}"))
    outcomes, left_out = read_runs([tmp_path / "runs"])
    settings = {outcome.seed: outcome.settings for outcome in outcomes}
    assert settings[0] == settings[1]
    assert fingerprint(load_policy(bed / "expert")).startswith(outcomes[0].person)
    assert "other settings" in left_out[0]


def test_what_fails_is_kept_and_the_next_trial_goes_on_from_there(tmp_path):
    with pytest.raises(ValueError, match=r"none of 4 trials .*; '.*trials\.json' says why"):
        make(tmp_path, "criteria.success.gain=2", "attempts=4", "mental_models=3")
    trials = json.loads((tmp_path / "7" / "trials.json").read_text())
    seeds = [(trial["initial_seed"], trial["mental_model_seed"]) for trial in trials]
    assert seeds == [(10_700, 10_700), (10_700, 10_730), (10_700, 10_760), (10_701, 10_701)]
    assert all("below" in trial["wrong"] for trial in trials)
    assert not (tmp_path / "7" / "test_bed.json").exists()
    made = (tmp_path / "experts" / "2.json").stat().st_mtime

    make(tmp_path, "criteria.success.gain=-1", "attempts=5", "mental_models=3")
    assert json.loads((tmp_path / "7" / "test_bed.json").read_text())["mental_model_seed"] == 10_731
    assert (tmp_path / "experts" / "2.json").stat().st_mtime == made


def test_an_expert_who_is_not_good_enough_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"none of 2 experts scores 1\.5"):
        make(tmp_path, "criteria.success.expert=1.5", "attempts=2")
