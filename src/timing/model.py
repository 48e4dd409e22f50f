"""What every model of a human in time answers: how probable is ν, given the steps before?

A model is used in three ways. A simulated human asks it step by step, and draws ν from what it answers. A learner asks
for the log-likelihood of whole attempts. A console shows its answer before the person has decided.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Distribution

from mile.intervention import exactness, expected_gap, gap_parts, intervention_log_likelihood, intervention_log_probs
from mile.policies import GaussianPolicy, Policy

LogProbs = tuple[Tensor, Tensor]  # (ln p(ν=0), ln p(ν=1)), each of one shape
LIKELIHOODS = ("product", "joint", "scaled")  # of the human's action, in mile.methods.MILE
State = dict[str, Tensor]  # entries [*batch] or [*batch, …]: what a human remembers of an attempt


class Gap(NamedTuple):
    """What a decision depends on in states `[*batch]`: a human, what they expect of the robot, and how sharp Φ is.

    Attributes:
        human: Policy of the human, π_h(·|s).
        mental_model: Distribution that the human expects of the robot's action, π̂(·|s).
        scale: Standard deviation σ of Φ, nats.
    """

    human: Distribution
    mental_model: Distribution
    scale: float | Tensor

    def log_probs(self, cost: float | Tensor) -> LogProbs:
        """Return (ln p(ν=0|s), ln p(ν=1|s)) of Eq. 2 at a cost (nats), or at one for each state."""
        return intervention_log_probs(self.human, self.mental_model, cost, self.scale)

    def log_likelihood(self, intervened: Tensor, cost: float | Tensor) -> Tensor:
        """Return ln p(ν|s) of the observed ν, `[*batch]`."""
        return intervention_log_likelihood(self.human, self.mental_model, intervened, cost, self.scale)

    def expected(self) -> Tensor:
        """Return the expected gap, `[*batch]`, nats."""
        return expected_gap(self.human, self.mental_model)

    def parts(self) -> tuple[Tensor, Tensor]:
        """Return the two parts of the expected gap, `[*batch]`, nats; see `mile.intervention.gap_parts`."""
        return gap_parts(self.human, self.mental_model)

    def exactness(self) -> str:
        """Return in words how p(ν=1|s) is computed; see `mile.intervention.exactness`."""
        return exactness(self.human, self.mental_model)


class Attempts(NamedTuple):
    """Whole attempts, padded at their ends to a common number of steps T.

    Attributes:
        intervened: Observed ν, `[*batch, T]`.
        valid: False in padded steps, `[*batch, T]`.
        executed_action: Action that the environment received, `[*batch, T]` or `[*batch, T, action_dim]`; None where
            no model needs it.
    """

    intervened: Bool[Tensor, "*batch T"]
    valid: Bool[Tensor, "*batch T"]
    executed_action: Tensor | None = None


class TimingModel(ABC):
    """Says how probable ν is in each step of an attempt, given ν in the steps before.

    The cost of taking over, c, is an argument of every method, because a calibration or a fit changes it. A model holds
    all that it needs beside it.

    Attributes:
        one_decision: Whether a step with ν=1 is due to the decision in that very step, so that a likelihood of the
            action may depend on it.
    """

    one_decision: ClassVar[bool] = False

    def check(self, cost: float) -> None:  # noqa: B027
        """Raise ValueError if the model makes no sense with a cost (nats); most make sense with any."""

    # step by step

    @abstractmethod
    def begin(self, batch: torch.Size) -> State:
        """Return the state before an attempt's first step, for as many copies as the batch has."""

    @abstractmethod
    def decide(self, state: State, gap: Gap, cost: float | Tensor) -> tuple[LogProbs, State]:
        """Return (ln p(ν=0), ln p(ν=1)) of the next step, `[*batch]`, and the state until ν is known."""

    @abstractmethod
    def after(self, state: State, gap: Gap, intervened: Tensor, executed: Tensor) -> State:
        """Return the state after a step.

        Args:
            state: State that `decide` returned in this step.
            gap: Gap in the step.
            intervened: Decision ν of the step, `[*batch]`.
            executed: Action that the environment received, `[*batch]` or `[*batch, action_dim]`.
        """

    # whole attempts

    @abstractmethod
    def attempt_log_probs(self, gap: Gap, attempts: Attempts, cost: float | Tensor) -> LogProbs:
        """Return (ln p(ν_t=0), ln p(ν_t=1)) given ν before t, for every step of whole attempts, `[*batch, T]`."""

    def log_likelihood(self, gap: Gap, attempts: Attempts, cost: float | Tensor) -> Float[Tensor, "*batch"]:
        """Return the log-likelihood of the observed ν of each attempt, nats."""
        return total_log_likelihood(self.attempt_log_probs(gap, attempts, cost), attempts.intervened, attempts.valid)

    # single steps, which a learner draws in any order

    def context(self, gap: Callable[[], Gap], attempts: Attempts, cost: float | Tensor) -> dict[str, Tensor]:
        """Return what a step needs to know of its attempt to be learnt from alone: entries `[*batch, T, …]`.

        Args:
            gap: Function that returns the gap in every step, which some models do not need.
            attempts: Whole attempts.
            cost: Cost of taking over, nats.
        """
        return {}

    @abstractmethod
    def step_log_likelihood(self, gap: Gap, steps: Mapping[str, Tensor], cost: float | Tensor) -> Tensor:
        """Return each step's share of the log-likelihood, `[steps]`, whose gradients add up to that of whole attempts.

        Args:
            gap: Gap in the steps.
            steps: Entries of the steps, `[steps, …]`: `intervened`, and those of `context`.
            cost: Cost of taking over, nats.
        """

    @abstractmethod
    def step_cost(self, steps: Mapping[str, Tensor], cost: float | Tensor) -> float | Tensor:
        """Return the cost that a human decides by in each step, `[steps]` or the same for all, nats.

        Args:
            steps: Entries of the steps, as in `step_log_likelihood`; or a state, `[*batch]`.
            cost: Cost of taking over, nats.
        """


def before(values: Tensor) -> Tensor:
    """Return the values one step earlier, `[*batch, T]`; zero (False) before the first step."""
    return torch.cat([torch.zeros_like(values[..., :1]), values[..., :-1]], -1)


def total_log_likelihood(log_probs: LogProbs, intervened: Tensor, valid: Tensor) -> Tensor:
    """Return the sum over an attempt's valid steps of ln p(ν_t), `[*batch]`.

    An impossible attempt has −∞, and a gradient of 0.

    Args:
        log_probs: Pair (ln p(ν_t=0), ln p(ν_t=1)), each `[*batch, T]`.
        intervened: Observed ν, `[*batch, T]`.
        valid: False in padded steps, `[*batch, T]`.
    """
    log_not, log_intervene = log_probs
    terms = torch.where(intervened, log_intervene, log_not)
    terms = torch.where(valid, terms, 0.0)
    impossible = terms == -torch.inf
    total = torch.where(impossible, 0.0, terms).sum(-1)
    return torch.where(impossible.any(-1), -torch.inf, total)


def check_likelihood(likelihood: str, timing: TimingModel, policy: Policy | None = None) -> None:
    """Raise ValueError unless a likelihood of the human's action is known, and goes with a timing and a policy."""
    if likelihood not in LIKELIHOODS:
        raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}, got '{likelihood}'")
    if likelihood != "product" and not timing.one_decision:
        raise ValueError(
            f"likelihood={likelihood} goes with timing=memoryless and timing=sticky, got {type(timing).__name__}: with "
            "others it is not defined which step's decision an action belongs to; choose likelihood=product"
        )
    if likelihood == "scaled" and policy is not None and not (isinstance(policy, GaussianPolicy) and not policy.squash):
        raise ValueError(
            "likelihood=scaled needs continuous actions of a diagonal Gaussian; choose likelihood=product or joint"
        )
