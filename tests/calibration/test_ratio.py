import re

import pytest
import torch
from torchrl.envs import TransformedEnv

from mile.calibration import calibrate_cost
from mile.envs import InterventionTransform, make_env
from mile.evaluation import evaluate_policy
from mile.humans import SimulatedHuman
from mile.policies import CategoricalPolicy, load_policy


def lunarlander():
    return [load_policy(f"lunarlander/{role}") for role in ("initial", "expert", "mental_model")]


def test_the_target_ratio_is_reached_in_deployment():
    robot, expert, mental_model = lunarlander()
    env = make_env("lunarlander", 8)
    found = calibrate_cost(env, robot, expert, mental_model, target_ratio=0.25, num_episodes=6, tolerance=0.02, seed=1)
    assert found.intervention_ratio == pytest.approx(0.25, abs=0.02)
    human = SimulatedHuman(expert, mental_model, found.cost, found.scale)
    supervised = TransformedEnv(make_env("lunarlander", 2), InterventionTransform(human))
    again = evaluate_policy(supervised, robot, 6, seed=1)
    assert again.intervention_ratio == pytest.approx(found.intervention_ratio)
    assert torch.equal(again.returns, found.helped.returns)
    assert 0.5 < found.auc <= 1
    assert found.floor < 0.01


@pytest.mark.parametrize("target", [0.0, 1.0, -1.0])
def test_impossible_targets_are_refused(target):
    with pytest.raises(ValueError, match=r"target_ratio must lie in \(0, 1\)"):
        calibrate_cost(make_env("Counting-v0"), *[CategoricalPolicy(2, 5, (4,))] * 3, target_ratio=target)


def test_a_constant_gap_is_refused():
    policy = CategoricalPolicy(2, 5, (4,))
    torch.nn.init.zeros_(policy.network[-1].weight)
    with pytest.raises(ValueError, match="nothing to calibrate"):
        calibrate_cost(make_env("Counting-v0"), policy, policy, policy, num_episodes=1)


def test_a_human_who_does_not_help_is_refused_with_that_sentence():
    robot, expert, mental_model = lunarlander()
    with pytest.raises(ValueError, match="do not raise the return of the rollouts") as refused:
        calibrate_cost(  # the weak policy in the human's place
            make_env("lunarlander", 3), expert, robot, mental_model, num_episodes=3, target_ratio=0.8, seed=1
        )
    alone, helped = map(float, re.findall(r"return (\S+) alone, (\S+) with", str(refused.value))[0])
    assert helped <= alone


def test_a_manipulation_task_is_judged_by_success():
    robot, expert, mental_model = (load_policy(f"drawer_open/{role}") for role in ("initial", "expert", "mental_model"))
    env = make_env("drawer_open", 16)
    found = calibrate_cost(
        env, robot, expert, mental_model, relative_scale=0.1, num_episodes=16, metric="success", seed=1
    )
    assert found.helps
    assert found.helped.success_rate > found.alone.success_rate + 0.2
    assert found.intervention_ratio < 0.3
    assert "with interventions" in str(found)
    assert found.summary()["success_helped"] == found.helped.success_rate
