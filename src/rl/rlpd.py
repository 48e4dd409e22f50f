"""The losses of soft actor-critic, plain and as RLPD has it."""

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.data import TensorSpec
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss

from mile.policies import GaussianPolicy
from mile.policies.networks import mlp


class QNetwork(nn.Module):
    """Q(s, a) that sees observations as the policy does.

    Args:
        policy: whose shape and normalisation of observations it has.
        layer_norm: normalise each hidden layer.
        initial_value: about what Q is before anything is learnt.
    """

    def __init__(self, policy: GaussianPolicy, layer_norm: bool = False, initial_value: float = 0.0) -> None:
        super().__init__()
        self.initial_value = initial_value
        shape = policy.architecture
        self.normalizer = policy.normalizer
        self.network = mlp(shape["observation_dim"] + shape["action_dim"], shape["hidden_dims"], 1, layer_norm)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return Q, `[*batch, 1]`."""
        return self.network(torch.cat([self.normalizer(observation), action], -1)) + self.initial_value


class _Parameters(nn.Module):
    """The policy as TorchRL wants it: mean and standard deviation of what tanh is applied to."""

    def __init__(self, policy: GaussianPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy.mean_and_std(observation)


def make_actor(policy: GaussianPolicy, action_spec: TensorSpec) -> ProbabilisticActor:
    """Return an actor for TorchRL's losses that shares the policy's weights.

    Raises:
        ValueError: the policy is not squashed. Where actions are clipped instead, Q is flat beyond ±1: nothing brings a
            mean back from there, and entropy grows without end.
    """
    if not policy.squash:
        raise ValueError("soft actor-critic needs a GaussianPolicy with squash=True: its actions are bounded")
    return ProbabilisticActor(
        TensorDictModule(_Parameters(policy), ["observation"], ["loc", "scale"]),
        in_keys=["loc", "scale"],
        spec=action_spec,
        distribution_class=TanhNormal,
        return_log_prob=True,
    )


def make_sac(policy: GaussianPolicy, action_spec: TensorSpec, discount: float = 0.99) -> SACLoss:
    """Return the loss of plain SAC, with two critics, which trains a policy in place."""
    critic = ValueOperator(QNetwork(policy), in_keys=["observation", "action"])
    loss = SACLoss(make_actor(policy, action_spec), critic, num_qvalue_nets=2, action_spec=action_spec)
    loss.make_value_estimator(gamma=discount)
    return loss


class RLPDLoss(SACLoss):
    """Soft actor-critic with an ensemble of critics, for few and partly demonstrated data.

    The target takes the minimum over a random few of the critics, without entropy; the actor goes by the mean of all.

    Args:
        policy: what is trained, in place.
        action_spec: of the environment, unbatched.
        num_critics: in the ensemble, each with layer normalisation.
        in_target: how many the minimum is over.
        discount: γ.
        initial_value: of Q, before anything is learnt.
        initial_temperature: TorchRL's 1 outweighs rewards of at most 1 a step for thousands of updates.

    Source: Ball et al., "Efficient online reinforcement learning with offline data", ICML 2023.
    """

    def __init__(
        self,
        policy: GaussianPolicy,
        action_spec: TensorSpec,
        num_critics: int = 10,
        in_target: int = 2,
        discount: float = 0.99,
        initial_value: float = 0.0,
        initial_temperature: float = 0.1,
    ) -> None:
        critic = ValueOperator(QNetwork(policy, True, initial_value), in_keys=["observation", "action"])
        super().__init__(
            make_actor(policy, action_spec),
            critic,
            num_qvalue_nets=num_critics,
            loss_function="l2",
            alpha_init=initial_temperature,
            action_spec=action_spec,
            target_entropy=-action_spec.shape[-1] / 2,
        )
        self.in_target = in_target
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
        action, log_prob = self._draw(tensordict)
        value = self._values(tensordict["observation"], action, self._cached_detached_qvalue_params).mean(0)
        return (self._alpha * log_prob - value).mean(), {"log_prob": log_prob.detach()}

    @torch.no_grad()
    def _compute_target_v2(self, tensordict: TensorDictBase) -> Tensor:
        following = tensordict["next"]
        chosen = torch.randperm(self.num_qvalue_nets)[: self.in_target]
        action, _ = self._draw(following)
        value = self._values(following.get("observation"), action, self.target_qvalue_network_params[chosen]).amin(0)
        with_value = tensordict.copy()
        with_value["next", self.value_estimator.tensor_keys.value] = value.unsqueeze(-1)
        return self.value_estimator.value_estimate(with_value).squeeze(-1)

    def _draw(self, steps: TensorDictBase) -> tuple[Tensor, Tensor]:
        """Return actions of the actor and their log-probabilities."""
        with self.actor_network_params.to_module(self.actor_network):
            distribution = self.actor_network.get_dist(steps.select("observation"))
        action = distribution.rsample()
        return action, distribution.log_prob(action)

    def _values(self, observation: Tensor, action: Tensor, critics: TensorDictBase) -> Tensor:
        """Return Q of each critic, `[critics, *batch]`."""
        batch = TensorDict({"observation": observation, "action": action}, action.shape[:-1])
        return self._vmap_qnetworkN0(batch, critics)["state_action_value"].squeeze(-1)  # pyright: ignore
