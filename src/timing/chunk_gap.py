"""The gap where a robot decides on several actions at once: a human judges all that are still to come."""

from collections.abc import Callable

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torch.distributions import Distribution

from mile.policies import ChunkPolicy, Policy
from mile.policies.chunk import Chunk, check_sequences
from mile.quadrature import check_dims
from mile.timing.memoryless import Memoryless
from mile.timing.model import Gap, LogProbs, TimingModel
from mile.transitions import remaining


class ChunkGap:
    """Gap of the actions that a robot is still to execute before it looks again, in states `[*batch]`.

    With n of them left, the human compares their own n next actions with those expected of the robot, and an
    intervention has n times the effort: c is that of one action. For n = 1 it is the paper's `Gap`.

    Args:
        human: Distribution of the human's next actions, π_h(·|s).
        mental_model: Distribution that the human expects of the robot's next actions, π̂(·|s).
        scale: Standard deviation σ of Φ, nats.
        remaining: Number n of actions that are left, `[*batch]`.
    """

    def __init__(self, human: Chunk, mental_model: Chunk, scale: float, remaining: Tensor) -> None:
        self.human = human
        self.mental_model = mental_model
        self.scale = scale
        self.remaining = remaining

    def prefixes(self, count: int, where: Tensor | None = None) -> Gap:
        """Return the gap of the first `count` actions, where it is wanted, `[*batch]` bool; None: everywhere."""
        return Gap(self.human.prefix(count, where), self.mental_model.prefix(count, where), self.scale)

    def log_probs(self, cost: float) -> LogProbs:
        """Return (ln p(ν=0|s), ln p(ν=1|s)) at a cost of each action, nats; see `Gap.log_probs`."""
        log_not, log_intervene = self._by_length(lambda gap, count, where: torch.stack(gap.log_probs(count * cost)))
        return log_not, log_intervene

    def log_likelihood(self, intervened: Tensor, cost: float) -> Tensor:
        """Return ln p(ν|s) of the observed ν; see `Gap.log_likelihood`."""
        return self._by_length(
            lambda gap, count, where: gap.log_likelihood(intervened[where], count * cost).unsqueeze(0)
        )[0]

    def parts(self) -> tuple[Tensor, Tensor]:
        """Return the two parts of the expected gap, `[*batch]`, nats; see `Gap.parts`."""
        own, expected = self._by_length(lambda gap, count, where: torch.stack(gap.parts()))
        return own, expected

    def exactness(self) -> str:
        """Return in words how p(ν=1|s) is computed; see `Gap.exactness`."""
        return self.prefixes(1).exactness()

    def _by_length(self, values: Callable[[Gap, int, Tensor], Tensor]) -> Tensor:
        """Return values `[kinds, *batch]`, computed for all states with as many actions left at a time.

        Args:
            values: Function of a gap, the number of its actions and the states, `[*batch]` bool, to values
                `[kinds, states]`.
        """
        rows, parts = [], []
        for count in self.remaining.unique().tolist():
            where = self.remaining == count
            parts.append(values(self.prefixes(count, where), count, where))
            rows.append(where.flatten().nonzero().squeeze(-1))
        order = torch.cat(rows).argsort()
        return torch.cat(parts, -1)[:, order].reshape(-1, *self.remaining.shape)


def gap_between(human: Distribution, mental_model: Distribution, scale: float, steps: TensorDictBase) -> Gap | ChunkGap:
    """Return the gap between a human and what is expected of the robot in steps `[*batch]`, in chunks or not."""
    if isinstance(human, Chunk) and isinstance(mental_model, Chunk):
        return ChunkGap(human, mental_model, scale, remaining(steps))
    return Gap(human, mental_model, scale)


def check_pair(policy: Policy, mental_model: Policy, likelihood: str, timing: TimingModel, learn_cost: bool) -> None:
    """Raise ValueError unless a mental model and a model of the human go with a robot's policy, in chunks or not."""
    if not mental_model.has_density:
        raise ValueError(f"a mental model needs a density, and a {type(mental_model).__name__} has none")
    if not isinstance(policy, ChunkPolicy):
        if isinstance(mental_model, ChunkPolicy):
            raise ValueError("the mental model expects chunks, and the policy decides on single actions; give neither")
        return
    if not isinstance(mental_model, ChunkPolicy) or mental_model.chunk < policy.execute:
        raise ValueError(
            f"the mental model must expect the {policy.execute} actions that the robot executes, got a "
            f"{type(mental_model).__name__}; give it policy.chunk and policy.execute, too"
        )
    if likelihood != "product" or type(timing) is not Memoryless or learn_cost:
        raise ValueError(
            f"a robot with policy.chunk={policy.chunk} needs likelihood=product, method.timing=memoryless and "
            f"method.learn_cost=false, got {likelihood}, {type(timing).__name__} and {learn_cost}"
        )
    if policy.is_discrete:
        check_sequences(policy.architecture["action_dim"], policy.execute)
    else:
        check_dims(policy.architecture["action_dim"] * policy.execute)
