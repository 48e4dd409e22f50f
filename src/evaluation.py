"""How good is a policy: return, success rate, and their confidence intervals."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase

from mile.collection import collect_episodes
from mile.policies import Policy
from mile.transitions import asked, onsets

Result = TypeVar("Result")


@dataclass(frozen=True)
class Evaluation:
    """The outcome of some episodes.

    Attributes:
        returns: Sum of the rewards of each episode, `[episodes]`.
        successes: Whether each episode solved the task, `[episodes]` bool.
        lengths: Number of steps of each episode, `[episodes]`.
        interventions: Number of steps of each episode in which the human acted, `[episodes]`.
        requests: Number of times in each episode that a gate asked the human to act, `[episodes]`; None: there is none.
    """

    returns: Tensor
    successes: Tensor
    lengths: Tensor
    interventions: Tensor
    requests: Tensor | None = None

    @property
    def mean_return(self) -> float:
        """Mean return over episodes."""
        return float(self.returns.mean())

    @property
    def success_rate(self) -> float:
        """Share of episodes that solved the task."""
        return float(self.successes.float().mean())

    @property
    def intervention_ratio(self) -> float:
        """Share of all steps in which the human acted (Sec. V)."""
        return float(self.interventions.sum() / self.lengths.sum())

    def score(self, metric: str) -> float:
        """Return the mean return (metric="return") or the success rate (metric="success").

        Raises:
            KeyError: The metric is unknown.
        """
        scores = {"return": self.mean_return, "success": self.success_rate}
        return scores[metric]

    def interval(self, confidence: float = 0.95, metric: str = "return") -> tuple[float, float]:
        """Return a confidence interval over episodes.

        Args:
            confidence: Coverage, in (0, 1).
            metric: "return" for the mean return, by Student's t; "success" for the success rate, by Wilson's score.

        Raises:
            ValueError: The metric is unknown.
        """
        from scipy import stats

        if metric == "success":
            test = stats.binomtest(int(self.successes.sum()), len(self.successes))
            low, high = test.proportion_ci(confidence, method="wilson")
        elif metric == "return":
            values = self.returns.double().numpy()
            standard_error = stats.sem(values) if len(values) > 1 else np.nan
            degrees = max(len(values) - 1, 1)  # of freedom
            half_width = stats.t.ppf(0.5 + confidence / 2, degrees) * standard_error
            low, high = values.mean() - half_width, values.mean() + half_width
        else:
            raise ValueError(f"metric must be 'return' or 'success', got '{metric}'")
        return float(low), float(high)

    def summary(self) -> dict[str, float | int | list[float] | None]:
        """Return the figures that are stored with checkpoints and shown in tables."""
        requests = {} if self.requests is None else {"requests": int(self.requests.sum())}
        return requests | {
            "episodes": len(self.returns),
            "mean_return": self.mean_return,
            "return_interval": list(self.interval()) if len(self.returns) > 1 else None,
            "success_rate": self.success_rate,
            "success_interval": list(self.interval(metric="success")),
            "mean_length": float(self.lengths.float().mean()),
            "steps": int(self.lengths.sum()),
            "interventions": int(self.interventions.sum()),
            "intervention_ratio": self.intervention_ratio,
        }


def evaluate_policy(
    env: EnvBase, policy: Policy, num_episodes: int, seed: int, deterministic: bool = True
) -> Evaluation:
    """Play episodes 0 to num_episodes − 1 of a seed and summarise them.

    Args:
        env: Environment; with an `InterventionTransform`, the human helps.
        policy: Policy to evaluate.
        num_episodes: Number of episodes, at least 1.
        seed: Seed of the environment; the same seed gives the same episodes.
        deterministic: Take the most probable action; otherwise sample, as the simulated human does.
    """
    steps = collect_episodes(env, policy, num_episodes, seed=seed, deterministic=deterministic)
    return summarize(steps)


def summarize(steps: TensorDictBase) -> Evaluation:
    """Summarise recorded steps `[steps]` by round and episode, in the order in which these occur."""
    pairs = torch.stack([steps["round"], steps["episode"]], -1)  # [steps, 2]
    _, index, lengths = pairs.unique_consecutive(dim=0, return_inverse=True, return_counts=True)

    def total(values: Tensor) -> Tensor:
        return torch.zeros(len(lengths), dtype=torch.float64).index_add_(0, index, values.double())

    begins = onsets(asked(steps), steps["step"]) if "asked" in steps.keys() else None
    return Evaluation(
        returns=total(steps["next", "reward"]).float(),
        successes=total(steps["next", "success"]) > 0,
        lengths=lengths,
        interventions=total(steps["intervened"]).long(),
        requests=total(begins).long() if begins is not None and begins.any() else None,
    )


def rounds_learnt(epochs: int, epochs_per_round: int) -> int:
    """Return the number of rounds that were learnt from, the last one perhaps in part, after so many epochs.

    Args:
        epochs: Number of epochs trained.
        epochs_per_round: Number of epochs between two deployments.
    """
    return math.ceil(epochs / epochs_per_round)


def by_round(evaluations: Mapping[int, Result], epochs_per_round: int) -> dict[int, Result]:
    """Return the last evaluation of each round, by the number of rounds that were learnt from.

    Args:
        evaluations: Outcomes by the number of epochs trained before, at least 1.
        epochs_per_round: Number of epochs between two deployments.
    """
    last = {}
    for epochs in sorted(evaluations):
        last[rounds_learnt(epochs, epochs_per_round)] = evaluations[epochs]
    return last
