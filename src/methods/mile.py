"""MILE: learn the policy and the human's mental model of it jointly (Sec. IV)."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from mile.intervention import check_cost_and_scale
from mile.losses import (
    InterventionLoss,
    LossWithSilence,
    action_nll,
    check_weights,
    direction_nll,
    extended_cross_entropy,
    joint_log_likelihood,
    scaled_by,
    weighted_sum,
    with_silence,
)
from mile.methods.method import ADAM, MakeOptimizer, Method
from mile.methods.onsets import decisions
from mile.policies import Policy
from mile.timing import Attempts, Believing, Delayed, HumanFit, Memoryless, TimingModel, fit_human
from mile.timing.attempts import attempt_rows
from mile.timing.believing import check_hypotheses, with_hypotheses
from mile.timing.chunk_gap import check_pair, gap_between
from mile.timing.likelihood import timing_parameters, with_parameters
from mile.timing.model import check_likelihood
from mile.transitions import acted, decided, directed

HELD = ("scale",)  # ln π_θ has a scale of its own, which σ cannot be told from


class MILE(Method):
    """Explains when and how a human intervened by the policy π_θ, in the human's place, and a mental model π̂_ξ.

    A step with ν=1 trains both networks to predict the intervention, and the policy to act as the human did. A step
    with ν=0 trains both networks to predict that the human does not intervene. Where a human did not attend or was
    asked to act, ν trains nothing. Demonstrations are refused, because nobody decided whether to intervene in them.

    The loss is the extended cross-entropy (Eq. 3) where the policy is categorical and the λ-weighted sum of BCE and
    NLL (Eq. 5) otherwise. Where the human lives in time, the BCE becomes the negative log-likelihood of ν in whole
    attempts, spread over their steps (`mile.timing`).

    Args:
        policy: Policy π_θ, at first the initial policy.
        mental_model: Mental model π̂_ξ: the distribution of the action that the human expects of the robot; with a
            `Believing` human, the first of three hypotheses, before the policy and a robot that acts at random.
        cost: Effort of intervening, c, nats.
        scale: Standard deviation σ of Φ, nats.
        intervention_weight: Weight λ of the BCE, in [0, 1]; used with continuous actions.
        policy_weight: Weight of the NLL; None: 1 − λ, as in Eq. 5.
        likelihood: Likelihood of the human's action. "product": π_θ(a_h|s), as in Eq. 2; "joint": Eq. 1, which also
            says that the action shown was worth the effort; "scaled": that of a human who acts in proportion to how
            sure they are, as in the authors' released code, for continuous actions.
        timing: Model of how a decision depends on the steps before; None: `Memoryless`, as in the paper.
        spread: How far the human's own actions lie from their best one, nats (`mile.intervention.action_spread`); used
            where there is a `silence_weight`.
        silence_weight: Weight of the term that clones the robot's action where ν=0 (`mile.losses.with_silence`); the
            paper has none.
        frozen_mental_model: Train only the policy; in the paper both networks learn.
        encoder: How pictures are encoded: "own", by each network; "shared", by the policy's encoders for both; or
            "detached", the same, and the BCE does not train them.
        learn_cost: Learn the human's parameters, too, in turns with the networks: `cost`, and those of `timing` that
            `mile.timing.fit_human` can learn, are then where the search starts. The scale is held: the networks could
            make up for any other one.
        fit_every: Number of epochs between two fits of the human's parameters; new attempts are also a reason.
        optimizer: Function that makes the optimiser from the parameters of both networks.

    Raises:
        ValueError: A number is out of its range, the likelihood is unknown, or likelihood, timing and the policy's
            actions do not go together.

    Source: Sec. IV, App. A (Algorithm 1, LEARNING).
    """

    reads = (*Method.reads, "executed_action")  # what a believing human has seen
    learns_chunks = True
    learns_corrections = True

    def __init__(
        self,
        policy: Policy,
        mental_model: Policy,
        cost: float,
        scale: float,
        intervention_weight: float = 0.5,
        policy_weight: float | None = None,
        likelihood: Literal["product", "joint", "scaled"] = "product",
        timing: TimingModel | None = None,
        spread: float | None = None,
        silence_weight: float = 0.0,
        frozen_mental_model: bool = False,
        encoder: Literal["own", "shared", "detached"] = "own",
        learn_cost: bool = False,
        fit_every: int = 20,
        optimizer: MakeOptimizer = ADAM,
    ) -> None:
        super().__init__(policy, optimizer)
        timing = Memoryless() if timing is None else timing
        check_cost_and_scale(cost, scale)
        timing.check(cost)
        check_weights(intervention_weight, policy_weight, silence_weight, spread)
        check_likelihood(likelihood, timing, policy)
        check_hypotheses(timing, policy.architecture)
        check_pair(policy, mental_model, likelihood, timing, learn_cost)
        if fit_every < 1:
            raise ValueError(f"fit_every (epochs) must be at least 1, got {fit_every}")

        self.save_hyperparameters("cost", "scale", "intervention_weight", "policy_weight", "likelihood")
        self.save_hyperparameters("silence_weight", "frozen_mental_model", "encoder")
        self.mental_model = mental_model.requires_grad_(not frozen_mental_model)
        self.encoder = encoder
        if encoder != "own":
            mental_model.share_encoders(policy)
        self.cost = cost
        self.scale = scale
        self.intervention_weight = intervention_weight
        self.policy_weight = policy_weight
        self.likelihood = likelihood
        self.timing = timing
        self.spread = spread
        self.silence_weight = silence_weight

        # the human's parameters
        self.learn_cost = learn_cost
        self.fit_every = fit_every
        self._steps_fitted = self._next_fit = 0  # steps, and an epoch

    @property
    def needs_attempts(self) -> bool:
        """Whether `context` is to be asked before every epoch."""
        return self._lives_in_time or self.learn_cost

    @property
    def _lives_in_time(self) -> bool:
        """Whether a step is learnt from with what `context` says of its attempt."""
        return type(self.timing) is not Memoryless

    def loss(self, batch: TensorDictBase) -> InterventionLoss | LossWithSilence:
        """Return the terms of the loss for recorded steps `[batch_size]`, with `context` if the human lives in time."""
        encoded = self._encode(batch)
        is_detached = encoded is not None and self.encoder == "detached"
        gap = self.gap(batch, encoded.detach() if is_detached else encoded)
        policy = self.policy.at(batch, encoded) if is_detached else gap.human
        intervened = batch["intervened"]
        context: Any = batch["context"] if self._lives_in_time else {}
        entries = {"intervened": intervened, **context}
        count = self.count(intervened)

        # when, J₁, where the human decided, and how, J₂
        free = decided(batch)
        log_likelihood = self._log_likelihood(gap, batch["human_action"], entries)
        free_count = self.count(free)
        intervention_loss = -torch.where(free, log_likelihood, 0.0).sum() / free_count.clamp_min(1e-9)
        shown_by = policy
        if self.likelihood == "scaled":
            _, log_prob = gap.log_probs(self.timing.step_cost(entries, self.cost))
            shown_by = scaled_by(policy, log_prob)
        policy_loss = self._policy_loss(shown_by, batch, count)

        # Eq. 3 for discrete, Eq. 5 for continuous actions
        if self.policy.is_discrete:
            share = free_count / intervened.numel()  # both terms are sums over steps, divided by the number of all
            terms = extended_cross_entropy(intervention_loss * share, policy_loss, share=count / intervened.numel())
        else:
            terms = weighted_sum(intervention_loss, policy_loss, self.intervention_weight, self.policy_weight)
        if not self.silence_weight:
            return terms

        assert self.spread is not None
        silent = context.get("content", (~intervened & free).float())
        weight, cost, spread = self.silence_weight, self.cost, self.spread
        return with_silence(terms, policy, batch["robot_action"], silent, cost=cost, spread=spread, weight=weight)

    def _policy_loss(self, policy: Any, batch: TensorDictBase, count: Tensor) -> Tensor:
        """Return the mean NLL, nats, of what the human did, or said that the robot should do, where ν=1."""
        if "direction" not in batch.keys():
            return action_nll(policy, batch["human_action"], batch["intervened"], count)
        did, said = acted(batch["human_action"]), directed(batch)
        total = self.count(did | said)
        of_directions = torch.where(said, direction_nll(policy, batch["robot_action"], batch["direction"]), 0.0).sum()
        return action_nll(policy, batch["human_action"], did, total) + of_directions / total.clamp_min(1e-9)

    def _log_likelihood(self, gap: Any, human_action: Tensor, entries: dict[str, Tensor]) -> Tensor:
        """Return each step's share of the log-likelihood of ν, `[batch_size]`."""
        if self.likelihood != "joint":
            return self.timing.step_log_likelihood(gap, entries, self.cost)
        cost = self.timing.step_cost(entries, self.cost)
        return joint_log_likelihood(gap.human, gap.mental_model, human_action, entries["intervened"], cost, self.scale)

    def _encode(self, steps: TensorDictBase) -> Tensor | None:
        """Return the pictures' vectors where both networks share them."""
        return None if self.encoder == "own" else self.policy.encode(*self.policy.inputs(steps))

    def gap(self, steps: TensorDictBase, encoded: Tensor | None = None) -> Any:
        """Return the `Gap` between the policy, in the human's place, and what is expected of the robot, `[*batch]`."""
        gap = self._gap(steps, encoded)
        if isinstance(self.timing, Believing):
            with torch.no_grad():
                optimist = self.policy.at(steps, encoded)
            gap = with_hypotheses(gap, optimist)
        return gap

    def _gap(self, steps: TensorDictBase, encoded: Tensor | None = None) -> Any:
        """Return the gap of a human who expects of the robot what the mental model says, as in Eq. 2."""
        encoded = self._encode(steps) if encoded is None else encoded
        policy, expected = self.policy.at(steps, encoded), self.mental_model.at(steps, encoded)
        return gap_between(policy, expected, self.scale, steps)

    @torch.no_grad()
    def context(self, steps: TensorDictBase) -> TensorDict | None:
        """Return what each of the steps `[steps]`, of whole attempts, must know of its attempt; None: nothing.

        The human's parameters are learnt here if they are to be, and it is time.

        Raises:
            ValueError: The attempts are not whole, or all of them are shorter than the median delay.
        """
        if not self.needs_attempts:
            return None
        rows, valid = attempt_rows(steps)
        longest = rows.shape[-1]
        if isinstance(self.timing, Delayed) and self.timing.median_delay > longest:
            raise ValueError(
                f"median_delay is {self.timing.median_delay} steps, but no attempt has more than {longest}; choose a "
                "shorter delay"
            )
        padded, attempts = self._attempts(steps, rows, valid)
        if self.learn_cost and (len(steps) != self._steps_fitted or self.current_epoch >= self._next_fit):
            gap = self.gap(padded)
            fit = fit_human(gap, attempts, self.timing, self.cost, self.scale, hold=HELD, intervals=False)
            self.cost, self.timing = fit.cost, fit.timing
            self._steps_fitted, self._next_fit = len(steps), self.current_epoch + self.fit_every
        if not self._lives_in_time:
            return None
        entries = self.timing.context(lambda: self.gap(padded), attempts, self.cost)
        flat = {name: value[attempts.valid] for name, value in entries.items()}
        return TensorDict(flat, [len(steps)])

    def fit_human(self, steps: TensorDictBase) -> HumanFit:
        """Return the human's parameters, with intervals, for the present networks and steps of whole attempts."""
        with torch.no_grad():
            padded, attempts = self._attempts(steps, *attempt_rows(steps))
            gap = self.gap(padded)
        return fit_human(gap, attempts, self.timing, self.cost, self.scale, hold=HELD)

    @torch.no_grad()
    def predict(self, steps: TensorDictBase) -> Tensor:
        """Return p(ν_t=1) given ν before t, `[steps]` float64, for the steps of whole attempts."""
        if not self._lives_in_time:
            return self.intervention_prob(self.observed(steps)).cpu().double()
        rows, valid = attempt_rows(steps)
        padded, attempts = self._attempts(steps, rows, valid)
        _, log_prob = self.timing.attempt_log_probs(self.gap(padded), attempts, self.cost)
        return log_prob[attempts.valid].exp().cpu().double()

    def _attempts(self, steps: TensorDictBase, rows: Tensor, valid: Tensor) -> tuple[TensorDictBase, Attempts]:
        """Return the steps of whole attempts, and the attempts, `[attempts, T]`, on the module's device."""
        padded: Any = steps.select(*self.policy.in_keys, "intervened", "executed_action")[rows].to(self.device)
        return padded, Attempts(padded["intervened"], valid.to(self.device), padded["executed_action"])

    def sampling_weights(self, steps: TensorDictBase) -> Tensor | None:
        """Return 0 for demonstrations, in which nobody decided whether to intervene; see `decisions`."""
        return decisions(steps, self.needs_attempts)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what was learnt of the human; called before a checkpoint is written."""
        super().on_save_checkpoint(checkpoint)
        if self.learn_cost:
            human = {"cost": self.cost, **timing_parameters(self.timing)}
            checkpoint["human"] = {"parameters": human, "steps_fitted": self._steps_fitted, "next_fit": self._next_fit}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what was learnt of the human; called after a checkpoint has been read."""
        super().on_load_checkpoint(checkpoint)
        human: Mapping[str, Any] | None = checkpoint.get("human")
        if self.learn_cost and human is not None:
            self.cost = human["parameters"]["cost"]
            self.timing = with_parameters(self.timing, human["parameters"])
            self._steps_fitted, self._next_fit = human["steps_fitted"], human["next_fit"]

    @torch.no_grad()
    def intervention_prob(self, steps: TensorDictBase) -> Tensor:
        """Return the predicted p(ν=1|s), Eq. 2, `[*batch]`."""
        _, log_intervene = self._gap(steps).log_probs(self.cost)
        return log_intervene.exp()

    @torch.no_grad()
    def gap_parts(self, steps: TensorDictBase) -> tuple[Tensor, Tensor]:
        """Return the two parts of the expected gap, nats, each `[*batch]`."""
        return self._gap(steps).parts()

    def exactness(self, steps: TensorDictBase) -> str:
        """Return in words how p(ν=1|s) is computed in steps `[*batch]`; see `mile.intervention.exactness`."""
        return self._gap(steps).exactness()
