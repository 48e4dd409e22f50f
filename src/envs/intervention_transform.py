"""The human between the collector and the environment."""

import torch
from tensordict import TensorDictBase
from tensordict.utils import expand_as_right
from torch import Tensor
from torchrl.data import Binary, Composite, TensorSpec, Unbounded
from torchrl.envs import Transform

from mile.humans import Decision, Human
from mile.humans.corrections import corrected
from mile.humans.oversight import Attention, Oversight
from mile.transitions import OF_CHUNKS, no_action


class InterventionTransform(Transform):
    """Lets a human take over from the policy at any time step.

    The collected `action` stays the robot's own proposal. The entries below belong to the same step t and are written
    beside the step's outcome, at `("next", key)[t]`; the root entry of that name at t belongs to step t−1.

    * `intervened` `[*batch]`: ν;
    * `human_action`: the human's action, NaN (discrete: −1) where they did not act;
    * `executed_action`: the action that the environment received, clipped to its action space; or, where the
      environment reports it, the action that it really executed;
    * `intervention_prob` `[*batch]`: p(ν=1|s);
    * `attended` `[*batch]`: whether the human could have intervened;
    * `asked` `[*batch]`: whether they were asked to act;
    * `direction`: from a human who corrects without an action (`mile.humans.corrections`), which way the robot should
      move, NaN where they did not say; their `human_action` is then unknown everywhere.

    A human may also end the episode: it is then terminated, and a success or a failure by their verdict.

    Args:
        human: Human who decides from their observation of the state alone. (A simulated human may observe more than
            the robot.) None: nobody is there, and the environment gets the robot's action as it is.
        oversight: What decides which copies the human attends, and where they are asked to act; None: they attend all.

    Example:
        >>> env = TransformedEnv(make_env("lunarlander"), InterventionTransform(human))
    """

    WRITTEN = ("intervened", "human_action", "executed_action", "intervention_prob", "attended", "asked")

    def __init__(self, human: Human | None, oversight: Oversight | None = None) -> None:
        super().__init__(in_keys=["action"], out_keys=list(self.WRITTEN))
        self.human = human
        self.oversight = oversight
        self._written: dict[str, Tensor] = {}

    @property
    def corrects(self) -> bool:
        """Whether the human corrects without an action; worker processes seat them later."""
        return self.human is not None and self.human.corrections != "takeover"

    def _inv_call(self, tensordict: TensorDictBase) -> TensorDictBase:
        # the decision
        robot_action = tensordict["action"]
        attention = self._attention(tensordict)
        decision = self._decide(tensordict, attention)

        # execute the human's action where they intervene, or the corrected one, and the robot's elsewhere
        wanted, nothing = decision.action.to(robot_action.dtype), no_action(robot_action)
        intervened = expand_as_right(decision.intervened, robot_action)
        direction = nothing if decision.direction is None else decision.direction.to(robot_action.dtype)
        if self.corrects:
            wanted = corrected(robot_action, direction)
        executed = self.parent.action_spec.project(torch.where(intervened, wanted, robot_action))

        # entries of this step, for `_step`
        human_action = nothing if self.corrects else torch.where(intervened, wanted, nothing)
        self._written = {
            "intervened": decision.intervened,
            "human_action": human_action,
            "executed_action": executed,
            "intervention_prob": decision.intervention_prob.float(),
            "attended": attention.attended,
            "asked": attention.requested,
        }
        if self.corrects:
            self._written["direction"] = torch.where(intervened, direction, nothing)
        if self.oversight is not None:
            self.oversight.after(decision.intervened, robot_action, decision.action)
        return tensordict if self.human is None else tensordict.set("action", executed)

    def _attention(self, tensordict: TensorDictBase) -> Attention:
        """Return what is wanted of the human."""
        if self.oversight is not None:
            return self.oversight.direct(tensordict)
        nowhere = torch.zeros(self.parent.batch_size, dtype=torch.bool)
        everywhere = torch.full_like(nowhere, self.human is not None)
        return Attention(attended=everywhere, requested=nowhere)

    def _decide(self, tensordict: TensorDictBase, attention: Attention) -> Decision:
        """Return the human's decision; nobody decides to leave the robot alone."""
        if self.human is None:
            nothing = torch.zeros(self.parent.batch_size)
            return Decision(nothing.bool(), tensordict["action"], nothing)
        # never the robot's action
        entries = tensordict.select(*self.human.in_keys, "human_noise", *OF_CHUNKS, strict=False)
        if self.oversight is not None:
            entries.update({"attended": attention.attended, "asked": attention.requested})
        decision = self.human.decide(entries)
        return decision._replace(intervened=decision.intervened & attention.attended)

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        if "executed_action" in next_tensordict.keys():
            self._written["executed_action"] = next_tensordict["executed_action"]

        verdict = None if self.human is None else self.human.judge(self._written["executed_action"])
        if verdict is not None:
            ended = torch.ones_like(next_tensordict["done"])
            next_tensordict.update({"done": ended, "terminated": ended})
            next_tensordict.set("success", torch.full(self.parent.batch_size, verdict))

        return next_tensordict.update(self._written)

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        copies = tensordict.get("_reset", None)  # [*batch, 1], or None: all
        copies = None if copies is None else copies.reshape(self.parent.batch_size)
        for listener in (self.human, self.oversight):
            if listener is not None:
                listener.begin(copies)
        return tensordict_reset.update(self._entries().zero())

    def transform_observation_spec(self, observation_spec: TensorSpec) -> TensorSpec:
        """Add the entries of `WRITTEN`."""
        assert isinstance(observation_spec, Composite)
        observation_spec.update(self._entries())
        return observation_spec

    def _entries(self) -> Composite:
        batch, action = self.parent.batch_size, self.parent.action_spec
        entries = Composite(
            intervened=Binary(shape=batch, dtype=torch.bool),
            human_action=Unbounded(shape=action.shape, dtype=action.dtype),
            executed_action=action.clone(),
            intervention_prob=Unbounded(shape=batch),
            attended=Binary(shape=batch, dtype=torch.bool),
            asked=Binary(shape=batch, dtype=torch.bool),
            shape=batch,
        )
        if self.corrects:
            entries["direction"] = Unbounded(shape=action.shape, dtype=action.dtype)
        return entries
