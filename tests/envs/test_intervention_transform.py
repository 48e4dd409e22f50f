import pytest
import torch
from torchrl.envs import GymEnv, TransformedEnv, check_env_specs

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env
from mile.humans import Decision, Human, SimulatedHuman
from mile.policies import CategoricalPolicy
from tests.support import EveryThird, act_by_step


@pytest.mark.parametrize("num_envs", [1, 3])
def test_all_entries_of_a_step_belong_to_it(num_envs, every_third):
    env = TransformedEnv(make_env("Counting-v0", num_envs), InterventionTransform(every_third))
    check_env_specs(env)
    steps = collect_episodes(env, act_by_step, 6, seed=0)
    count = steps["observation"][:, 1]
    expected = count % 3 == 2
    robot = (count % 2).long()
    assert torch.equal(steps["intervened"], expected)
    assert torch.equal(steps["robot_action"], robot)
    assert torch.equal(steps["human_action"], torch.where(expected, 4, -1))
    assert torch.equal(steps["executed_action"], torch.where(expected, 4, robot))
    assert torch.equal(steps["next", "reward"], steps["executed_action"].float())  # the environment received it
    assert torch.equal(steps["next", "observation"][:, 1], count + 1)
    assert torch.equal(steps["step"], count.long())
    torch.testing.assert_close(steps["intervention_prob"], expected.float() * 0.9)


def test_continuous_actions_are_clipped_as_executed():
    env = TransformedEnv(make_env("CountingBox-v0", 2), InterventionTransform(EveryThird(continuous=True)))
    check_env_specs(env)
    steps = collect_episodes(env, lambda step: step.set("action", torch.full((2, 2), 3.0)), 3, seed=0)
    by_human = steps["intervened"]
    assert (steps["robot_action"] == 3).all()
    assert (steps["executed_action"][~by_human] == 1).all()
    assert (steps["executed_action"][by_human] == 0.5).all()
    assert steps["human_action"][~by_human].isnan().all()


def test_any_torchrl_environment_can_be_overseen():
    class Contrarian(Human):
        def decide(self, step):
            angle = step["observation"][..., 2]
            return Decision(angle > 0, (angle > 0).long(), torch.ones(angle.shape))

    env = TransformedEnv(GymEnv("CartPole-v1", categorical_action_encoding=True), InterventionTransform(Contrarian()))
    steps = collect_episodes(env, lambda step: step.set("action", torch.zeros((), dtype=torch.long)), 3, seed=0)
    leaning = steps["observation"][:, 2] > 0
    assert torch.equal(steps["intervened"], leaning)
    assert torch.equal(steps["executed_action"], leaning.long())


def test_interventions_of_the_simulated_human_occur_as_often_as_it_says():
    torch.manual_seed(0)
    human = SimulatedHuman(CategoricalPolicy(2, 5, (8,)), CategoricalPolicy(2, 5, (8,)), cost=1.0, scale=3.0)
    env = TransformedEnv(make_env("Counting-v0", 8), InterventionTransform(human))
    steps = collect_episodes(env, act_by_step, 200, seed=0)
    prob, intervened = steps["intervention_prob"], steps["intervened"].float()
    error = (prob * (1 - prob)).sum().sqrt() / len(steps)
    assert abs(intervened.mean() - prob.mean()) < 4 * error
