"""Speed of collection and evaluation: against the simulator alone, and by two processes against one."""

from functools import partial

import numpy as np
from ratio import Figure, ratio_once
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, ScheduledEnv, make_env
from mile.envs.episodes import PARKED
from mile.envs.players import MultiProcess
from mile.evaluation import evaluate_policy
from mile.humans import SimulatedHuman
from mile.policies import load_policy


def collection(name: str, copies: int = 16, repetitions: int = 5, workers: int = 0) -> Figure:
    """Episodes a second of `collect_episodes` with the simulated human, over those of the bare vector environment.

    The bare environment plays the very same episodes, resets included, from the actions that were recorded, in one
    process.

    Args:
        name: Name of the task.
        copies: Number of copies of the simulator, in each process.
        repetitions: Number of times that both are measured.
        workers: Number of worker processes of `collect_episodes`, which are already there; 0: it plays in this one.
    """
    # environments and human
    robot, expert, mental_model = (load_policy(f"{name}/{role}") for role in ("initial", "expert", "mental_model"))
    human = SimulatedHuman(expert, mental_model, 10.0, 4.0)
    bare = make_env(name, copies)
    env = make_env(name, copies, collector=MultiProcess(workers)) if workers else make_env(name, copies)
    supervised = TransformedEnv(env, InterventionTransform(human))

    # the episodes, once for their actions
    numbers = range(6 * copies)
    steps = collect_episodes(supervised, robot, numbers, seed=0)
    actions = {number: steps["executed_action"][steps["episode"] == number].numpy() for number in numbers}

    figure = ratio_once(
        lambda: replay(bare, actions, seed=0),
        lambda: collect_episodes(supervised, robot, numbers, seed=0),
        repetitions,
    )
    env.close()
    return figure


def replay(env: ScheduledEnv, actions: dict[int, np.ndarray], seed: int) -> None:
    """Step Gymnasium's vector environment through recorded episodes, with nothing else around it."""
    vector, none = env._env, np.zeros_like(actions[0][0])
    env.schedule.start(seed, actions)
    steps = np.zeros(vector.num_envs, int)  # of each copy's episode
    episodes = vector.reset()[0]["episode"]
    while (episodes != PARKED).any():
        # step all copies
        chosen = []
        for episode, step in zip(episodes, steps, strict=True):
            chosen.append(none if episode == PARKED else actions[episode][step])
        observed, _, terminated, truncated, _ = vector.step(np.stack(chosen))

        # begin new episodes where old ones have ended
        steps += 1
        done = terminated | truncated
        if done.any():
            steps[done] = 0
            observed, _ = vector.reset(options={"reset_mask": done})
        episodes = observed["episode"].copy()


def evaluation_two_over_one() -> Figure:
    """Episodes a second by two worker processes, which are already there, over those of one process."""
    robot = load_policy("drawer_open/initial")
    one, two = make_env("drawer_open", 16), make_env("drawer_open", 16, collector=MultiProcess(2))
    run = partial(evaluate_policy, policy=robot, num_episodes=100, seed=0)
    run(two)
    figure = ratio_once(partial(run, one), partial(run, two))
    two.close()
    return figure
