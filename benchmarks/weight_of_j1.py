"""What a heavier J1 does to MILE's policy, and whether a gradient for a saturated log-std helps any method.

    python benchmarks/weight_of_j1.py            # records, learns, evaluates; what is in the CSV is not made again
    python benchmarks/weight_of_j1.py --tables   # prints the tables of the CSV

Each seed's recording is one round of the task's experiment (15 episodes of the initial policy under its calibrated
human). From it each method learns 1500 gradient steps at the comparison's learning rate; every weight λ has the same
batches. Cloning alone is λ = 0. "balanced" has λ = 1 / (1 + ‖∇J1‖/‖∇J2‖) with the norms in the policy before learning:
the two weighted terms then pull equally hard at first.

Written down before the first run. A strong J1 wins if one and the same weight, on both tasks,
1. has a mean success over the seeds at least 10 points above cloning alone's, and on no seed one below it, and
2. brings the policy nearer to the expert where nobody intervened (mean ‖μ − μ*‖ over the recorded steps with ν=0) than
   it was before learning, and nearer than cloning alone brings it, in the mean over the seeds.
Anything less is no win: five weights and the balance are tried, so that the best of them on one task means little. With
60 episodes a seed's success has a standard error of 4 to 6 points.

The second question: the sigmoid that bounds the log-std is replaced in the backward pass by one whose slope is at least
a tenth of its steepest (variant "floored slope", in the policy alone; the value is unchanged). It is worth an option if
it raises the mean success over tasks and seeds by at least 5 points for one of HG-DAgger, IWR and MILE (λ = ½), and
lowers none by more than 5.
"""

import argparse
import csv
import logging
import tempfile
import warnings
from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from lightning import Trainer, seed_everything
from omegaconf import open_dict
from torch import Tensor
from torch.optim import Adam

from mile.callbacks import DeploymentCallback
from mile.callbacks.cloning_alone import action_distance
from mile.callbacks.learning import flatten, saturated_share, term_gradients
from mile.collection import collect_episodes
from mile.datamodules import InterventionBuffer, InterventionDataModule
from mile.evaluation import evaluate_policy
from mile.methods import IWR, MILE, HGDAgger
from mile.policies import GaussianPolicy, Policy
from mile.running.assembly import assemble, environments

TASKS = ("drawer_open", "peg_insert")
SEEDS = (5, 6, 7)
STEPS = 1500  # gradient steps
EPISODES = 60  # of an evaluation
EVALUATION_SEED = 2_000_000  # of the final table of an experiment
WEIGHTS = (0.5, 0.9, 0.99, 0.999, 0.9999)
SLOPE_FLOOR = 0.1  # of the sigmoid's derivative, in units of its largest
PATH = Path(__file__).parents[1] / "docs/results/data/weight_of_j1.csv"
FIELDS = (
    *("task", "seed", "method", "variant", "weight", "success", "ratio_before", "ratio_after", "cosine_before"),
    *("apart_intervened", "apart_not_intervened", "expert_before", "expert_after", "saturated_before"),
    "saturated_after",
)


class FlooredGaussianPolicy(GaussianPolicy):
    """A `GaussianPolicy` whose log-std learns where it is saturated: the sigmoid's slope has a floor backwards."""

    def mean_and_std(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(self.normalizer(observation))
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        mean, raw = output.chunk(2, dim=-1)

        value = torch.sigmoid(raw.detach())
        slope = (value * (1 - value)).clamp_min(SLOPE_FLOOR / 4)
        bounded = value + slope * (raw - raw.detach())  # the second term is 0
        return mean, (self.low + (self.high - self.low) * bounded).exp()


def floored(policy: Policy) -> FlooredGaussianPolicy:
    """Return a copy of a policy whose log-std learns where it is saturated."""
    copy = FlooredGaussianPolicy(**policy.architecture)
    copy.load_state_dict(policy.state_dict())
    return copy


class Recording:
    """One seed's round of a task, with all that learns from it and judges it."""

    def __init__(self, cfg: Any, parts: Any, folder: Path) -> None:
        self.cfg, self.parts, self.folder = cfg, parts, folder
        self.initial = parts.initial
        buffer = InterventionBuffer(folder, cfg.env.name)
        collect_episodes(
            parts.supervised,
            self.initial,
            cfg.callbacks.deployment.episodes_per_round,
            seed=cfg.seed,
            on_episode=buffer.append,
        )
        self.steps = buffer.steps.exclude("timestamp")[buffer.rows([0])]
        expert = parts.human.expert
        with torch.no_grad():
            self.expert_mean = expert.mean_and_std(*expert.inputs(self.steps))[0]

    def method(self, name: str, policy: Policy, weight: float) -> Any:
        """Make a method that has learnt nothing yet."""
        optimizer: Any = partial(Adam, lr=self.cfg.rates[self.cfg.tuned_for][name])
        if name != "mile":
            return {"hg_dagger": HGDAgger, "iwr": IWR}[name](policy, optimizer=optimizer)
        own = self.parts.method
        mental_model = deepcopy(own.mental_model)
        return MILE(policy, mental_model, own.cost, own.scale, intervention_weight=weight, optimizer=optimizer)

    def learn(self, method: Any) -> None:
        """Take the gradient steps, in one epoch."""
        seed_everything(self.cfg.seed, verbose=False)
        data = InterventionDataModule(
            self.folder, self.cfg.env.name, self.cfg.data.batch_size, STEPS, seed=self.cfg.seed
        )
        deployment = DeploymentCallback(self.parts.supervised, 1, None, 1)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = Trainer(accelerator="cpu", max_epochs=-1, enable_model_summary=False, callbacks=[deployment], **quiet)
        trainer.fit(method, datamodule=data)

    def gradients(self, method: MILE) -> tuple[float, float]:
        """Return ‖∇J1‖/‖∇J2‖ and the cosine of both in the policy, on all recorded steps."""
        parts = term_gradients(method, self.steps)
        when, how = (flatten(parts[term, "policy"]) for term in ("intervention_loss", "policy_loss"))
        return float(when.norm() / how.norm()), float(torch.cosine_similarity(when, how, dim=0))

    @torch.no_grad()
    def to_expert(self, policy: Any) -> float:
        """Return mean ‖μ − μ*‖ over the steps with ν=0."""
        silent = ~self.steps["intervened"]
        mean, _ = policy.mean_and_std(self.steps["observation"])
        return float((mean - self.expert_mean).norm(dim=-1)[silent].mean())

    def apart(self, policy: Policy, reference: Policy, intervened: bool) -> float:
        """Return how far a policy is from another, as a share of its way from the initial policy."""
        where = self.steps["intervened"] == intervened
        steps: Any = self.steps[where]
        way = action_distance(policy, self.initial, steps).mean()
        return float(action_distance(policy, reference, steps).mean() / way)

    def evaluate(self, policy: Policy) -> float:
        """Return the policy's success over the evaluation's episodes, %."""
        return 100 * evaluate_policy(self.parts.env, policy, EPISODES, EVALUATION_SEED).success_rate


def experiment(task: str, seed: int, folder: Path, *more: str) -> Any:
    """Compose the config of an experiment, with more overrides."""
    overrides = [f"experiment={task}", f"seed={seed}", "method=mile", f"output_dir={folder}", *more]
    with initialize_config_module("mile.configs", version_base=None):
        cfg = compose("train", overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def runs() -> list[tuple[str, str, str]]:
    """Return method, variant and weight of all runs on one recording; cloning alone first."""
    plain = [("mile", "as it is", str(weight)) for weight in (0.0, *WEIGHTS, "balanced")]
    plain += [("hg_dagger", "as it is", ""), ("iwr", "as it is", "")]
    variant = "floored slope"
    return [*plain, ("hg_dagger", variant, ""), ("iwr", variant, ""), ("mile", variant, "0.5")]


def one_run(recording: Recording, name: str, variant: str, weight: str, cloned: Policy | None) -> tuple[dict, Policy]:
    """Learn and measure."""
    policy = floored(recording.initial) if variant == "floored slope" else deepcopy(recording.initial)
    row: dict[str, Any] = {"method": name, "variant": variant, "weight": weight}
    if name == "mile":
        before = recording.method("mile", policy, 0.5)
        row["ratio_before"], row["cosine_before"] = recording.gradients(before)
    number = 0.5
    if weight == "balanced":
        number = 1 / (1 + row["ratio_before"])
        row["weight"] = f"balanced {number:.4f}"
    elif weight:
        number = float(weight)

    # learn
    row["expert_before"] = recording.to_expert(policy)
    row["saturated_before"] = saturated_share(policy, recording.steps)
    method = recording.method(name, policy, number)
    recording.learn(method)

    # measure
    row["expert_after"] = recording.to_expert(policy)
    row["saturated_after"] = saturated_share(policy, recording.steps)
    if name == "mile":
        row["ratio_after"], _ = recording.gradients(method)
    if cloned is not None and name == "mile":
        row["apart_intervened"] = recording.apart(policy, cloned, True)
        row["apart_not_intervened"] = recording.apart(policy, cloned, False)
    row["success"] = recording.evaluate(policy)
    return row, policy


def read() -> list[dict[str, str]]:
    if not PATH.exists():
        return []
    with PATH.open(newline="") as file:
        return list(csv.DictReader(file))


def write(rows: list[dict[str, Any]]) -> None:
    with PATH.open("w", newline="") as file:
        table = csv.DictWriter(file, FIELDS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}


def run_all() -> None:
    """Make all recordings that the CSV lacks, or has in part, and all that learns from them."""
    rows: list[dict[str, Any]] = list(read())
    for seed, task in product(SEEDS, TASKS):
        own = [row for row in rows if (row["task"], row["seed"]) == (task, str(seed))]
        if len(own) == len(runs()) + 1:
            continue
        rows = [row for row in rows if row not in own]
        with tempfile.TemporaryDirectory() as folder:
            cfg = experiment(task, seed, Path(folder))
            with environments(cfg) as (env, watched):
                seed_everything(seed, verbose=False)
                recording = Recording(cfg, assemble(cfg, env, watched), Path(folder) / "recording")
                for row in on_recording(recording):
                    rows.append(rounded({"task": task, "seed": str(seed), **row}))
                    write(rows)
                    print(rows[-1], flush=True)


def on_recording(recording: Recording) -> Iterator[dict[str, Any]]:
    """Yield the rows of one recording."""
    success = recording.evaluate(recording.initial)
    yield {"method": "initial", "variant": "as it is", "weight": "", "success": success}
    cloned = None
    for name, variant, weight in runs():
        row, policy = one_run(recording, name, variant, weight, cloned)
        cloned = policy if cloned is None else cloned
        yield row


# tables


def print_tables(rows: list[dict[str, str]]) -> None:
    """Print the means over seeds, with each seed's success, as Markdown."""
    columns = FIELDS[6:]
    for task in TASKS:
        own = [row for row in rows if row["task"] == task]
        print(f"\n{task}\n\n| method | λ | variant | {' | '.join(('success', 'by seed', *columns))} |")
        print("|---" * (5 + len(columns)) + "|")
        by_run: dict[tuple[str, str, str], list[dict[str, str]]] = {}
        for row in own:
            by_run.setdefault((row["method"], row["weight"].split(" ")[0], row["variant"]), []).append(row)
        for key, group in by_run.items():
            by_seed = ", ".join(f"{float(row['success']):.0f}" for row in group)
            cells = [*key, mean(group, "success"), by_seed, *(mean(group, column) for column in columns)]
            print("| " + " | ".join(cells) + " |")


def mean(group: list[dict[str, str]], column: str) -> str:
    values = [float(row[column]) for row in group if row[column]]
    return f"{fmean(values):.3g}" if values else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--tables", action="store_true", help="print the tables of the CSV; run nothing")
    if not parser.parse_args().tables:
        warnings.filterwarnings("ignore")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        run_all()
    print_tables(read())


if __name__ == "__main__":
    main()
