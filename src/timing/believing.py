"""A human who learns what the robot is like from what they see it do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from mile.timing.model import Attempts, Gap, LogProbs, State, TimingModel, before
from mile.timing.sticky import Sticky

ACTION_BOUND = 1.0  # environments execute actions within ±1
NUM_HYPOTHESES = 3  # of simulated humans and of learners


@dataclass(frozen=True)
class Believing(Sticky):
    """Decides as `Sticky`, and weighs hypotheses on the robot by the actions that they saw it execute.

    The mental model is a mixture of hypotheses. Its weights b follow Bayes' rule with forgetting: after a step with ν=0
    b(m) ∝ b(m)^memory b_0(m)^(1 − memory) π̂_m(executed action|s). After a step with ν=1 they only forget, because
    nobody saw what the robot would have done. A decision depends on what was seen before, not on the action that it is
    about.

    The gap's `mental_model` holds the hypotheses as one more dimension of its batch, `[*batch, hypotheses]`.

    Attributes:
        release_cost: Cost of staying in control, c_off, nats; below that of taking over, c_on.
        prior: Weights b_0 of the hypotheses before an attempt; they add up to 1.
        memory: Share of what is believed that is kept from step to step, in [0, 1].

    Raises:
        ValueError: A number is out of its range.
    """

    one_decision: ClassVar[bool] = False

    prior: Sequence[float] = (0.8, 0.1, 0.1)
    memory: float = 0.98

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.prior and min(self.prior) > 0 and abs(sum(self.prior) - 1) <= 1e-6):
            raise ValueError(f"prior must be weights above 0 that add up to 1, got {list(self.prior)}")
        if not 0 <= self.memory <= 1:
            raise ValueError(f"memory must lie in [0, 1], got {self.memory}")

    def begin(self, batch: torch.Size) -> State:
        """Return the prior belief; see `TimingModel.begin`."""
        return {**super().begin(batch), "log_belief": self._log_prior().expand(*batch, -1)}

    def decide(self, state: State, gap: Gap, cost: float | Tensor) -> tuple[LogProbs, State]:
        """Return the probabilities under the present belief; see `TimingModel.decide`."""
        return with_belief(gap, state["log_belief"]).log_probs(self.step_cost(state, cost)), state

    def after(self, state: State, gap: Gap, intervened: Tensor, executed: Tensor) -> State:
        """Update the belief by the executed action; see `TimingModel.after`."""
        evidence = _evidence(gap.mental_model, executed, intervened)
        return {"in_control": intervened, "log_belief": self._update(state["log_belief"], evidence)}

    def attempt_log_probs(self, gap: Gap, attempts: Attempts, cost: float | Tensor) -> LogProbs:
        """Return the probabilities under each step's belief; see `TimingModel.attempt_log_probs`."""
        in_control = before(attempts.intervened)
        believed = with_belief(gap, self._beliefs(gap, attempts))
        return believed.log_probs(self.step_cost({"in_control": in_control}, cost))

    def context(self, gap: Callable[[], Gap], attempts: Attempts, cost: float | Tensor) -> dict[str, Tensor]:
        """Return who was in control, and what was believed; see `TimingModel.context`."""
        return {**super().context(gap, attempts, cost), "log_belief": self._beliefs(gap(), attempts)}

    def step_log_likelihood(self, gap: Gap, steps: Mapping[str, Tensor], cost: float | Tensor) -> Tensor:
        """Return ln p(ν|s) under the step's belief; see `TimingModel.step_log_likelihood`."""
        return super().step_log_likelihood(with_belief(gap, steps["log_belief"]), steps, cost)

    def _log_prior(self) -> Tensor:
        return torch.tensor(self.prior, dtype=torch.float64).log()

    def _update(self, log_belief: Tensor, evidence: Tensor) -> Tensor:
        """Return the belief after a step, `[*batch, hypotheses]`."""
        memory = self.memory * log_belief + (1 - self.memory) * self._log_prior().to(log_belief)
        return (memory + evidence).log_softmax(-1)

    def _beliefs(self, gap: Gap, attempts: Attempts) -> Tensor:
        """Return the belief that each step is decided by, `[*batch, T, hypotheses]`.

        Raises:
            ValueError: The attempts have no executed actions.
        """
        if attempts.executed_action is None:
            raise ValueError("a belief needs the executed actions of the attempts, got none")
        evidence = _evidence(gap.mental_model, attempts.executed_action, attempts.intervened)
        evidence = torch.where(attempts.valid.unsqueeze(-1), evidence, 0.0)
        belief = self._log_prior().to(evidence).expand_as(evidence[..., 0, :])
        beliefs = []
        for step in evidence.unbind(-2):
            beliefs.append(belief)
            belief = self._update(belief, step)
        return torch.stack(beliefs, -2)


def with_belief(gap: Gap, log_belief: Tensor) -> Gap:
    """Return the gap to what is expected of the robot under a belief `[*batch, hypotheses]`."""
    hypotheses = gap.mental_model
    weights = log_belief.exp()
    if isinstance(hypotheses, Categorical):
        probs = (weights.unsqueeze(-1) * hypotheses.probs).sum(-2)
        return gap._replace(mental_model=Categorical(probs=probs, validate_args=False))
    mixed = MixtureSameFamily(Categorical(probs=weights, validate_args=False), hypotheses, validate_args=False)
    return gap._replace(mental_model=mixed)


def _evidence(hypotheses: Distribution, executed: Tensor, intervened: Tensor) -> Tensor:
    """Return ln π̂_m(executed action|s) where ν=0, and 0 where ν=1, `[*batch, hypotheses]`.

    Executed actions are clipped, so the means of Gaussian hypotheses are, too.
    """
    if isinstance(hypotheses, Independent) and isinstance(hypotheses.base_dist, Normal):
        normal = hypotheses.base_dist
        clipped = Normal(normal.mean.clamp(-ACTION_BOUND, ACTION_BOUND), normal.stddev, validate_args=False)
        hypotheses = Independent(clipped, 1, validate_args=False)
    dims = len(hypotheses.event_shape)
    log_prob = hypotheses.log_prob(executed.unsqueeze(-1 - dims))
    return torch.where(intervened.unsqueeze(-1), 0.0, log_prob)


def check_hypotheses(timing: TimingModel, architecture: Mapping[str, Any]) -> None:
    """Raise ValueError if a timing is `Believing`, but not in three hypotheses on robots with suitable actions.

    Args:
        timing: Model of a human in time, of any kind.
        architecture: Architecture of the policies that the human compares.
    """
    if not isinstance(timing, Believing):
        return
    if len(timing.prior) != NUM_HYPOTHESES:
        raise ValueError(
            f"prior must have {NUM_HYPOTHESES} weights (of the mental model, the expert, a robot that acts at random), "
            f"got {len(timing.prior)}"
        )
    if "components" in architecture or "couplings" in architecture:
        raise ValueError("timing=believing needs discrete or diagonal Gaussian actions; choose policy.head=gaussian")
    if architecture.get("squash"):
        raise ValueError("timing=believing needs discrete or diagonal Gaussian actions, got squash=true; leave it out")


def stack_hypotheses(hypotheses: Sequence[Distribution]) -> Distribution:
    """Return distributions `[*batch]` of one kind as one distribution `[*batch, hypotheses]`.

    Raises:
        TypeError: They are neither all categorical nor all diagonal Gaussians.
    """
    first = hypotheses[0]
    if all(isinstance(hypothesis, Categorical) for hypothesis in hypotheses):
        logits = torch.stack([hypothesis.logits for hypothesis in hypotheses], -2)  # pyright: ignore
        return Categorical(logits=logits, validate_args=False)
    if all(
        isinstance(hypothesis, Independent) and isinstance(hypothesis.base_dist, Normal) for hypothesis in hypotheses
    ):
        means = torch.stack([hypothesis.base_dist.mean for hypothesis in hypotheses], -2)  # pyright: ignore
        stds = torch.stack([hypothesis.base_dist.stddev for hypothesis in hypotheses], -2)  # pyright: ignore
        return Independent(Normal(means, stds, validate_args=False), 1, validate_args=False)
    raise TypeError(f"hypotheses on a robot must be all categorical or all diagonal Gaussians, got {first} and others")


def with_hypotheses(gap: Gap, optimist: Distribution) -> Gap:
    """Return a gap whose mental model is three hypotheses, `[*batch, 3]`: its own, an optimist's, and knowing nothing.

    Args:
        gap: Gap in states `[*batch]`.
        optimist: What is expected of a robot that acts as the human would.
    """
    expected = gap.mental_model
    return gap._replace(mental_model=stack_hypotheses([expected, optimist, knows_nothing(expected)]))


def knows_nothing(like: Distribution) -> Distribution:
    """Return the distribution of a robot that acts at random, of the kind and shape of another distribution.

    Categorical: uniform. Gaussian: zero mean and the standard deviation of uniform actions within ±1.
    """
    if isinstance(like, Categorical):
        return Categorical(logits=torch.zeros_like(like.logits), validate_args=False)
    mean = torch.zeros_like(like.mean)
    return Independent(Normal(mean, torch.full_like(mean, 3**-0.5), validate_args=False), 1, validate_args=False)
