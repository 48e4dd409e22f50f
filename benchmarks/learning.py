"""Speed of the intervention model, of a step of MILE and of an epoch, each against something simpler."""

import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning import Trainer
from ratio import Figure, ratio, ratio_once
from sampled import sampled_intervention_prob, sampled_loss
from tensordict import TensorDict
from torch.distributions import Independent, Normal

from mile.datamodules import InterventionDataModule
from mile.intervention import intervention_log_probs
from mile.methods import MILE
from mile.policies import CategoricalPolicy, GaussianPolicy

BATCH = 1024
OBSERVATION, ACTION = 156, 4  # Meta-World
COST, SCALE = 5.0, 5.0  # nats


def intervention_speedup() -> Figure:
    """Forward and backward of the intervention model: time of 1000 samples over ours."""
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.randn(BATCH, ACTION, generator=generator).requires_grad_() for _ in range(4)]

    def run(model: Callable[..., Any]) -> None:
        means, log_stds = parameters[:2], parameters[2:]
        human, belief = (
            Independent(Normal(mean, log_std.clamp(-1, 1).exp()), 1)
            for mean, log_std in zip(means, log_stds, strict=True)
        )
        output = model(human, belief, COST, SCALE)
        if isinstance(output, tuple):
            output = output[1]
        output.sum().backward()

    return ratio(partial(run, sampled_intervention_prob), partial(run, intervention_log_probs))


def step_over_limit() -> Figure:
    """A step of MILE over one of the same two networks under a trivial loss."""
    steps = LearningSteps.gaussian()
    return ratio(steps.mile, steps.trivial)


def step_over_limit_discrete() -> Figure:
    """The same for LunarLander's small networks."""
    steps = LearningSteps(CategoricalPolicy, 8, (64, 64))
    return ratio(steps.mile, steps.trivial)


def step_speedup() -> Figure:
    """A step with 1000 samples over a step of MILE."""
    steps = LearningSteps.gaussian()
    return ratio(steps.sampled, steps.mile, repetitions=3)


def epoch_over_bare_loop() -> Figure:
    """Lightning's epoch of MILE over a bare loop of the same steps on the same batches."""
    steps = LearningSteps.gaussian()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # data
        warnings.simplefilter("ignore")
        data = InterventionDataModule(f"{folder}/buffer", "benchmark", batch_size=BATCH)
        data.buffer.append(recorded_steps(32 * BATCH))

        # two ways to learn from them
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        epochs = 4

        def lightning() -> None:
            trainer = Trainer(accelerator="cpu", max_epochs=epochs, enable_model_summary=False, **quiet)
            trainer.fit(steps.method, datamodule=data)

        def bare() -> None:
            for _ in range(epochs):
                for batch in data.batches():
                    steps.step(steps.method.loss(batch).loss)

        # once to warm up
        bare()
        return ratio_once(lightning, bare, repetitions=5)


def recorded_steps(length: int, episode: int = 0) -> TensorDict:
    """Return one long episode of random steps as Meta-World's are recorded."""
    generator = torch.Generator().manual_seed(episode)
    observation = torch.randn(length + 1, OBSERVATION, generator=generator)
    action = torch.rand(length, ACTION, generator=generator) * 2 - 1
    intervened = torch.rand(length, generator=generator) < 0.2
    last = torch.arange(length) == length - 1
    return TensorDict(
        {
            # the step
            "observation": observation[:-1],
            "robot_action": action,
            "human_action": torch.where(intervened.unsqueeze(-1), action, torch.nan),
            "intervened": intervened,
            "executed_action": action,
            "attended": torch.ones(length, dtype=torch.bool),
            "asked": torch.zeros(length, dtype=torch.bool),
            "intervention_prob": torch.full([length], 0.2),
            # its outcome
            "next": {
                "observation": observation[1:],
                "reward": torch.zeros(length),
                "terminated": last,
                "truncated": torch.zeros(length, dtype=torch.bool),
                "success": last,
            },
            # its place
            "episode": torch.full([length], episode),
            "round": torch.zeros(length, dtype=torch.int64),
            "step": torch.arange(length),
            "timestamp": torch.zeros(length, dtype=torch.float64),
        },
        [length],
    )


class LearningSteps:
    """Three kinds of gradient step on one random batch."""

    def __init__(self, kind: type[CategoricalPolicy] | type[GaussianPolicy], dim: int, hidden: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        self.networks = [kind(dim, ACTION, hidden) for _ in range(2)]
        self.method = MILE(*self.networks, cost=COST, scale=SCALE)
        self.optimizer = self.method.configure_optimizers()
        discrete = kind is CategoricalPolicy
        self.batch: Any = {
            "observation": torch.randn(BATCH, dim),
            "human_action": torch.randint(ACTION, (BATCH,)) if discrete else torch.randn(BATCH, ACTION),
            "intervened": torch.rand(BATCH) < 0.2,
        }

    @classmethod
    def gaussian(cls) -> "LearningSteps":
        """Meta-World's networks."""
        return cls(GaussianPolicy, OBSERVATION, (256, 256))

    def step(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def mile(self) -> None:
        self.step(self.method.loss(self.batch).loss)

    def sampled(self) -> None:
        human, belief = (network(self.batch["observation"]) for network in self.networks)
        self.step(sampled_loss(human, belief, self.batch, COST, SCALE))

    def trivial(self) -> None:
        losses = []
        for network in self.networks:
            output = network.network(network.normalizer(self.batch["observation"]))
            losses.append(output.square().mean())
        self.step(sum(losses))
