"""Gates: the robot decides when the human acts, and a budget says for how many steps."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor

from mile.gates.scores import Learner, Score, distance
from mile.humans.oversight import Attention, Oversight
from mile.transitions import DEMONSTRATION


class Gate(Oversight, ABC):
    """Asks the human to act, and hands control back to the robot.

    In the first round the human decides, and attends every step: what a gate goes by is learnt from what was recorded.
    From then on the human attends a robot while it asks, and no longer: they cannot take over unasked.

    Args:
        budget: Number of steps in an episode in which the human acts, at most. So an episode depends on nothing but
            its own number, however many are played together.

    Attributes:
        is_ready: Whether anything was learnt yet.

    Raises:
        ValueError: The budget is below one step.
    """

    def __init__(self, budget: int) -> None:
        if not budget >= 1:
            raise ValueError(f"budget (human steps in an episode) must be at least 1, got {budget}")
        self.budget = budget
        self.is_ready = False
        self._asked: Tensor | None = None  # in the step before, [*batch]
        self._agreed: Any = None
        self._spent: Any = None

    # what a gate decides

    @abstractmethod
    def asks(self, step: TensorDictBase) -> Tensor:
        """Return where a robot that acts alone wants help, `[*batch]` bool."""

    @abstractmethod
    def keeps(self, step: TensorDictBase, agreed: Tensor) -> Tensor:
        """Return where a robot that is helped wants more, `[*batch]` bool.

        Args:
            step: Entries of the step, `[*batch]`.
            agreed: Where the human acted in the step before, and did what the robot would have done, `[*batch]` bool.
        """

    @abstractmethod
    def fit(self, method: Learner, steps: TensorDictBase, share: float) -> None:
        """Learn from what is recorded.

        Args:
            method: Method that learns, with its present policy.
            steps: Recorded steps, whole attempts by round, `[steps]`.
            share: Share of the steps in which the budget allows the human to act, in (0, 1].
        """

    def agree(self, robot_action: Tensor, human_action: Tensor) -> Tensor:
        """Return where two actions are the same, `[*batch]` bool."""
        return distance(robot_action, human_action) == 0

    # the protocol

    def learn(self, method: Learner, steps: TensorDictBase) -> None:
        """Learn from what is recorded; see `Oversight.learn`."""
        last: Any = newest_round(steps)
        attempts = last["episode"].unique_consecutive().numel()
        self.fit(method, steps, share=min(1.0, self.budget * attempts / len(last)))
        self.is_ready = True

    def begin(self, copies: Tensor | None = None) -> None:
        """Begin with a full budget; see `Oversight.begin`."""
        if copies is None or self._asked is None:
            self._asked = None
            return
        self._asked = self._asked & ~copies
        self._agreed = self._agreed & ~copies
        self._spent = torch.where(copies, 0, self._spent)

    def direct(self, step: TensorDictBase) -> Attention:
        """Ask, keep, or hand back; see `Oversight.direct`."""
        nowhere = torch.zeros(step.batch_size, dtype=torch.bool)
        if not self.is_ready:
            return Attention(attended=~nowhere, requested=nowhere)
        if self._asked is None:
            self._asked, self._agreed, self._spent = nowhere, nowhere, nowhere.long()

        wanted = torch.where(self._asked, self.keeps(step, self._agreed), self.asks(step))
        requested = wanted & (self._spent < self.budget)
        self._asked = requested
        return Attention(attended=requested, requested=requested)

    def after(self, intervened: Tensor, robot_action: Tensor, human_action: Tensor) -> None:
        """Count the human's steps; see `Oversight.after`."""
        if not self.is_ready:
            return
        self._spent = self._spent + intervened
        self._agreed = intervened & self.agree(robot_action, human_action)


class ScoreGate(Gate):
    """Asks where a score is high, and hands back where it is low.

    The robot asks above the quantile that the budget allows, and hands back below the one that twice the budget would.

    Args:
        budget: Number of steps in an episode in which the human acts, at most.
        score: How much a robot needs help: the learnt p(ν=1|s), or chance.
    """

    def __init__(self, budget: int, score: Score) -> None:
        super().__init__(budget)
        self.score = score
        self.ask_above = self.keep_above = 0.0

    def asks(self, step: TensorDictBase) -> Tensor:
        """Return where the score is high; see `Gate.asks`."""
        return self.score(step) > self.ask_above

    def keeps(self, step: TensorDictBase, agreed: Tensor) -> Tensor:
        """Return where the score is not low; see `Gate.keeps`."""
        return self.score(step) > self.keep_above

    def fit(self, method: Learner, steps: TensorDictBase, share: float) -> None:
        """Learn the score and both quantiles of it; see `Gate.fit`."""
        self.score.learn(method, steps)
        self.ask_above = threshold(self.score, steps, share)
        self.keep_above = threshold(self.score, steps, min(1.0, 2 * share))


class AlwaysGate(Gate):
    """Asks from the first step on, until the budget is spent."""

    def asks(self, step: TensorDictBase) -> Tensor:
        """Return true; see `Gate.asks`."""
        return torch.ones(step.batch_size, dtype=torch.bool)

    def keeps(self, step: TensorDictBase, agreed: Tensor) -> Tensor:
        """Return true; see `Gate.keeps`."""
        return self.asks(step)

    def fit(self, method: Learner, steps: TensorDictBase, share: float) -> None:
        """Learn nothing; see `Gate.fit`."""


def usual_distance(steps: TensorDictBase) -> float:
    """Return the median distance between robot and human where the human took over; 0 for discrete actions.

    Args:
        steps: Recorded steps, `[steps]`.
    """
    acted: Any = steps[steps["intervened"] & (steps["round"] != DEMONSTRATION)]
    if not len(acted) or not acted["robot_action"].is_floating_point():
        return 0.0
    return float(distance(acted["robot_action"], acted["human_action"]).median())


def newest_round(steps: TensorDictBase) -> TensorDictBase:
    """Return the steps of the last round that is recorded."""
    newest: Any = steps[steps["round"] == steps["round"].max()]
    return newest


def threshold(score: Score, steps: TensorDictBase, share: float) -> float:
    """Return the value that a score exceeds in a share of the last round's steps; −∞ for a share of 1."""
    if share >= 1:
        return -torch.inf
    with torch.random.fork_rng(devices=[]):  # the run's own random numbers stay as they are
        torch.manual_seed(0)
        return float(score(as_proposed(newest_round(steps))).quantile(1 - share))


def as_proposed(steps: TensorDictBase) -> TensorDictBase:
    """Return recorded steps as a score sees them: with the robot's action as `action`."""
    return steps.copy().set("action", steps["robot_action"])
