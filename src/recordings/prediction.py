"""Other predictions of a person's interventions: the paper's two rivals of the intervention model (Sec. VII)."""

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from mile.policies.networks import ObservationNormalizer, mlp


def never(steps: TensorDictBase) -> Tensor:
    """Predict that nobody intervenes, for steps `[*batch]`: the paper's majority estimator."""
    return torch.zeros(steps.batch_size, dtype=torch.float64)


def as_often(before: TensorDictBase, steps: TensorDictBase) -> Tensor:
    """Predict that people intervene as often as in earlier rounds, whatever the state.

    Args:
        before: Steps of the rounds before, `[earlier steps]`.
        steps: Steps of the round to predict, `[*batch]`.

    Returns:
        Share of the earlier steps with ν=1, by Laplace's rule (n + 1) / (N + 2), `[*batch]`.
    """
    share = (float(before["intervened"].sum()) + 1) / (len(before) + 2)
    return torch.full(steps.batch_size, share, dtype=torch.float64)


def learnt_from(
    before: TensorDictBase, steps: TensorDictBase, *, updates: int = 1000, batch_size: int = 256, seed: int = 0
) -> Tensor:
    """Predict ν of steps by a network that was trained on earlier ones: from the state alone, by cross-entropy.

    Args:
        before: Steps of the rounds before, `[earlier steps]`.
        steps: Steps of the round to predict, `[*batch]`.
        updates: Number of gradient steps of Adam.
        batch_size: Number of rows in an update, drawn with replacement.
        seed: Seed of the initial weights and of the draws.

    Returns:
        Predicted p(ν=1|s), `[*batch]`.
    """
    inputs, intervened = before["observation"].float(), before["intervened"]
    network = trained_network(inputs, intervened, updates=updates, batch_size=batch_size, seed=seed)
    with torch.no_grad():
        return network(steps["observation"].float()).squeeze(-1).sigmoid().double()


def trained_network(
    inputs: Tensor, intervened: Tensor, *, updates: int = 1000, batch_size: int = 256, seed: int = 0
) -> nn.Module:
    """Train a network to predict ν by cross-entropy.

    Args:
        inputs: What ν is predicted from, `[steps, inputs]` float32.
        intervened: Recorded ν, `[steps]` bool.
        updates: Number of gradient steps of Adam.
        batch_size: Number of rows in an update, drawn with replacement.
        seed: Seed of the initial weights and of the draws.

    Returns:
        Network that returns the logit of p(ν=1), `[*batch, 1]`, for inputs `[*batch, inputs]`.
    """
    width, actual = inputs.shape[-1], intervened.float()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        # network, as large as Table I's policies
        torch.manual_seed(seed)
        network = nn.Sequential(ObservationNormalizer(width), mlp(width, (256, 256), 1))
        network[0].fit(inputs)  # pyright: ignore

        # updates
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        for _ in range(updates):
            rows = torch.randint(len(inputs), (batch_size,))
            logit = network(inputs[rows]).squeeze(-1)
            loss = nn.functional.binary_cross_entropy_with_logits(logit, actual[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


def prediction_metrics(prob: Tensor, intervened: Tensor) -> dict[str, float]:
    """Rate predictions of ν.

    Args:
        prob: Predicted p(ν=1), `[steps]` float64.
        intervened: Recorded ν, `[steps]` bool.

    Returns:
        The metrics by name: accuracy, majority_accuracy (of always predicting the more frequent ν), log_likelihood
        (the mean over steps of ln p(ν), nats; a step counts −100 where it is lower, so that what was held to be
        impossible and happened does not make it infinite), brier and, if both ν occur, balanced_accuracy (the mean of
        the two classes' accuracies) and auc.
    """
    from torchmetrics.functional.classification import binary_auroc, multiclass_accuracy

    actual = intervened.double()
    ratio = float(actual.mean())
    metrics = {
        "accuracy": float(((prob > 0.5) == intervened).double().mean()),
        "majority_accuracy": max(ratio, 1 - ratio),
        "log_likelihood": -float(nn.functional.binary_cross_entropy(prob, actual)),  # −100 is torch's own bound
        "brier": float(((prob - actual) ** 2).mean()),
    }
    if 0 < ratio < 1:
        metrics["balanced_accuracy"] = float(multiclass_accuracy((prob > 0.5).long(), intervened.long(), 2, "macro"))
        metrics["auc"] = float(binary_auroc(prob, intervened.long()))
    return metrics
