"""The simulated human of Sec. V."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from mile.humans.human import Decision, Human
from mile.intervention import check_cost_and_scale, intervention_log_probs
from mile.policies import Policy
from mile.policies.sampling import draw


class SimulatedHuman(nn.Module, Human):
    """Intervenes as the intervention model says, with an expert's policy in the place of π_h.

    ν is a Bernoulli draw of p(ν=1|s), the action a sample of the expert. Both networks are copied and run in
    float64, so that rounding, which differs between batch sizes, does not make another episode.

    Args:
        expert: Expert policy π*.
        mental_model: The human's model of the robot's policy, π̂.
        cost: Effort of intervening, c, nats.
        scale: Scale of Φ, σ, nats.

    Attributes:
        mental_model: Present mental model, which may be replaced between rounds.
        first_impression: First mental model, from the constructor.

    Raises:
        ValueError: `cost` or `scale` is not finite, `scale` is not above 0, or the policies see different entries of a
            step.

    Source: Sec. V, "Experiment Setup"; App. B.
    """

    def __init__(self, expert: Policy, mental_model: Policy, cost: float, scale: float) -> None:
        super().__init__()
        check_cost_and_scale(cost, scale)
        if expert.sees != mental_model.sees:
            raise ValueError(f"the expert sees '{expert.sees}', the mental model '{mental_model.sees}'; choose one")
        self.sees = expert.sees
        self.expert = deepcopy(expert).cpu().double()
        self.mental_model = self.first_impression = deepcopy(mental_model).cpu().double()
        self.cost = cost
        self.scale = scale

    @torch.no_grad()
    def decide(self, observation: Tensor, noise: Tensor | None = None) -> Decision:
        """Decide for observations `[*batch, observation_dim]`; see `Human.decide`."""
        # p(ν=1|s), Eq. 2
        observation = observation.double()
        expert = self.expert(observation)
        _, log_prob = intervention_log_probs(expert, self.mental_model(observation), self.cost, self.scale)
        prob = log_prob.exp()

        # draw ν, then the action
        if noise is None:
            threshold = torch.rand_like(prob)
            action = draw(expert, None)
        else:
            threshold = noise[..., 0]
            action = draw(expert, noise[..., 1:])
        return Decision(intervened=threshold < prob, action=action, intervention_prob=prob)
