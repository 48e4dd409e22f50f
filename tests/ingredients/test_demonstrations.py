import pytest
import torch
from tensordict import TensorDict

from mile.envs import make_env, make_policy
from mile.envs.metaworld import scripted_policy
from mile.evaluation import evaluate_policy, summarize
from mile.ingredients.demonstrations import ScriptedPolicy, clone_demonstrations, demonstrate

OPTIONS = {"num_episodes": 6, "noise": 0.0, "bias": 0.0, "biased": (), "max_steps": 500, "seed": 1}


def show(**options):
    return demonstrate(make_env("drawer_open", 3), **(OPTIONS | options))


def test_the_label_is_the_clean_action_and_the_executed_one_has_the_noise():
    steps = show(noise=0.3)
    free = steps["human_action"].abs() < 0.05  # where clipping plays no part
    noise = (steps["executed_action"] - steps["human_action"])[free]
    assert free.sum() > 20
    assert noise.std() == pytest.approx(0.3, abs=0.05)
    assert noise.mean() == pytest.approx(0, abs=0.05)
    assert steps["intervened"].all()
    assert steps["executed_action"].abs().max() <= 1
    assert summarize(steps).success_rate == 1


def test_a_bias_is_constant_in_an_episode_and_differs_between_episodes():
    scripted = ScriptedPolicy(*scripted_policy("drawer-open-v3"), bias=0.1, biased=(4, 5, 6), seed=1)
    observation = show()["observation"][:1].expand(4, -1)
    actions = scripted.clean_actions(TensorDict(observation=observation, episode=torch.tensor([0, 0, 1, 2])))
    assert torch.equal(actions[0], actions[1])
    assert len(actions.unique(dim=0)) == 3
    shifted = observation.clone()
    shifted[:, -35:-32] += torch.tensor(scripted._offset(0), dtype=torch.float32)
    straight = ScriptedPolicy(*scripted_policy("drawer-open-v3")).clean_actions(
        TensorDict(observation=shifted, episode=torch.zeros(4, dtype=torch.long))
    )
    torch.testing.assert_close(actions[0], straight[0])


def test_a_sloppy_demonstrator_fails_and_is_cut():
    steps = show(bias=0.3, biased=(4, 5, 6), max_steps=100)
    assert summarize(steps).success_rate < 1
    assert steps["step"].max() == 99


def test_a_policy_is_cloned_from_a_few_noisy_demonstrations():
    torch.manual_seed(0)
    env = make_env("drawer_open", 8)
    policy, steps = clone_demonstrations(
        env, lambda env: demonstrate(env, **(OPTIONS | {"noise": 0.3})), make_policy(env), steps=600, seed=0
    )
    assert steps == 600
    for deterministic in (True, False):
        assert evaluate_policy(env, policy, 16, seed=2, deterministic=deterministic).success_rate > 0.7


def test_only_metaworld_has_scripted_policies():
    with pytest.raises(ValueError, match="scripted policies, 'Counting-v0' has none"):
        demonstrate(make_env("Counting-v0"), **OPTIONS)
