"""Predictions of ν that depend on ν in the steps before: online, where these are known, and free-running.

Free-running, a whole attempt is predicted without ever seeing ν. The states stay the recorded ones, although another ν
would have led to others. Each estimator simulates its own ν along them many times; its prediction is the mean
over these histories of p(ν=1) given the history so far.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from tensordict import TensorDictBase
from torch import Tensor

from mile.recordings.prediction import trained_network
from mile.timing import Gap, TimingModel
from mile.timing.attempts import attempt_rows
from mile.timing.model import before
from mile.timing.online import Course
from mile.transitions import acted

USED = ("observation", "intervened", "robot_action", "executed_action")  # entries of a step that estimators may use


class Estimator(ABC):
    """Predicts ν step by step in attempts, along one or more histories of ν in each of them.

    Every step is a call of `prob` and one of `observe`, from step 0 on.
    """

    @abstractmethod
    def begin(self, attempts: TensorDictBase, histories: int) -> None:
        """Called before the first step.

        Args:
            attempts: Recorded steps, `[attempts, T]`; those behind an attempt's end are padded.
            histories: Number of histories that are followed in each attempt.
        """

    @abstractmethod
    def prob(self, step: int) -> Float[Tensor, "histories attempts"]:
        """Return p(ν=1) of a step given the history before it, float64."""

    @abstractmethod
    def observe(self, step: int, intervened: Bool[Tensor, "histories attempts"]) -> None:
        """Called with ν of each history after a step."""


def online(estimator: Estimator, steps: TensorDictBase) -> Float[Tensor, " steps"]:
    """Predict ν of each step, given the recorded ν of the steps before it.

    Args:
        estimator: Estimator to ask.
        steps: Steps of whole attempts one after another, `[steps]`.
    """
    return _along(estimator, steps, 1, lambda prob, recorded: recorded.expand(prob.shape))


def free_running(
    estimator: Estimator, steps: TensorDictBase, histories: int = 100, seed: int = 0
) -> Float[Tensor, " steps"]:
    """Predict ν of whole attempts from their states, without any of their ν.

    Args:
        estimator: Estimator to ask.
        steps: Steps of whole attempts one after another, `[steps]`.
        histories: Number of histories of ν that are simulated in each attempt.
        seed: Seed of these.
    """
    generator = torch.Generator().manual_seed(seed)

    def simulated(prob: Tensor, recorded: Tensor) -> Tensor:
        return torch.rand(prob.shape, dtype=torch.float64, generator=generator) < prob

    return _along(estimator, steps, histories, simulated)


@torch.no_grad()
def _along(
    estimator: Estimator, steps: TensorDictBase, histories: int, draw: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Return the mean prediction over histories whose ν comes from `draw`, given p(ν=1) and the recorded ν."""
    rows, valid = attempt_rows(steps)
    attempts: Any = steps.select(*USED, strict=False)[rows]
    estimator.begin(attempts, histories)
    means = []
    for step in range(rows.shape[-1]):
        prob = estimator.prob(step)
        estimator.observe(step, draw(prob, attempts["intervened"][:, step]))
        # the mean of equal numbers is that number, to the last bit
        means.append(prob[0] + (prob - prob[0]).mean(0))
    return torch.stack(means, -1)[valid]


class WithoutMemory(Estimator):
    """Predicts from the states alone, so that online and free-running predictions are the same.

    Args:
        predict: Function that returns p(ν=1), `[*batch]`, of steps `[*batch]`.
    """

    def __init__(self, predict: Callable[[TensorDictBase], Tensor]) -> None:
        self._predict = predict

    def begin(self, attempts: TensorDictBase, histories: int) -> None:
        """Predict all steps; see `Estimator.begin`."""
        self._prob = self._predict(attempts).double().expand(histories, *attempts.batch_size)

    def prob(self, step: int) -> Tensor:
        """Return the step's prediction; see `Estimator.prob`."""
        return self._prob[..., step]

    def observe(self, step: int, intervened: Tensor) -> None:
        """Remember nothing; see `Estimator.observe`."""


class AsBefore(Estimator):
    """Predicts that ν is what it was one step earlier (0 before an attempt's first step).

    As a probability, this is how often ν=1 followed on ν=0, and on ν=1, in earlier rounds, by Laplace's rule
    (n + 1) / (N + 2): never 0 or 1, so that no step is impossible.

    Args:
        earlier: Steps of whole attempts of the rounds before, `[earlier steps]`.
    """

    def __init__(self, earlier: TensorDictBase) -> None:
        rows, valid = attempt_rows(earlier)
        intervened = earlier["intervened"][rows]
        shares = []
        for previous in (False, True):
            follows = intervened[(before(intervened) == previous) & valid]
            shares.append((float(follows.sum()) + 1) / (len(follows) + 2))
        self.shares = torch.tensor(shares, dtype=torch.float64)

    def begin(self, attempts: TensorDictBase, histories: int) -> None:
        """Begin with ν=0; see `Estimator.begin`."""
        self._previous = torch.zeros(histories, len(attempts), dtype=torch.int64)

    def prob(self, step: int) -> Tensor:
        """Return how often ν=1 followed on what ν was; see `Estimator.prob`."""
        return self.shares[self._previous]

    def observe(self, step: int, intervened: Tensor) -> None:
        """Remember ν; see `Estimator.observe`."""
        self._previous = intervened.long()


class HistoryNetwork(Estimator):
    """A network that predicts ν from the state and from ν of the last steps, trained as `learnt_from` trains its own.

    Args:
        earlier: Steps of whole attempts of the rounds before, `[earlier steps]`.
        length: Number of steps before whose ν is an input, at least 1; before an attempt's start ν is 0.
        updates: Number of gradient steps of Adam.
        seed: Seed of the initial weights and of the draws.

    Raises:
        ValueError: The length is below 1, or attempts are not whole.
    """

    def __init__(self, earlier: TensorDictBase, length: int = 10, updates: int = 1000, seed: int = 0) -> None:
        if length < 1:
            raise ValueError(f"a history must be at least 1 step long, got {length}; `learnt_from` has none")
        rows, valid = attempt_rows(earlier)
        history = recent(earlier["intervened"][rows], length)[valid]
        inputs = torch.cat([earlier["observation"].float(), history], -1)
        self.length = length
        self.network = trained_network(inputs, earlier["intervened"], updates=updates, seed=seed)

    def begin(self, attempts: TensorDictBase, histories: int) -> None:
        """Begin without a history; see `Estimator.begin`."""
        observation = attempts["observation"].float()
        self._observation = observation.expand(histories, *observation.shape)
        self._recent = torch.zeros(histories, len(attempts), self.length)

    def prob(self, step: int) -> Tensor:
        """Ask the network; see `Estimator.prob`."""
        inputs = torch.cat([self._observation[:, :, step], self._recent], -1)
        return self.network(inputs).squeeze(-1).sigmoid().double()

    def observe(self, step: int, intervened: Tensor) -> None:
        """Remember ν of the last steps; see `Estimator.observe`."""
        self._recent = torch.cat([intervened.float().unsqueeze(-1), self._recent], -1)[..., : self.length]


def recent(intervened: Bool[Tensor, "*batch T"], length: int) -> Float[Tensor, "*batch T length"]:
    """Return ν of the last 1, 2, …, `length` steps before each step, float32; 0 before an attempt's start."""
    lags = []
    for _ in range(length):
        intervened = before(intervened)
        lags.append(intervened.float())
    return torch.stack(lags, -1)


class InTime(Estimator):
    """A model of humans in time.

    A simulated history in which nobody intervenes where somebody did has the robot's own action as the executed one.

    Args:
        timing: Model of how a decision depends on the steps before.
        gap: Function that returns the gap in steps, `[*batch]`.
        cost: Cost of taking over, c, nats.
        device: Device that the gap is computed on.
    """

    def __init__(
        self, timing: TimingModel, gap: Callable[[TensorDictBase], Gap], cost: float, device: torch.device | str = "cpu"
    ) -> None:
        self._timing = timing
        self._gap = gap
        self._cost = cost
        self._device = device

    def begin(self, attempts: TensorDictBase, histories: int) -> None:
        """Begin each attempt; see `Estimator.begin`."""
        self._attempts = attempts.to(self._device)
        self._histories = histories
        batch = torch.Size([histories, len(attempts)])
        self._course = Course(self._timing, self._cost, batch, self._device)

    def prob(self, step: int) -> Tensor:
        """Ask the model; see `Estimator.prob`."""
        gap = self._gap(self._attempts[:, step])
        human, mental_model = gap.human, gap.mental_model
        several = torch.Size([self._histories])
        gap = gap._replace(
            human=human.expand(several + human.batch_shape),
            mental_model=mental_model.expand(several + mental_model.batch_shape),
        )
        return self._course.prob(gap).double().cpu()

    def observe(self, step: int, intervened: Tensor) -> None:
        """Tell the model; see `Estimator.observe`."""
        now: Any = self._attempts[:, step]
        intervened = intervened.to(self._device)
        executed, recorded = now["executed_action"], now["intervened"]

        # what the robot would have executed: its action, within the environment's bounds
        own = _known(now["robot_action"], executed)
        if own.is_floating_point():
            own, recorded = own.clamp(-1, 1), recorded.unsqueeze(-1)
        robot = torch.where(recorded, own, executed)

        acts = intervened.unsqueeze(-1) if executed.is_floating_point() else intervened
        self._course.observe(intervened, torch.where(acts, executed, robot))


def _known(robot_action: Tensor, executed: Tensor) -> Tensor:
    """Return the robot's actions, and where nobody recorded them those that were executed, `[*batch]`."""
    known = acted(robot_action)
    return torch.where(known.reshape(known.shape + (1,) * (robot_action.ndim - known.ndim)), robot_action, executed)
