"""The simulated human of Sec. V, and one who acts in proportion to how sure they are."""

from copy import deepcopy
from typing import Any, NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn
from torch.distributions import Distribution

from mile.humans.corrections import Corrections, check_corrections, direction_to
from mile.humans.human import Decision, Human
from mile.intervention import check_cost_and_scale
from mile.losses import scaled_by
from mile.policies import Policy
from mile.policies.sampling import draw, mode
from mile.timing import Gap, Memoryless, TimingModel
from mile.timing.believing import Believing, check_hypotheses, with_belief, with_hypotheses
from mile.timing.model import State


class Moment(NamedTuple):
    """What a human keeps from a decision until the step is over.

    Attributes:
        gap: Gap in the step.
        intervened: Decision ν, `[*batch]`.
    """

    gap: Gap
    intervened: Tensor


class SimulatedHuman(nn.Module, Human):
    """Intervenes as the intervention model says, with an expert's policy in the place of π_h.

    ν is a Bernoulli draw of p(ν=1|s) given the steps before, the action a sample of the expert. Both networks are
    copied and run in float64, so that rounding, which differs between batch sizes, does not make another episode.

    Args:
        expert: Expert policy π*.
        mental_model: The human's model of the robot's policy, π̂; for a human who is `Believing`, the first of three
            hypotheses, before the expert and a robot that acts at random.
        cost: Effort of intervening, c, nats.
        scale: Scale of Φ, σ, nats.
        timing: Model of how a decision depends on the steps before; None: `Memoryless`, as in the paper.
        spread: How far the expert's own actions lie from their best one, nats, if that is known already.
        corrections: What they do where ν=1; see `mile.humans.corrections`. Directions are those from what the mental
            model expects to what the expert would do.

    Attributes:
        mental_model: Present mental model, which may be replaced between rounds.
        first_impression: First mental model, from the constructor.
        cost: Present cost, which may change between rounds.
        first_cost: Cost from the constructor.

    Raises:
        ValueError: `cost` or `scale` is not finite, `scale` is not above 0, the timing makes no sense with the cost or
            the expert's actions, the policies see different entries of a step, or the corrections need other actions.

    Source: Sec. V, "Experiment Setup"; App. B.
    """

    def __init__(
        self,
        expert: Policy,
        mental_model: Policy,
        cost: float,
        scale: float,
        timing: TimingModel | None = None,
        spread: float | None = None,
        corrections: Corrections = "takeover",
    ) -> None:
        super().__init__()
        check_cost_and_scale(cost, scale)
        check_corrections(corrections, expert.is_discrete)
        if expert.in_keys != mental_model.in_keys:
            own, expected = ", ".join(expert.in_keys), ", ".join(mental_model.in_keys)
            raise ValueError(f"the expert observes '{own}', the mental model '{expected}'; choose one")
        self.in_keys = expert.in_keys
        self.expert = deepcopy(expert).cpu().double()
        self.mental_model = self.first_impression = deepcopy(mental_model).cpu().double()
        self.cost = self.first_cost = cost
        self.scale = scale
        self.timing = Memoryless() if timing is None else timing
        self.timing.check(cost)
        check_hypotheses(self.timing, expert.architecture)
        self.spread = spread
        self.corrections = corrections
        self._state: State | None = None
        self._moment: Moment | None = None

    def begin(self, copies: Tensor | None = None) -> None:
        """Forget the attempts before; see `Human.begin`."""
        if copies is None or self._state is None:
            self._state = None
            return
        fresh = self.timing.begin(copies.shape)
        for name, value in self._state.items():
            where = copies.reshape(copies.shape + (1,) * (value.ndim - copies.ndim))
            self._state[name] = torch.where(where, fresh[name], value)

    @torch.no_grad()
    def decide(self, step: TensorDictBase) -> Decision:
        """Decide for a step `[*batch]`; see `Human.decide`."""
        # p(ν=1|s), Eq. 2, given the steps before
        gap = self.gap(step)
        batch = gap.human.batch_shape
        state = self.timing.begin(batch) if self._state is None else self._state
        (_, log_prob), self._state = self.timing.decide(state, gap, self.cost)
        prob = log_prob.exp()

        # draw ν, then the action
        noise = step.get("human_noise", None)
        threshold = torch.rand_like(prob) if noise is None else noise[..., 0]
        intervened = threshold < prob
        if "attended" in step.keys():  # they do what they are asked for
            intervened = (intervened | step["asked"]) & step["attended"]
        self._moment = Moment(gap, intervened)
        action = draw(self._actions(gap.human, log_prob), None if noise is None else noise[..., 1:])
        direction = None
        if self.corrections != "takeover":
            expected = gap
            if isinstance(self.timing, Believing):  # of three robots, each as likely as the human believes
                expected = with_belief(gap, state["log_belief"])
            direction = direction_to(action, mode(expected.mental_model), self.corrections)
        return Decision(intervened=intervened, action=action, intervention_prob=prob, direction=direction)

    @torch.no_grad()
    def judge(self, executed_action: Tensor) -> None:
        """Remember the step; see `Human.judge`."""
        assert self._state is not None
        assert self._moment is not None
        gap, intervened = self._moment
        self._state = self.timing.after(self._state, gap, intervened, executed_action)

    def gap(self, steps: TensorDictBase) -> Gap:
        """Return the gap between the expert's actions and those expected of the robot in steps, `[*batch]`."""
        expert, expected = self.expert.at(steps), self.mental_model.at(steps)
        gap = Gap(expert, expected, self.scale)
        return with_hypotheses(gap, expert) if isinstance(self.timing, Believing) else gap

    def _actions(self, expert: Distribution, log_prob: Tensor) -> Distribution:
        """Return the distribution of the human's action, given ln p(ν=1|s)."""
        return expert


class HesitantHuman(SimulatedHuman):
    """Acts in proportion to how sure they are: by N(p μ*, (p s*)²), where p = p(ν=1|s) and the expert is N(μ*, s*²).

    The simulated human of the authors' released code acts so; that of the paper's text acts by N(μ*, s*²). Needs
    continuous actions.

    Args:
        expert: Expert policy π*; the others are those of `SimulatedHuman`.

    Raises:
        ValueError: The expert's actions are not those of a diagonal Gaussian.
    """

    def __init__(self, expert: Policy, *arguments: Any, **options: Any) -> None:
        super().__init__(expert, *arguments, **options)
        with torch.no_grad():
            embedding = torch.zeros(expert.embedding_dim, dtype=torch.float64)
            scaled_by(self.expert.distribution(embedding), embedding.new_zeros(()))  # pyright: ignore

    def _actions(self, expert: Distribution, log_prob: Tensor) -> Distribution:
        return scaled_by(expert, log_prob)
