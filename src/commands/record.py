"""Record demonstrations of a person; failures are kept but not counted.

mile-record env=widowx_peg hardware=widowx human=gamepad num_episodes=120
"""

from __future__ import annotations

import shlex
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig

from mile.running.command_line import entry_point, override

if TYPE_CHECKING:
    from tensordict import TensorDictBase

    from mile.datamodules import InterventionBuffer
    from mile.envs import ScheduledEnv
    from mile.humans import Person


def record(env: ScheduledEnv, person: Person, buffer: InterventionBuffer, num_episodes: int, seed: int) -> None:
    """Let a person demonstrate the task until enough episodes succeed; each is on disk as soon as it ends.

    Args:
        env: Environment of one copy.
        person: Person, who is always in control.
        buffer: Buffer of the episodes; those that it already holds are counted.
        num_episodes: Number of successful episodes to reach.
        seed: Seed of the episodes.

    Raises:
        ValueError: The buffer was begun with pictures, and this environment takes none.
    """
    from torchrl.envs import TransformedEnv

    from mile.collection import collect_episodes
    from mile.envs import InterventionTransform
    from mile.transitions import DEMONSTRATION, REPORTED

    if missing := REPORTED.keys() & buffer.entries.keys() - set(env.observation_spec.keys()):
        raise ValueError(
            f"'{buffer.folder}' was begun with {sorted(missing)}, this environment has none; give another output, or "
            "the environment that it was begun with (env.frames=true)"
        )

    def count_successes() -> int:
        rows = buffer.rows([DEMONSTRATION])
        if not len(rows):
            return 0
        successes = buffer.steps["next", "success"][rows]
        return len(buffer.steps["episode"][rows][successes].unique())

    def idle(step: TensorDictBase) -> TensorDictBase:
        return step.set("action", env.action_spec.zero())

    def progress() -> dict[str, int]:
        return {"round": 1, "rounds": 1, "episode": count_successes() + 1, "episodes": num_episodes}

    person.progress = progress
    supervised = TransformedEnv(env, InterventionTransform(person))
    for number in count(max(buffer.recorded(DEMONSTRATION), default=-1) + 1):
        if count_successes() >= num_episodes:
            return
        collect_episodes(
            supervised, idle, [number], seed=seed, deployment_round=DEMONSTRATION, on_episode=buffer.append
        )


@entry_point("record")
def main(cfg: DictConfig) -> None:
    """Record demonstrations, or continue a recording."""
    from mile.datamodules import InterventionBuffer
    from mile.humans.keymaps import keymap_for

    buffer = InterventionBuffer(cfg.output, cfg.env.name)
    with closing(instantiate(cfg.env)) as env:
        keymap = keymap_for(env.name, env.action_spec_unbatched)
        person = instantiate(cfg.human.person)(view=env.render, keymap=keymap)
        with closing(person.console):
            record(env, person, buffer, cfg.num_episodes, cfg.seed)
    folder = shlex.quote(override("train.demonstrate.folder", cfg.output))
    print(f"{cfg.output}: {len(buffer.episodes)} episodes; to clone a policy: algorithm=recorded {folder}")


if __name__ == "__main__":
    main()
