import pytest
import torch
from torchrl.envs import TransformedEnv, check_env_specs

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env, make_policy
from mile.humans import SimulatedHuman
from mile.policies import CategoricalPolicy, GaussianPolicy, load_policy


@pytest.mark.parametrize("name", ["lunarlander", "Counting-v0", "CountingBox-v0"])
def test_specs_hold(name):
    check_env_specs(make_env(name, num_envs=2))


def test_unknown_names_and_counts_are_refused():
    with pytest.raises(ValueError, match="unknown environment 'moonlander'; expected lunarlander"):
        make_env("moonlander")
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        make_env("lunarlander", num_envs=0)


def test_an_episode_depends_on_seed_and_number_alone():
    """Supervised LunarLander episodes are the same for every batch size, order and selection."""
    robot, expert = load_policy("lunarlander/initial"), load_policy("lunarlander/expert")
    human = SimulatedHuman(expert, load_policy("lunarlander/mental_model"), cost=10.0, scale=3.0)

    def play(num_envs, episodes):
        env = TransformedEnv(make_env("lunarlander", num_envs), InterventionTransform(human))
        steps = collect_episodes(env, robot, episodes, seed=3, deterministic=False)
        return steps.exclude("timestamp")

    together = play(3, [0, 1, 2])
    for other in (play(1, [0, 1, 2]), play(2, [0, 1, 2])):
        for key in ("observation", "robot_action", "human_action", "executed_action", "episode"):
            assert torch.equal(together[key], other[key])
    alone = play(1, [2])
    assert torch.equal(alone["observation"], together["observation"][together["episode"] == 2])
    assert not torch.equal(alone["observation"][:50], together["observation"][:50])


def test_policies_fit_the_environment():
    discrete, box = (
        make_policy(make_env("Counting-v0"), hidden_dims=(8,)),
        make_policy(make_env("CountingBox-v0"), hidden_dims=(8,)),
    )
    assert isinstance(discrete, CategoricalPolicy)
    assert discrete.act(torch.zeros(3, 2)).shape == (3,)
    assert isinstance(box, GaussianPolicy)
    assert box.act(torch.zeros(3, 2)).shape == (3, 2)


def test_the_task_is_solved_by_a_return_above_the_threshold():
    expert = load_policy("lunarlander/expert")
    steps = collect_episodes(make_env("lunarlander", 4), expert, 8, seed=1)
    for number in range(8):
        episode = steps[steps["episode"] == number]
        assert bool(episode["next", "success"].any()) == bool(episode["next", "reward"].sum() >= 200)
        assert not episode["next", "success"][:-1].any()
