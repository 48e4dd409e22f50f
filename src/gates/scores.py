"""Scores: how much does a robot need help, in the state that it is in, with the action that it proposes?"""

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import Any, Protocol

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from mile.gates.values import ActionValue, learn_values
from mile.ingredients.cloning import clone_policy
from mile.intervention import intervention_log_probs
from mile.policies import CategoricalPolicy, GaussianPolicy, Policy
from mile.policies.sampling import mode
from mile.transitions import action_taken, attended


class Learner(Protocol):
    """A method, as far as a score looks at it: its policy, and for MILE's own score what `mile.methods.MILE` has."""

    policy: Policy


class Score(ABC):
    """A number that is large where a robot needs help. Its networks run in float64, so that no rounding decides."""

    def learn(self, method: Learner, steps: TensorDictBase) -> None:  # noqa: B027
        """Learn from what is recorded, before a round; there may be nothing to learn.

        Args:
            method: Method that learns, with its present policy.
            steps: Recorded steps, whole attempts by round, `[steps]`.
        """

    @abstractmethod
    def __call__(self, step: TensorDictBase) -> Tensor:
        """Return the score, `[*batch]` float64.

        Args:
            step: Entries of a step: what policies observe, the robot's `action`, and perhaps `human_noise`; `[*batch]`.
        """


class Chance(Score):
    """A uniform number in [0, 1), independent of the one that a simulated human decides by.

    It is made of that number's last digits, so that an episode can be repeated. Where an environment has none, it comes
    from torch's global generator.
    """

    def __call__(self, step: TensorDictBase) -> Tensor:
        """Return the number; see `Score.__call__`."""
        noise = step.get("human_noise", None)
        if noise is None:
            return torch.rand(step.batch_size, dtype=torch.float64)
        return (1000 * noise[..., 0].double()).frac()


class InterventionProbability(Score):
    """MILE's: p(ν=1|s), Eq. 2, of the learnt policy and mental model."""

    def learn(self, method: Any, steps: TensorDictBase) -> None:
        """Take over the present networks; see `Score.learn`.

        Raises:
            ValueError: The method has no mental model.
        """
        if not hasattr(method, "mental_model"):
            raise ValueError(
                f"p(ν=1|s) needs a learnt mental model, which {type(method).__name__} has not; choose method=mile"
            )
        self.policy = deepcopy(method.policy).cpu().double()
        self.mental_model = deepcopy(method.mental_model).cpu().double()
        self.cost, self.scale = method.cost, method.scale

    @torch.no_grad()
    def __call__(self, step: TensorDictBase) -> Tensor:
        """Return p(ν=1|s); see `Score.__call__`."""
        _, log_intervene = intervention_log_probs(
            self.policy.at(step), self.mental_model.at(step), self.cost, self.scale
        )
        return log_intervene.exp()


class Variance(Score):
    """Variance of the actions of an ensemble, cloned from what was done in steps that a human attended.

    Args:
        members: Number of policies in the ensemble, each cloned from rows drawn with replacement.
        steps: Number of gradient steps of each.
    """

    def __init__(self, members: int = 5, steps: int = 300) -> None:
        self.members = members
        self.steps = steps
        self.ensemble: list[Policy] = []

    def learn(self, method: Learner, steps: TensorDictBase) -> None:
        """Clone the ensemble anew; see `Score.learn`."""
        watched = attended(steps).nonzero().flatten()
        action = action_taken(steps)
        whole: Any = steps.copy()
        for name in method.policy.pictures:
            whole[name] = steps[name][:, -1]  # the newest of each stack, of which cloning makes stacks again
        shape = method.policy.architecture
        kind = CategoricalPolicy if method.policy.is_discrete else GaussianPolicy
        sizes = {name: shape[name] for name in ("observation_dim", "action_dim", "hidden_dims")}

        self.ensemble = []
        for member in range(self.members):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(member)
                policy = kind(**sizes, pictures=shape.get("pictures"))
                policy.in_keys = method.policy.in_keys
                rows = watched[torch.randint(len(watched), (len(watched),))]
            clone_policy(policy, whole, action, steps=self.steps, seed=member, rows=rows)
            self.ensemble.append(policy.double())

    @torch.no_grad()
    def __call__(self, step: TensorDictBase) -> Tensor:
        """Return the variance over members, the mean over an action's parts (or probabilities)."""
        actions = []
        for policy in self.ensemble:
            distribution: Any = policy.at(step)
            actions.append(distribution.probs if policy.is_discrete else mode(distribution))
        return torch.stack(actions).var(0).mean(-1)


class Risk(Score):
    """1 − Q̂(s, a_r), where Q̂ is the discounted probability of success, by temporal differences.

    Args:
        discount: Discount factor γ.
        updates: Number of gradient steps.
    """

    def __init__(self, discount: float = 0.99, updates: int = 1000) -> None:
        self.discount = discount
        self.updates = updates
        self.value: nn.Module | None = None

    def learn(self, method: Learner, steps: TensorDictBase) -> None:
        """Learn the values anew, for the present policy; see `Score.learn`."""

        def error(value: ActionValue, batch: TensorDictBase, following: Tensor) -> Tensor:
            succeeded = batch["next", "success"].float()
            target = succeeded + self.discount * (1 - succeeded) * following.clamp(0, 1)
            return (value(batch, batch["executed_action"]) - target).square()

        self.value = learn_values(method.policy, steps, error, updates=self.updates).double()

    @torch.no_grad()
    def __call__(self, step: TensorDictBase) -> Tensor:
        """Return the risk; see `Score.__call__`."""
        assert self.value is not None
        return 1 - self.value(step, step["action"])


class ProxyValue(Score):
    """AIM's: a value that is +1 for actions of the robot that a human corrected, and −1 for the human's own.

    Temporal differences with the reward 0 spread it.

    Args:
        epsilon: Distance ‖a_r − a_h‖² above which a_r counts as corrected; the gate sets it from what is recorded.
        discount: Discount factor γ.
        updates: Number of gradient steps.
    """

    def __init__(self, epsilon: float = 0.0, discount: float = 0.99, updates: int = 1000) -> None:
        self.epsilon = epsilon
        self.discount = discount
        self.updates = updates
        self.value: nn.Module | None = None

    def learn(self, method: Learner, steps: TensorDictBase) -> None:
        """Learn the values anew, for the present policy; see `Score.learn`."""

        def error(value: ActionValue, batch: TensorDictBase, following: Tensor) -> Tensor:
            acted, robot_action = batch["intervened"], batch["robot_action"]
            of_executed, of_robot = value(batch, batch["executed_action"]), value(batch, robot_action)
            corrected = acted & (distance(robot_action, action_taken(batch)) > self.epsilon)
            return (
                (of_executed - self.discount * following).square()
                + torch.where(acted, (value(batch, action_taken(batch)) + 1).square(), 0.0)
                + torch.where(corrected, (of_robot - 1).square(), 0.0)
            )

        self.value = learn_values(method.policy, steps, error, updates=self.updates).double()

    @torch.no_grad()
    def __call__(self, step: TensorDictBase) -> Tensor:
        """Return the proxy value of the robot's action; see `Score.__call__`."""
        assert self.value is not None
        return self.value(step, step["action"])


def distance(robot_action: Tensor, human_action: Tensor) -> Tensor:
    """Return ‖a_r − a_h‖² of actions `[*batch, action_dim]`; 1[a_r ≠ a_h] of discrete ones, `[*batch]`."""
    if robot_action.is_floating_point():
        return (robot_action - human_action).square().sum(-1)
    return (robot_action != human_action).float()
