"""The losses of soft actor-critic: plain, and RLPD's with an ensemble of critics."""

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.data import TensorSpec
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss

from mile.policies import GaussianPolicy, Perceptron


class QNetwork(Perceptron):
    """Network of Q(s, a), with the policy's normalisation of vectors.

    Args:
        policy: Policy whose hidden layers and encoders are copied, and whose normalisation of vectors is shared.
        layer_norm: Normalise each hidden layer.
        initial_value: Approximate value of Q before anything is learnt.
    """

    def __init__(self, policy: GaussianPolicy, layer_norm: bool = False, initial_value: float = 0.0) -> None:
        super().__init__(policy, more_dim=policy.architecture["action_dim"], layer_norm=layer_norm)
        self.initial_value = initial_value
        self.normalizer = policy.normalizer

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return Q, `[*batch, 1]`, for the observed entries, as `in_keys` has them, and the action."""
        *observed, action = inputs
        return self.network(torch.cat([self.embed(*observed), action], -1)) + self.initial_value

    def of(self, steps: TensorDictBase, action: Tensor) -> Tensor:
        """Return Q, `[*batch]`, of actions in steps `[*batch]`."""
        return self(*self.inputs(steps), action).squeeze(-1)


class _MeanAndStd(nn.Module):
    """The policy as TorchRL wants it: mean and standard deviation of the Gaussian before tanh."""

    def __init__(self, policy: GaussianPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy.mean_and_std(*inputs)


def make_actor(policy: GaussianPolicy, action_spec: TensorSpec) -> ProbabilisticActor:
    """Return an actor for TorchRL's losses that shares the policy's weights.

    Raises:
        ValueError: The policy is not squashed. Where actions are clipped instead, Q is flat beyond ±1: nothing brings a
            mean back from there, and entropy grows without end.
    """
    if not policy.squash:
        raise ValueError("soft actor-critic needs a GaussianPolicy with squash=True: its actions are bounded")
    return ProbabilisticActor(
        TensorDictModule(_MeanAndStd(policy), list(policy.in_keys), ["loc", "scale"]),
        in_keys=["loc", "scale"],
        spec=action_spec,
        distribution_class=TanhNormal,
        return_log_prob=True,
    )


def make_sac(policy: GaussianPolicy, action_spec: TensorSpec, discount: float = 0.99) -> SACLoss:
    """Return the loss of plain SAC, with two critics, which trains a policy in place.

    Args:
        policy: Policy with `squash=True`.
        action_spec: Action spec of the environment, unbatched.
        discount: Discount factor γ.
    """
    critic = ValueOperator(QNetwork(policy), in_keys=[*policy.in_keys, "action"])
    loss = SACLoss(make_actor(policy, action_spec), critic, num_qvalue_nets=2, action_spec=action_spec)
    loss.make_value_estimator(gamma=discount)
    return loss


class RLPDLoss(SACLoss):
    """Soft actor-critic with an ensemble of critics, for few and partly demonstrated data.

    The target takes the minimum over a random few of the critics, without entropy; the actor goes by the mean of all.

    Args:
        policy: Policy that is trained, in place.
        action_spec: Action spec of the environment, unbatched.
        num_critics: Number of critics in the ensemble, each with layer normalisation.
        num_target_critics: Number of critics, drawn anew for each batch, that the target takes the minimum over.
        discount: Discount factor γ.
        initial_value: Value of Q before anything is learnt.
        initial_temperature: Temperature at first. TorchRL's 1 outweighs rewards of at most 1 a step for thousands of
            updates.

    Raises:
        ValueError: The policy is not squashed.

    Source: Ball et al., "Efficient online reinforcement learning with offline data", ICML 2023.
    """

    def __init__(
        self,
        policy: GaussianPolicy,
        action_spec: TensorSpec,
        num_critics: int = 10,
        num_target_critics: int = 2,
        discount: float = 0.99,
        initial_value: float = 0.0,
        initial_temperature: float = 0.1,
    ) -> None:
        network = QNetwork(policy, layer_norm=True, initial_value=initial_value)
        critic = ValueOperator(network, in_keys=[*policy.in_keys, "action"])
        super().__init__(
            make_actor(policy, action_spec),
            critic,
            num_qvalue_nets=num_critics,
            loss_function="l2",
            alpha_init=initial_temperature,
            action_spec=action_spec,
            target_entropy=-action_spec.shape[-1] / 2,
        )
        self.num_target_critics = num_target_critics
        self.observed = policy.in_keys
        self.make_value_estimator(gamma=discount)

    def critic_loss(self, batch: TensorDictBase) -> Tensor:
        """Return the squared TD error, summed over critics, the mean over transitions `[batch_size]`."""
        return self.qvalue_v2_loss(batch)[0]

    def policy_loss(self, batch: TensorDictBase) -> tuple[Tensor, Tensor]:
        """Return the losses of the actor and of the temperature for transitions `[batch_size]`."""
        loss, metadata = self.actor_loss(batch)
        return loss, self.alpha_loss(metadata["log_prob"]).mean()

    def actor_loss(self, tensordict: TensorDictBase) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the actor's loss against the mean of all critics, and the log-probabilities of its actions."""
        action, log_prob = self._draw(tensordict)  # [batch_size, action_dim], [batch_size]
        values = self._values(tensordict, action, self._cached_detached_qvalue_params)
        value = values.mean(0)
        return (self._alpha * log_prob - value).mean(), {"log_prob": log_prob.detach()}

    @torch.no_grad()
    def _compute_target_v2(self, tensordict: TensorDictBase) -> Tensor:
        """Return the targets of the critics, `[batch_size]`; SACLoss calls this in place of its own."""
        # value of the next step: the least of a random few critics, without entropy
        next_step = tensordict["next"]
        numbers = torch.randperm(self.num_qvalue_nets)[: self.num_target_critics]
        action, _ = self._draw(next_step)
        values = self._values(next_step, action, self.target_qvalue_network_params[numbers])
        value = values.amin(0)

        # reward + discount · value, where the task goes on
        with_value = tensordict.copy()
        with_value["next", self.value_estimator.tensor_keys.value] = value.unsqueeze(-1)
        return self.value_estimator.value_estimate(with_value).squeeze(-1)

    def _draw(self, steps: TensorDictBase) -> tuple[Tensor, Tensor]:
        """Return actions of the actor and their log-probabilities."""
        with self.actor_network_params.to_module(self.actor_network):
            distribution = self.actor_network.get_dist(steps.select(*self.observed))
        action = distribution.rsample()
        return action, distribution.log_prob(action)

    def _values(self, steps: TensorDictBase, action: Tensor, critics: TensorDictBase) -> Tensor:
        """Return Q of each critic, `[critics, *batch]`."""
        batch = steps.select(*self.observed).set("action", action)
        return self._vmap_qnetworkN0(batch, critics)["state_action_value"].squeeze(-1)  # pyright: ignore
