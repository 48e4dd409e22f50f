import numpy as np
import pytest
import torch
from torchrl.envs import GymEnv

from mile.collection import collect_episodes
from mile.envs import make_env
from mile.humans import DiscardedError
from mile.policies import CategoricalPolicy, GaussianPolicy
from mile.transitions import ENTRIES, TransitionError
from tests.support import act_by_step


def lengths_by_seed(seed, count):
    """The lengths of Counting-v0's episodes, from its own generator seeded as documented."""
    lengths = []
    for episode in range(count):
        reset_seed = int(np.random.default_rng((seed, episode)).integers(2**31))
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(reset_seed)))
        lengths.append(int(generator.integers(3, 40)))
    return lengths


@pytest.mark.parametrize("num_envs", [1, 4, 16])
def test_the_first_started_episodes_are_returned_whole(num_envs):
    """Keeping the first to end would keep the short ones; with 16 copies and 5 episodes this test would fail."""
    steps = collect_episodes(make_env("Counting-v0", num_envs), act_by_step, 5, seed=7)
    assert set(steps.keys(True, True)) == set(ENTRIES)
    lengths = [int((steps["episode"] == number).sum()) for number in range(5)]
    assert lengths == lengths_by_seed(7, 5)
    for number in range(5):
        episode = steps[steps["episode"] == number]
        assert torch.equal(episode["step"], torch.arange(len(episode)))
        assert (episode["next", "terminated"] | episode["next", "truncated"]).nonzero().tolist() == [[len(episode) - 1]]
        assert torch.equal(episode["next", "observation"][:-1], episode["observation"][1:])
    assert torch.equal(steps["episode"].sort().values, steps["episode"])


def test_chosen_episodes_only():
    both = collect_episodes(make_env("Counting-v0", 4), act_by_step, [1, 3], seed=7)
    assert both["episode"].unique().tolist() == [1, 3]
    assert len(both) == sum(np.array(lengths_by_seed(7, 4))[[1, 3]])


def test_each_episode_is_handed_over_before_a_step_of_the_next_one():
    events = []
    env = make_env("Counting-v0", 1)

    def robot(step):
        if step["observation"][0, 1] == 0 and events[-1:] != ["start"]:  # the collector tries the policy once
            events.append("start")
        return act_by_step(step)

    collect_episodes(env, robot, 3, seed=0, on_episode=lambda steps: events.append(f"end {int(steps['episode'][0])}"))
    assert events == ["start", "end 0", "start", "end 1", "start", "end 2"]


def test_any_torchrl_environment_and_policy_serve():
    env = GymEnv("CartPole-v1", categorical_action_encoding=True)
    steps = collect_episodes(env, lambda step: step.set("action", torch.ones((), dtype=torch.long)), 4, seed=1)
    assert steps["episode"].unique().tolist() == [0, 1, 2, 3]
    assert not steps["intervened"].any()


def test_a_second_call_on_the_same_environment_gives_the_same_episodes():
    env = make_env("Counting-v0", 3)
    first, second = (collect_episodes(env, act_by_step, 4, seed=2) for _ in range(2))
    assert torch.equal(first["observation"], second["observation"])


@pytest.mark.parametrize("numbers", [[0, 0], [-1]])
def test_repeated_and_negative_episode_numbers_are_refused(numbers):
    with pytest.raises(ValueError, match="must differ and be at least 0"):
        collect_episodes(make_env("Counting-v0"), act_by_step, numbers)


@pytest.mark.parametrize("policy", [CategoricalPolicy(3, 5), CategoricalPolicy(2, 4), GaussianPolicy(2, 5)])
def test_a_policy_of_other_dimensions_is_refused(policy):
    with pytest.raises(ValueError, match="needs a CategoricalPolicy with observation_dim 2 and action_dim 5, got a"):
        collect_episodes(make_env("Counting-v0"), policy, 1)


def test_no_episodes_is_refused():
    with pytest.raises(ValueError, match="num_episodes must be at least 1, got 0"):
        collect_episodes(make_env("Counting-v0"), act_by_step, 0)


def test_nan_observations_are_refused_and_earlier_episodes_kept():
    env, episodes = make_env("Counting-v0"), []
    policy = CategoricalPolicy(2, 5, (4,))
    copy = env._env.envs[0].unwrapped
    observe, starts = copy.observe, []

    def broken():
        observation = observe()
        starts.append(observation[1] == 0)
        return observation * float("nan") if sum(starts) == 3 else observation

    copy.observe = broken
    with pytest.raises(TransitionError, match="'observation' must be finite"):
        collect_episodes(env, policy, 5, on_episode=episodes.append)
    assert len(episodes) == 2


def test_an_episode_is_kept_if_the_reset_for_the_next_one_fails():
    """A reset moves a real arm, and waits."""
    env, episodes = make_env("Counting-v0"), []
    copy = env._env.envs[0].unwrapped
    reset, resets = copy.reset, []

    def jammed(**options):
        resets.append(options)
        if len(resets) == 3:
            raise OSError("the block is jammed")
        return reset(**options)

    copy.reset = jammed
    with pytest.raises(OSError, match="jammed"):
        collect_episodes(env, act_by_step, 5, seed=7, on_episode=episodes.append)
    assert [len(steps) for steps in episodes] == lengths_by_seed(7, 2)


def test_an_episode_that_is_discarded_leaves_the_environment_open(monkeypatch):
    """An arm would go to rest amid a session, and stay up at its end, when the environment counts as closed."""
    env, steps_played = make_env("Counting-v0"), []
    monkeypatch.setattr(env._env, "close", lambda: steps_played.append("closed"))

    def discards_once(step):
        steps_played.append(step)
        if len(steps_played) == 4:
            raise DiscardedError
        return act_by_step(step)

    steps = collect_episodes(env, discards_once, 2, seed=7)
    assert "closed" not in steps_played
    assert [int((steps["episode"] == number).sum()) for number in range(2)] == lengths_by_seed(7, 2)


def test_an_environment_plays_on_afterwards():
    """Otherwise a reinforcement learner that first collects demonstrations would learn in a parked environment."""
    env = make_env("Counting-v0", 2, seed=4)
    fresh = env.rollout(3)
    collect_episodes(env, act_by_step, 3)
    assert torch.equal(env.rollout(3)["observation"], fresh["observation"])
    assert (env.rollout(3)["episode"] >= 0).all()
