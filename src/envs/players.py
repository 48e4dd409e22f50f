"""Players of episodes: in this process, in worker processes, or in Ray actors on several machines."""

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from tensordict import TensorDictBase
from torchrl.collectors import Collector, MultiCollector
from torchrl.envs import EnvBase, TransformedEnv

from mile.envs import InterventionTransform, ScheduledEnv, schedule_of
from mile.humans import Human, Person

Batches = Generator[TensorDictBase, None, None]
RobotPolicy = Callable[[TensorDictBase], TensorDictBase]  # sets "action"
BLOCK_LENGTH = 64  # time steps that are collected and stored together
NOBODY = InterventionTransform(None)  # of an environment without a human


class TimedPolicy:
    """Lets a robot act and records the time; the robot may be replaced.

    Args:
        robot: Function that sets "action" in a TensorDict.
    """

    def __init__(self, robot: RobotPolicy) -> None:
        self.robot = robot

    def __call__(self, step: TensorDictBase) -> TensorDictBase:
        """Set "action", "timestamp" (s since 1970), and "remaining": 1, unless the robot decides on several actions."""
        step = step.set("remaining", torch.ones(step.batch_size, dtype=torch.int64))
        step = self.robot(step)
        return step.set("timestamp", torch.full(step.batch_size, time.time(), dtype=torch.float64))


class Player(Protocol):
    """Plays the episodes of an environment."""

    def play(self, env: EnvBase, robot: RobotPolicy, seed: int | None, episodes: list[int]) -> Batches:
        """Play the given episodes, or without end; an environment of `make_env` parks when it has played them.

        Args:
            env: Environment, batched or not.
            robot: Function that sets "action" in a TensorDict.
            seed: Seed of the episodes; None: the environment's own.
            episodes: Numbers of the episodes.

        Yields:
            One or more time steps of each copy, `[copies, steps]`.
        """
        ...

    def close(self) -> None:
        """Release workers that are kept between calls."""


class InProcess:
    """Plays in this process. Real robots and people need this player."""

    def play(self, env: EnvBase, robot: RobotPolicy, seed: int | None, episodes: list[int]) -> Batches:
        """Play, `BLOCK_LENGTH` time steps at once, or one where there is one copy; see `Player.play`.

        One copy plays one episode after another: each can be recorded before the reset for the next one, which moves a
        real robot and may fail.
        """
        schedule = schedule_of(env)
        if schedule is None:
            if seed is not None:
                env.set_seed(seed)
            yield from self._steps(env, robot)
            return

        is_alone = env.batch_size.numel() == 1
        parts = [[number] for number in episodes] if is_alone else [episodes]
        seed = schedule.seed if seed is None else seed
        try:
            for part in parts:
                schedule.start(seed, part)
                for batch in self._steps(env, robot):
                    yield batch
                    if is_alone and batch["next", "done"].any():
                        break
        finally:
            schedule.start(seed)  # the environment must not stay parked for whoever uses it next

    def _steps(self, env: EnvBase, robot: RobotPolicy) -> Batches:
        """Reset the environment, and yield its steps without end."""
        copies = env.batch_size.numel()
        human = getattr(getattr(env, "transform", None), "human", None)
        is_at_once = copies == 1 or isinstance(human, Person)
        length = 1 if is_at_once else BLOCK_LENGTH  # steps of a person or a real robot must be stored at once
        frames = copies * length
        collector = Collector(env, TimedPolicy(robot), frames_per_batch=frames, total_frames=-1, trust_policy=True)
        if hasattr(robot, "begin"):  # the collector has asked it once
            robot.begin()  # pyright: ignore[reportFunctionMemberAccess]
        try:
            for batch in collector.iterator():  # the collector itself would close the environment after an error
                yield batch.reshape(copies, length)
        finally:
            collector.shutdown(close_env=False)

    def close(self) -> None:
        """Do nothing: no workers are kept."""


def player_of(env: EnvBase) -> Player:
    """Return the player that an environment was made with; a player in this process where there is none."""
    return getattr(env, "player", None) or InProcess()


class MultiProcess:
    """Plays in worker processes with TorchRL's `MultiCollector`; the processes live until `close`.

    Every worker has an environment like the given one, with as many copies, and plays an equal share of the episodes.
    The same workers play for all environments that are made with the same arguments, with a human or without; for one
    who corrects without an action, others.

    Args:
        num_workers: Number of processes.

    Raises:
        ValueError: `num_workers` is below 1, or this is not Linux; or, when playing, the environment is not one of
            `make_env`, bare or with an `InterventionTransform`.
        WorkerDiedError: A worker died while playing; the next call starts new workers.
    """

    def __init__(self, num_workers: int) -> None:
        if num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}")
        if sys.platform != "linux":
            raise ValueError("worker processes have been tried on Linux alone; choose collector=single")
        self.num_workers = num_workers
        self.collector: Any = None
        self.batches: Iterator[TensorDictBase] = iter(())
        self.arguments: tuple[Any, ...] = ()  # that the workers' environments were made with

    def play(self, env: EnvBase, robot: RobotPolicy, seed: int | None, episodes: list[int]) -> Batches:
        """Play, `BLOCK_LENGTH` time steps at once; see `Player.play`.

        Raises:
            ValueError: The environment is not one of `make_env`, bare or with an `InterventionTransform`.
            WorkerDiedError: A worker died.
        """
        # what is played, and with whom: a transform without a human stands for nobody
        bare, transform = (env.base_env, env.transform) if isinstance(env, TransformedEnv) else (env, NOBODY)
        if not isinstance(bare, ScheduledEnv) or not isinstance(transform, InterventionTransform):
            raise ValueError(
                "only simulators made by make_env, bare or with an InterventionTransform, are played in other "
                "processes; choose collector=single"
            )
        self._check_resources()

        try:
            self._start_workers(bare, transform, robot)
            seed = bare.schedule.seed if seed is None else seed
            bare.schedule.start(seed)  # as after playing in this process
            self._send(robot, transform, seed, episodes)
            for batch in self.batches:
                yield batch.reshape(-1, BLOCK_LENGTH)
        except KeyboardInterrupt:  # the collector has given up, and would play nothing any more
            self.close()
            raise
        except Exception as error:  # an error that is no accident will be raised again where the episodes are replayed
            self.close()
            reason = str(error).partition("\n")[0]
            raise WorkerDiedError(f"a worker process died ({type(error).__name__}: {reason})") from error

    def _start_workers(self, env: ScheduledEnv, transform: InterventionTransform, robot: RobotPolicy) -> None:
        """Start workers with an environment like this one, unless they are there.

        Their steps have a place for corrections if the human makes some.
        """
        arguments = _plain((env.recipe.args, env.recipe.keywords, transform.corrects))
        if self.collector is not None and self.arguments == arguments:
            return
        self.close()
        self.arguments = arguments
        make = partial(_make_worker_env, env.recipe, transform.human if transform.corrects else None)
        self.collector = self._start(make, TimedPolicy(robot), BLOCK_LENGTH * env.batch_size.numel())
        self.batches = iter(self.collector)

    def _send(self, robot: RobotPolicy, transform: InterventionTransform, seed: int, episodes: list[int]) -> None:
        """Send the workers the robot, the human, and each one its share of the episodes, which then begin."""
        shares = []
        for worker in range(self.num_workers):
            shares.append((seed, episodes[worker :: self.num_workers]))
        self.collector.map_fn("policy.__setattr__", [("robot", robot)] * self.num_workers)
        for name in ("human", "oversight"):
            value = getattr(transform, name)
            self.collector.map_fn("env.transform.__setattr__", [(name, value)] * self.num_workers)
        self.collector.map_fn("env.schedule.start", shares)
        self.collector.map_fn("reset")

    def _check_resources(self) -> None:
        """Raise if the workers would wait for ever to be started; processes of this machine never do."""

    def _start(self, make: Callable[[], EnvBase], policy: TimedPolicy, frames: int) -> Any:
        """Start the workers; they collect `frames` steps each, over all copies, at a time."""
        os.environ.setdefault("MAX_IDLE_COUNT", "1000000")  # s that workers wait while the policy learns
        return MultiCollector(  # pyright: ignore
            [make] * self.num_workers,
            policy,
            frames_per_batch=frames * self.num_workers,
            total_frames=-1,
            sync=True,  # pyright: ignore
            trust_policy=True,
            use_buffers=True,
            weight_sync_schemes={},
            num_threads=torch.get_num_threads(),
            init_fn=_leave_interrupts_to_the_parent,
        )

    def close(self) -> None:
        """End the workers."""
        if self.collector is not None:
            self.collector.shutdown()
        self.collector = None


class RayActors(MultiProcess):
    """Plays in Ray actors, on one machine or many, with TorchRL's `RayCollector`.

    Args:
        num_workers: Number of actors.
        address: Address of a running Ray cluster; None: Ray is started on this machine.
        cpus: Number of CPUs that each actor occupies.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: When playing, the actors need more CPUs than there are.
    """

    def __init__(self, num_workers: int, address: str | None = None, cpus: float = 1) -> None:
        super().__init__(num_workers)
        if find_spec("ray") is None:
            raise ModuleNotFoundError("Ray is not installed; pip install '.[ray]' in the checkout's folder")
        self.address = address
        self.cpus = cpus

    def _check_resources(self) -> None:
        """Connect to Ray, and raise if there are not enough CPUs, for which it would wait for ever."""
        import ray

        if not ray.is_initialized():
            ray.init(**self._options())
        needed, available = self.num_workers * self.cpus, ray.cluster_resources().get("CPU", 0)
        if needed > available:
            raise ValueError(
                f"{self.num_workers} Ray actors with {self.cpus:g} CPUs each need {needed:g} CPUs, there are "
                f"{available:g}; choose fewer collector.num_workers, or less collector.cpus"
            )

    def _options(self) -> dict[str, Any]:
        return {"address": self.address, "logging_level": "error", "log_to_driver": False}

    def _start(self, make: Callable[[], EnvBase], policy: TimedPolicy, frames: int) -> Any:
        from torchrl.collectors.distributed import RayCollector

        for warning in ("The policy is not an nn.Module", "RayCollector iteration started before weight sync"):
            warnings.filterwarnings("ignore", warning)  # weights travel with the robot
        return RayCollector(
            [make] * self.num_workers,
            policy,
            frames_per_batch=frames * self.num_workers,
            total_frames=sys.maxsize,
            sync=True,
            trust_policy=True,
            ray_init_config=self._options(),
            remote_configs={"num_cpus": self.cpus, "num_gpus": 0},
        )


class WorkerDiedError(RuntimeError):
    """A worker process ended, and its unfinished episodes are lost."""


def _make_worker_env(recipe: Callable[[], EnvBase], human: Human | None) -> EnvBase:
    """Make a worker's environment, with the entries that this human fills; `play` sets who intervenes, if anybody."""
    return TransformedEnv(recipe(), InterventionTransform(human))


def _plain(value: Any) -> Any:
    """Return arguments in which functions with options, of which no two are equal, are what they are made of."""
    if isinstance(value, partial):
        return _plain((value.func, value.args, value.keywords))
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
