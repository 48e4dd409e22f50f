"""Weights of frames as LeRobot reads them, by the rule of its paper (SARM, arXiv 2509.25358, Eq. 8 and 9)."""

import numpy as np
import pytest
import torch
from pyarrow import parquet
from tensordict import TensorDict

from mile.commands.exchange import write_weights
from mile.datamodules import InterventionBuffer
from mile.datamodules.exchange.frame_weights import frame_weights
from mile.datamodules.exchange.lerobot_weights import write_lerobot_weights
from tests.support import episode

KAPPA, EPSILON = 0.01, 1e-6


def read_by_the_rule(path, chunk):
    """Weights of all frames by Eq. 8 and 9: soft between the mean and two spreads of progress, hard beyond κ."""
    table = parquet.read_table(path).to_pandas()
    delta = np.empty(len(table))
    for _, rows in table.groupby("episode_index"):
        progress = rows["progress_sparse"].to_numpy()
        ahead = np.minimum(np.arange(len(rows)) + chunk, len(rows) - 1)
        delta[rows["index"]] = progress[ahead] - progress
    mean, spread = max(delta.mean(), 0), max(delta.std(), EPSILON)
    soft = np.clip((delta - (mean - 2 * spread)) / (4 * spread + EPSILON), 0, 1)
    weights = np.where(delta > KAPPA, 1, np.where(delta >= 0, soft, 0))
    return weights, table


@pytest.mark.parametrize("chunk", [1, 8, 50])
@pytest.mark.parametrize("kind", ["uniform", "few", "equal", "two"])
def test_lerobots_rule_returns_the_weights_that_were_meant(tmp_path, chunk, kind):
    rng = np.random.default_rng(0)
    lengths = [40, 7, 1, 100]
    total = sum(lengths)
    weights = {
        "uniform": rng.uniform(size=total),
        "few": (rng.uniform(size=total) < 0.02) * 1.0,
        "equal": np.ones(total),
        "two": np.where(rng.uniform(size=total) < 0.3, 1.0, 0.25),
    }[kind]
    write_lerobot_weights(tmp_path / "weights.parquet", weights, lengths, chunk)
    got, table = read_by_the_rule(tmp_path / "weights.parquet", chunk)
    last = np.cumsum(lengths) - 1
    others = np.setdiff1d(np.arange(total), last)
    np.testing.assert_allclose(got[others], weights[others], atol=1e-6)
    np.testing.assert_allclose(got[last], 0, atol=1e-6)
    assert (table["episode_index"][total:] == len(lengths)).all()  # what makes the spread belongs to no frame


def test_what_exists_is_not_written_over_and_a_chunk_is_positive(tmp_path):
    path = tmp_path / "weights.parquet"
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        write_lerobot_weights(path, np.ones(3), [3], 0)
    path.touch()
    with pytest.raises(FileExistsError, match="exists"):
        write_lerobot_weights(path, np.ones(3), [3], 8)


def steps_with(intervened, prob):
    count = len(intervened)
    return TensorDict(
        {
            "intervened": torch.tensor(intervened, dtype=torch.bool),
            "intervention_prob": torch.tensor(prob, dtype=torch.float32),
            "human_action": torch.where(torch.tensor(intervened, dtype=torch.bool), 1, -1),
            "attended": torch.ones(count, dtype=torch.bool),
            "asked": torch.zeros(count, dtype=torch.bool),
            "round": torch.zeros(count, dtype=torch.int64),
            "episode": torch.zeros(count, dtype=torch.int64),
            "step": torch.arange(count),
        },
        [count],
    )


def test_each_rule_by_hand():
    steps = steps_with([0, 0, 0, 1], [0.1, 0.4, 0.9, 0.2])
    assert frame_weights(steps, "iwr").tolist() == pytest.approx([1 / 3] * 3 + [1])
    assert frame_weights(steps, "mile").tolist() == pytest.approx([0.9, 0.6, 0.1, 1])
    sirius = frame_weights(steps, "sirius")  # three steps before an onset, of a share of .002 together
    assert sirius.tolist() == pytest.approx([0.002 / 3 / 0.5] * 3 + [1])


def test_a_probability_that_nobody_recorded_is_named(tmp_path):
    buffer = InterventionBuffer(tmp_path / "buffer", "Counting-v0")
    steps = episode(0)
    buffer.append(steps.set("intervention_prob", torch.full([len(steps)], torch.nan)))
    with pytest.raises(ValueError, match=r"steps have no p\(ν=1\|s\); choose --by iwr or sirius"):
        write_weights(tmp_path / "buffer", "mile", 8, tmp_path / "weights.parquet")
