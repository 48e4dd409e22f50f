"""A fleet: one human for several robots, and who of these is looked after next."""

from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor

from mile.envs.episodes import PARKED
from mile.gates.scores import Learner, Score
from mile.humans.oversight import Attention, Oversight


class FleetAttention(Oversight):
    """The human attends one robot at a time, and decides for themselves whether to intervene there.

    They stay for some steps at least, and while they are in control; then they go to the robot with the highest score
    among those whose episodes go on. In the first round, and without a score, it is the one that has waited longest.

    Args:
        score: How much a robot needs a human; None: nothing but the waiting counts.
        dwell: Number of steps that the human stays with a robot, at least.

    Attributes:
        attended: Number of the robot that is attended; None: none.
        priority: How much each robot wants the human next, `[robots]`.

    Raises:
        ValueError: `dwell` is below 1.

    Source: Hoque et al., "Fleet-DAgger: Interactive robot fleet learning with scalable human supervision", CoRL 2022.
    """

    def __init__(self, score: Score | None = None, dwell: int = 10) -> None:
        if dwell < 1:
            raise ValueError(f"dwell (steps with a robot) must be at least 1, got {dwell}")
        self.score = score
        self.dwell = dwell
        self.is_ready = False
        self.attended: int | None = None
        self.priority = torch.empty(0)
        self._waited: Any = None  # steps since a robot was attended, [robots]
        self._stayed = 0
        self._in_control = False

    def learn(self, method: Learner, steps: TensorDictBase) -> None:
        """Learn the score; see `Oversight.learn`."""
        if self.score is not None:
            self.score.learn(method, steps)
            self.is_ready = True

    def begin(self, copies: Tensor | None = None) -> None:
        """Be free of a robot whose episode has ended; see `Oversight.begin`."""
        if copies is None:
            self.attended, self._waited = None, None
        elif self.attended is not None and copies[self.attended]:
            self.attended = None

    def direct(self, step: TensorDictBase) -> Attention:
        """Stay, or go to the robot with the highest score; see `Oversight.direct`."""
        robots = step.batch_size[0]
        if self._waited is None:
            self._waited = torch.arange(robots, 0, -1)  # at first the first one
        active = torch.ones(robots, dtype=torch.bool)
        if "episode" in step.keys():
            active = step["episode"] != PARKED

        # who is next
        score = self.score(step) if self.score is not None and self.is_ready else self._waited.double()
        self.priority = torch.where(active, score, -torch.inf)
        is_free = self.attended is None or (not self._in_control and self._stayed >= self.dwell)
        if is_free or not active[self.attended]:
            self.attended = int(self.priority.argmax()) if active.any() else None
            self._stayed, self._in_control = 0, False

        nowhere = torch.zeros(robots, dtype=torch.bool)
        attended = nowhere if self.attended is None else torch.arange(robots) == self.attended
        return Attention(attended=attended, requested=nowhere)

    def next(self) -> int | None:
        """Return the number of the robot that wants the human most, beside the attended one; None: no other acts."""
        others = self.priority.clone()
        if self.attended is not None:
            others[self.attended] = -torch.inf
        return int(others.argmax()) if others.isfinite().any() else None

    def after(self, intervened: Tensor, robot_action: Tensor, human_action: Tensor) -> None:
        """Count the steps; see `Oversight.after`."""
        self._waited = self._waited + 1
        self._stayed += 1
        if self.attended is not None:
            self._waited[self.attended] = 0
            self._in_control = bool(intervened[self.attended])
