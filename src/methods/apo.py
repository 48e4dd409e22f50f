"""APO: prefer what the human did, and what succeeded, to what the robot did just before an intervention."""

from copy import deepcopy
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from mile.expectations import divergence
from mile.methods.method import ADAM, Loss, MakeOptimizer, Method
from mile.methods.onsets import before_interventions
from mile.policies import Policy
from mile.preference import preference_log_prob
from mile.transitions import DEMONSTRATION, action_taken

DESIRABLE, UNDESIRABLE = 1, -1


class APO(Method):
    """Makes desirable actions more probable than they were when the round began, and undesirable ones less.

    With Δ = β (ln π(a|s) − ln π_ref(a|s)) and z = β KL(π ‖ π_ref), the mean over the batch, a desirable action has the
    loss 1 − F(Δ − z) and an undesirable one 1 − F(z − Δ), with a logistic F.

    Desirable are the human's actions, demonstrations among them, and the robot's in attempts that succeeded.
    Undesirable are the robot's last ones before an intervention, whatever came of the attempt. All other steps are
    discarded.

    Args:
        policy: Policy π_θ, at first the initial policy. The policy that a round begins with becomes π_ref.
        beta: Factor β of the log-ratio, above 0.
        window: Number of steps before an onset that are undesirable.
        optimizer: Function that makes the optimiser from the parameters.

    Raises:
        ValueError: A number is out of its range.

    Source: "APO: Enhancing human-in-the-loop robot learning with action preference optimization", NeurIPS 2025, and
    Ethayarajh et al., "KTO: Model alignment as prospect theoretic optimization", ICML 2024.
    """

    reads = (*Method.reads, ("next", "success"))
    needs_attempts = True
    reference_round: Tensor
    newest_round: Tensor

    def __init__(self, policy: Policy, beta: float = 0.1, window: int = 5, optimizer: MakeOptimizer = ADAM) -> None:
        super().__init__(policy, optimizer)
        if not beta > 0:
            raise ValueError(f"beta must be above 0, got {beta}")
        if window < 0:
            raise ValueError(f"window (steps) must be at least 0, got {window}")
        self.save_hyperparameters("beta", "window")
        self.beta = beta
        self.window = window
        self.reference = deepcopy(policy).requires_grad_(False)
        self.register_buffer("reference_round", torch.tensor(DEMONSTRATION))
        self.register_buffer("newest_round", torch.tensor(DEMONSTRATION))  # a run that goes on may not ask `context`

    def context(self, steps: TensorDictBase) -> TensorDict:
        """Return, of each of the steps `[steps]` of whole attempts, whether its action was desirable: 1, −1 or 0."""
        self.newest_round.fill_(int(steps["round"].max()))
        return TensorDict({"desirable": desirability(steps, self.window)}, [len(steps)])

    def on_train_batch_start(self, batch: TensorDictBase, batch_idx: int) -> None:
        """Keep the policy that a round begins with; called before each batch."""
        if self.newest_round != self.reference_round:
            self.reference.load_state_dict(self.policy.state_dict())
            self.reference_round.copy_(self.newest_round)

    def sampling_weights(self, steps: TensorDictBase) -> Tensor:
        """Return 1 for the steps that are learnt from, and 0 for all others, `[steps]`."""
        return (desirability(steps, self.window) != 0).float()

    def loss(self, batch: TensorDictBase) -> Loss:
        """Return the loss for recorded steps `[batch_size]`."""
        policy: Any = self.policy.at(batch)
        with torch.no_grad():
            reference: Any = self.reference.at(batch)
            shift = self.joint_mean(self.beta * divergence(policy, reference).mean())

        # log-ratios against their reference point
        action = action_taken(batch)
        ratio = self.beta * (policy.log_prob(action) - reference.log_prob(action))
        sign = batch["context", "desirable"]
        prob = preference_log_prob(sign * ratio, sign * shift).exp()

        judged = sign != 0
        return Loss(torch.where(judged, 1 - prob, 0.0).sum() / self.count(judged).clamp_min(1e-9))


def desirability(steps: TensorDictBase, window: int) -> Tensor:
    """Return 1 where the action was desirable, −1 where it was not, and 0 where nobody knows, `[steps]` int64.

    Args:
        steps: Whole attempts, one after another, `[steps]`.
        window: Number of steps before an onset that are undesirable.
    """
    attempt = torch.stack([steps["round"], steps["episode"]], -1).unique_consecutive(dim=0, return_inverse=True)[1]
    succeeded = torch.zeros(int(attempt.max()) + 1, dtype=torch.bool)
    succeeded[attempt[steps["next", "success"]]] = True

    good = steps["intervened"] | succeeded[attempt]
    return torch.where(before_interventions(steps, window), UNDESIRABLE, good.long() * DESIRABLE)
