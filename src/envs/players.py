"""Where episodes are played: in this process, in several, or on several machines."""

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

from mile.envs import InterventionTransform, ScheduledEnv

Batches = Generator[TensorDictBase, None, None]
Robot = Callable[[TensorDictBase], TensorDictBase]
BLOCK = 64  # time steps that travel, and are stored, together


class Timed:
    """Lets a robot act, and notes when; whose turn it is may change.

    Args:
        robot: sets "action" in a TensorDict.
    """

    def __init__(self, robot: Robot) -> None:
        self.robot = robot

    def __call__(self, step: TensorDictBase) -> TensorDictBase:
        """Set "action" and "timestamp" (s since 1970)."""
        step = self.robot(step)
        return step.set("timestamp", torch.full(step.batch_size, time.time(), dtype=torch.float64))


class Player(Protocol):
    """Plays the episodes of an environment."""

    def play(self, env: EnvBase, robot: Robot, seed: int | None, episodes: list[int]) -> Batches:
        """Play without end; an environment of `make_env` parks when it has played the given episodes.

        Args:
            env: batched or not.
            robot: sets "action" in a TensorDict.
            seed: of the episodes; None: the environment's own.
            episodes: their numbers.

        Yields:
            One or more time steps of each copy, `[copies, steps]`.
        """
        ...

    def close(self) -> None:
        """Let go of what is kept from one call to the next."""


class InProcess:
    """Plays in this process: the only one for robots and people."""

    def play(self, env: EnvBase, robot: Robot, seed: int | None, episodes: list[int]) -> Batches:
        """Play, `BLOCK` time steps at once, or one where there is one copy; see `Player.play`."""
        if hasattr(env, "schedule"):
            env.schedule.start(env.schedule.seed if seed is None else seed, episodes)  # pyright: ignore
        elif seed is not None:
            env.set_seed(seed)
        copies = env.batch_size.numel()
        length = 1 if copies == 1 else BLOCK  # what a person or a robot does must not be lost
        collector = Collector(env, Timed(robot), frames_per_batch=copies * length, total_frames=-1, trust_policy=True)
        try:
            for batch in collector:
                yield batch.reshape(copies, length)
        finally:
            collector.shutdown(close_env=False)
            if hasattr(env, "schedule"):
                env.schedule.start(env.schedule.seed)  # pyright: ignore  # who uses it next finds it not parked

    def close(self) -> None:
        """Nothing is kept."""


class MultiProcess:
    """Plays in worker processes with TorchRL's `MultiCollector`; they live on until `close`.

    Every worker has an environment like the given one, with as many copies, and plays an equal share of the episodes.
    One set of workers plays for all environments that are made alike, with a human or without.

    Args:
        num_workers: Number of processes.

    Raises:
        ValueError: num_workers is below 1, or this is not Linux; or, when playing, the environment is not one of
            `make_env`, bare or with an `InterventionTransform`.
        WorkerDiedError: when playing; the next call starts new workers.
    """

    def __init__(self, num_workers: int) -> None:
        if num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}")
        if sys.platform != "linux":
            raise ValueError("worker processes have been tried on Linux alone; choose collector=single")
        self.num_workers = num_workers
        self.collector: Any = None
        self.batches: Iterator[TensorDictBase] = iter(())
        self.made: tuple[Any, ...] = ()  # what the workers' environments are made of

    def play(self, env: EnvBase, robot: Robot, seed: int | None, episodes: list[int]) -> Batches:
        """Play, `BLOCK` time steps at once; see `Player.play`."""
        bare, transform = (env.base_env, env.transform) if isinstance(env, TransformedEnv) else (env, None)
        if not isinstance(bare, ScheduledEnv) or not isinstance(transform, InterventionTransform | None):
            raise ValueError(
                "only simulators made by make_env, bare or with an InterventionTransform, are played in other "
                "processes; choose collector=single"
            )
        human = None if transform is None else transform.human
        made = bare.recipe.args, bare.recipe.keywords
        self._check_room()
        try:
            if self.collector is None or self.made != made:
                self.close()
                self.made = made
                make = partial(_make_worker, bare.recipe)
                self.collector = self._start(make, Timed(robot), BLOCK * env.batch_size.numel())
                self.batches = iter(self.collector)
            seed = bare.schedule.seed if seed is None else seed
            bare.schedule.start(seed)  # as if they were played here
            shares = [episodes[worker :: self.num_workers] for worker in range(self.num_workers)]
            self.collector.map_fn("policy.__setattr__", [("robot", robot)] * self.num_workers)
            self.collector.map_fn("env.transform.__setattr__", [("human", human)] * self.num_workers)
            self.collector.map_fn("env.schedule.start", [(seed, share) for share in shares])
            self.collector.map_fn("reset")
            for batch in self.batches:
                yield batch.reshape(-1, BLOCK)
        except Exception as error:  # whatever it is, it will show again in the process that plays in the worker's place
            self.close()
            reason = str(error).partition("\n")[0]
            raise WorkerDiedError(f"a worker process died ({type(error).__name__}: {reason})") from error

    def _check_room(self) -> None:
        """Raise if the workers would wait for ever for a place; processes never do."""

    def _start(self, make: Callable[[], EnvBase], policy: Timed, frames: int) -> Any:
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
        num_workers: actors.
        address: of a running Ray cluster; None: Ray is started on this machine.
        cpus: that each actor occupies.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: when playing; the actors need more CPUs than there are.
    """

    def __init__(self, num_workers: int, address: str | None = None, cpus: float = 1) -> None:
        super().__init__(num_workers)
        if find_spec("ray") is None:
            raise ModuleNotFoundError("Ray is not installed; pip install '.[ray]' in the checkout's folder")
        self.address = address
        self.cpus = cpus

    def _check_room(self) -> None:
        """Connect to Ray, and refuse to wait for CPUs that are not there."""
        import ray

        if not ray.is_initialized():
            ray.init(**self._options())
        needed, there = self.num_workers * self.cpus, ray.cluster_resources().get("CPU", 0)
        if needed > there:
            raise ValueError(
                f"{self.num_workers} Ray actors with {self.cpus:g} CPUs each need {needed:g} CPUs, there are "
                f"{there:g}; choose fewer collector.num_workers, or less collector.cpus"
            )

    def _options(self) -> dict[str, Any]:
        return {"address": self.address, "logging_level": "error", "log_to_driver": False}

    def _start(self, make: Callable[[], EnvBase], policy: Timed, frames: int) -> Any:
        from torchrl.collectors.distributed import RayCollector

        for needless in ("The policy is not an nn.Module", "RayCollector iteration started before weight sync"):
            warnings.filterwarnings("ignore", needless)  # weights travel with the robot
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
    """A process that played episodes is gone, and the unfinished ones with it."""


def _make_worker(recipe: Callable[[], EnvBase]) -> EnvBase:
    return TransformedEnv(recipe(), InterventionTransform(None))  # who intervenes, if anybody, is told before each play


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
