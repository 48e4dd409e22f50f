import pytest
import torch
from tensordict import TensorDict

from mile.collection import collect_episodes
from mile.envs import make_env, make_policy
from mile.humans import SimulatedHuman
from mile.ingredients.cloning import clone_policy, clone_rollouts, squashed_clone, watch_robot
from mile.ingredients.starts import policy_like
from mile.policies import CategoricalPolicy, GaussianPolicy, load_policy


def test_a_gaussian_is_cloned_to_its_likelihood():
    """Actions 2 s + noise of std 0.5: the best NLL is the noise's entropy."""
    generator = torch.Generator().manual_seed(0)
    observations = 3 + torch.randn(2000, 1, generator=generator)
    actions = 2 * observations + 0.5 * torch.randn(2000, 1, generator=generator)
    torch.manual_seed(0)
    observed = TensorDict({"observation": observations}, [2000])
    nll = clone_policy(GaussianPolicy(1, 1, (32,)), observed, actions, steps=1500, learning_rate=1e-2)
    entropy = torch.distributions.Normal(0.0, 0.5).entropy().item()
    assert nll == pytest.approx(entropy, abs=0.05)


def test_a_robot_is_imitated():
    torch.manual_seed(0)
    env, robot = make_env("lunarlander", 4), load_policy("lunarlander/initial")
    student = make_policy(env)
    before = student.network[0].weight.clone()
    clone, steps = clone_rollouts(env, robot, student, num_episodes=3, steps=500, seed=0)
    assert clone is student
    assert steps == 500
    assert not torch.equal(before, student.network[0].weight)
    observation = torch.cat([torch.randn(200, 8) * student.normalizer.std + student.normalizer.mean])
    majority = robot.act(observation).bincount().max() / 200
    agreement = (student.act(observation) == robot.act(observation)).float().mean()
    assert agreement > majority
    assert isinstance(student, CategoricalPolicy)


def test_what_a_human_expects_follows_the_robot():
    torch.manual_seed(0)
    env = make_env("lunarlander", 4)
    first, belief = load_policy("lunarlander/initial"), load_policy("lunarlander/mental_model")
    now = load_policy("lunarlander/expert")
    human = SimulatedHuman(now, belief, cost=10.0, scale=3.0)
    rollouts = {name: collect_episodes(env, robot, 4, seed=9) for name, robot in (("first", first), ("now", now))}

    def surprise(robot):
        observation, action = (rollouts[robot][key] for key in ("observation", "robot_action"))
        return float(-human.mental_model(observation.double()).log_prob(action).detach().mean())

    before = surprise("now")
    watch_robot(human, env, now, num_episodes=4, steps=300, seed=1)
    assert surprise("now") < 0.7 * before
    after = surprise("first")
    watch_robot(human, env, first, num_episodes=4, steps=300, seed=1)
    assert surprise("first") < after
    again = human.mental_model
    watch_robot(human, env, first, num_episodes=4, steps=300, seed=1)  # does not depend on the belief before
    for one, other in zip(again.parameters(), human.mental_model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_squashed_clone_acts_as_the_robot_does_within_its_limit():
    torch.manual_seed(0)
    env = make_env("CountingBox-v0", 4)
    robot = make_policy(env, hidden_dims=(16,))
    clone = squashed_clone(env, robot, num_episodes=8, steps=3000, seed=0)
    observations = collect_episodes(env, robot, 8, seed=0)["observation"]
    difference = clone.act(observations) - robot.act(observations).clamp(-0.95, 0.95)
    assert difference.abs().mean() < 0.1
    discrete = load_policy("lunarlander/initial")
    assert squashed_clone(env, discrete, num_episodes=8, steps=1, seed=0) is discrete


@pytest.mark.parametrize("head", ["mixture", "flow"])
def test_a_policy_of_another_head_acts_as_the_robot_does(head):
    torch.manual_seed(0)
    env = make_env("CountingBox-v0", 4)
    robot = make_policy(env, hidden_dims=(16,))
    with torch.no_grad():
        robot.network[-1].weight.mul_(0.2)  # actions as they are bounded
    clone = policy_like(env, robot, head=head, num_episodes=8, steps=1500, seed=0)
    observations = collect_episodes(env, robot, 8, seed=0)["observation"]
    assert (clone.act(observations) - robot.act(observations)).abs().mean() < 0.1
    assert policy_like(env, clone, head=head, num_episodes=8, steps=1, seed=0) is clone
    discrete = make_env("Counting-v0")
    with pytest.raises(ValueError, match="head=flow is for continuous actions, and those of 'Counting-v0' are"):
        policy_like(discrete, make_policy(discrete), head="flow", num_episodes=1, steps=1, seed=0)
