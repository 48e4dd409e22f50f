import multiprocessing
from contextlib import closing

import numpy as np
import pytest
import torch
from torchrl.envs import GymEnv, StepCounter, TransformedEnv

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env, make_policy
from mile.envs.automatic import Automatic
from mile.envs.players import MultiProcess
from mile.humans import SimulatedHuman
from mile.policies import load_policy
from mile.timing import Delayed
from tests.support import act_by_step

ROBOT, EXPERT, MENTAL_MODEL = (load_policy(f"lunarlander/{role}") for role in ("initial", "expert", "mental_model"))


@pytest.fixture(scope="module")
def workers():
    """An environment whose episodes are played by worker processes, which live through all tests."""
    env = make_env("lunarlander", 4, collector=MultiProcess(2))
    yield env
    env.close()
    assert not multiprocessing.active_children()


def check_equal(steps, others):
    """Compare all recorded entries except the time."""
    assert len(steps) == len(others)
    for key in set(steps.keys(True, True)) - {"timestamp"}:
        np.testing.assert_array_equal(steps[key].numpy(), others[key].numpy(), err_msg=str(key))


def test_workers_play_the_same_episodes(workers):
    here = make_env("lunarlander", 3)
    for deterministic in (True, False):
        options = {"seed": 3, "deterministic": deterministic}
        check_equal(*(collect_episodes(env, ROBOT, [4, 0, 7], **options) for env in (workers, here)))
    check_equal(*(collect_episodes(env, EXPERT, 2) for env in (workers, here)))  # another robot, the env's own seed


@pytest.mark.parametrize(("patience", "threads", "helped"), [(0.0, 2, True), (0.0, 1, False), (1e9, 2, False)])
def test_cores_are_used_unasked_where_that_pays_and_the_episodes_are_the_same(patience, threads, helped):
    player = Automatic(patience)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with closing(make_env("lunarlander", 4, collector=player)) as env:
            check_equal(*(collect_episodes(one, ROBOT, [4, 0, 7], seed=3) for one in (env, make_env("lunarlander", 3))))
            assert (player.workers is not None) == helped
            collect_episodes(env, ROBOT, 1, seed=3)  # which is not shared
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert player.seconds > 0


def test_workers_play_with_the_present_human(workers):
    human = SimulatedHuman(EXPERT, MENTAL_MODEL, 9.9, 3.6)
    there = TransformedEnv(workers, InterventionTransform(human))
    here = TransformedEnv(make_env("lunarlander", 3), InterventionTransform(human))
    for cost in (9.9, 3.0):
        human.cost = cost
        check_equal(*(collect_episodes(env, ROBOT, 3, seed=5) for env in (there, here)))


def test_workers_play_with_a_human_in_time_who_has_a_past(workers):
    human = SimulatedHuman(EXPERT, MENTAL_MODEL, 4.0, 3.6, Delayed(2.0, median_delay=6.0))
    here = TransformedEnv(make_env("lunarlander", 3), InterventionTransform(human))
    there = TransformedEnv(workers, InterventionTransform(human))
    steps = collect_episodes(here, ROBOT, 2, seed=5)
    assert steps["intervened"].any()
    check_equal(steps, collect_episodes(there, ROBOT, 2, seed=5))


def test_workers_play_with_a_human_who_corrects_and_then_with_one_who_takes_over():
    """Direction is recorded of the one alone, and the same workers may have played with neither."""
    with closing(make_env("two_ways", 2, collector=MultiProcess(1))) as workers:
        robot = make_policy(workers)
        collect_episodes(workers, robot, 1, seed=5)
        for corrections in ("nudge", "takeover"):
            human = SimulatedHuman(robot, robot, -1.0, 1.0, corrections=corrections)
            here, there = (TransformedEnv(env, InterventionTransform(human)) for env in (make_env("two_ways"), workers))
            steps = collect_episodes(here, robot, 2, seed=5)
            assert steps["intervened"].any()
            assert ("direction" in steps.keys()) == (corrections == "nudge")
            check_equal(steps, collect_episodes(there, robot, 2, seed=5))


def test_workers_that_were_interrupted_are_not_asked_again():
    """As in a notebook, where somebody stops a cell and runs it once more."""

    def interrupted():
        raise KeyboardInterrupt
        yield

    with closing(make_env("lunarlander", 2, collector=MultiProcess(1))) as workers:
        before = collect_episodes(workers, ROBOT, 1, seed=0)
        workers.player.batches = interrupted()
        with pytest.raises(KeyboardInterrupt):
            collect_episodes(workers, ROBOT, 1, seed=0)
        check_equal(before, collect_episodes(workers, ROBOT, 1, seed=0))


def test_each_step_says_when_it_was_made(workers):
    steps = collect_episodes(workers, ROBOT, 1, seed=0)
    assert (steps["timestamp"].diff() > 0).all()


def test_a_worker_that_is_killed_costs_no_episode(workers):
    collect_episodes(workers, ROBOT, 1)
    numbers = []

    def keep(steps):
        if not numbers:
            multiprocessing.active_children()[0].kill()
        numbers.append(int(steps["episode"][0]))

    with pytest.warns(match="a worker process died"):
        steps = collect_episodes(workers, ROBOT, 12, seed=1, on_episode=keep)
    check_equal(steps, collect_episodes(make_env("lunarlander", 12), ROBOT, 12, seed=1))
    assert sorted(numbers) == list(range(12))
    collect_episodes(workers, ROBOT, 2, seed=1)  # by new workers
    assert len(multiprocessing.active_children()) == 2


def test_environments_that_workers_cannot_play_are_refused(workers):
    for env in (GymEnv("CartPole-v1", categorical_action_encoding=True), TransformedEnv(workers, StepCounter())):
        with pytest.raises(ValueError, match="choose collector=single"):
            next(MultiProcess(2).play(env, act_by_step, 0, [0]))
    with pytest.raises(ValueError, match="num_workers must be at least 1, got 0"):
        MultiProcess(0)
