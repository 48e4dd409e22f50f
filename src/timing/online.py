"""A model of humans in time, asked while attempts go on: how probable is ν in the step to come?"""

from typing import Protocol

import torch
from tensordict import TensorDictBase
from torch import Tensor

from mile.timing.model import Gap, State, TimingModel


class Course:
    """The course of attempts so far, as a model in time sees it.

    Every step is a call of `prob`, which may be repeated, and one of `observe`.

    Args:
        timing: Model of how a decision depends on the steps before.
        cost: Cost of taking over, c, nats.
        batch: Shape of the batch of attempts, `[*batch]`.
        device: Device that the gaps are on.
    """

    def __init__(self, timing: TimingModel, cost: float, batch: torch.Size, device: torch.device | str = "cpu") -> None:
        self._timing = timing
        self._cost = cost
        self._before: State = {name: value.to(device) for name, value in timing.begin(batch).items()}
        self._decided: State = {}
        self._gap: Gap | None = None

    def prob(self, gap: Gap) -> Tensor:
        """Return p(ν=1) of the present step given ν in the steps before, `[*batch]`.

        Args:
            gap: Gap in the present step.
        """
        (_, log_prob), self._decided = self._timing.decide(self._before, gap, self._cost)
        self._gap = gap
        return log_prob.exp()

    def observe(self, intervened: Tensor, executed_action: Tensor) -> None:
        """Go on to the next step.

        Args:
            intervened: Decision ν of the present step, `[*batch]`.
            executed_action: Action that the environment received in it, `[*batch]` or `[*batch, action_dim]`.
        """
        assert self._gap is not None, "a step is observed after its prediction"
        self._before = self._timing.after(self._decided, self._gap, intervened, executed_action)


class Predicts(Protocol):
    """A method that predicts ν from a state."""

    @property
    def device(self) -> torch.device:
        """Device of the method's networks."""
        ...

    def intervention_prob(self, steps: TensorDictBase) -> Tensor:
        """Return the predicted p(ν=1|s) in steps, `[*batch]`."""
        ...


class OnlinePrediction:
    """Predicts ν of each step of an attempt just before it, given the steps before it.

    A method that has `needs_attempts` is asked for its `timing`, `cost` and `gap(step)`. All others predict
    from the state alone.

    Args:
        method: Method that predicts, such as `mile.methods.MILE`; its present weights count.
    """

    def __init__(self, method: Predicts) -> None:
        self.method = method
        self._course: Course | None = None

    def begin(self) -> None:
        """Forget the attempt before; called before an attempt's first step."""
        self._course = None

    @torch.no_grad()
    def __call__(self, step: TensorDictBase) -> Tensor:
        """Return p(ν=1) of the present step, `[*batch]`."""
        step = step.to(self.method.device)
        if not getattr(self.method, "needs_attempts", False):
            return self.method.intervention_prob(step).cpu()

        if self._course is None:
            self._course = Course(self.method.timing, self.method.cost, step.batch_size, self.method.device)
        return self._course.prob(self.method.gap(step)).cpu()

    @torch.no_grad()
    def observe(self, intervened: Tensor, executed_action: Tensor) -> None:
        """Go on to the next step.

        Args:
            intervened: Decision ν of the present step, `[*batch]`.
            executed_action: Action that the environment received in it, `[*batch]` or `[*batch, action_dim]`.
        """
        if self._course is not None:
            device = self.method.device
            self._course.observe(intervened.to(device), executed_action.to(device))
