"""Writes the outcome of an experiment into its folder, and prints it."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from mile.evaluation import Evaluation, by_round, evaluate_policy
from mile.methods import MILE
from mile.policies import save_policy
from mile.reports.tables import print_rounds, print_table, write_json
from mile.running.assembly import Assembly
from mile.running.cache import fingerprint
from mile.running.machine import describe_machine


def conclude(
    cfg: DictConfig,
    parts: Assembly,
    deployed: Sequence[Evaluation],
    evaluated: Mapping[int, Evaluation],
    references: Mapping[str, Evaluation],
) -> dict[str, Evaluation]:
    """Save the learnt policy and all outcomes, evaluate the policy, and print tables.

    Args:
        cfg: Config of the experiment.
        parts: Parts of the experiment, after training.
        deployed: Outcome of each deployment, with the human's help.
        evaluated: Outcomes of the policy alone, by the number of epochs trained before.
        references: Evaluations to compare with, by name.

    Returns:
        The rows of the final table.
    """
    output, policy = Path(cfg.output_dir), parts.method.policy
    write_json(output / "deployment.json", {str(number): outcome for number, outcome in enumerate(deployed)})
    write_json(output / "evaluation.json", {str(epochs): outcome for epochs, outcome in evaluated.items()})
    facts: dict[str, Any] = describe_machine()
    facts["control_period"] = parts.simulators.control_period
    facts["expert"] = fingerprint(parts.human.expert)
    if isinstance(parts.method, MILE):
        facts["intervention_prob"] = parts.method.exactness(parts.data.buffer.at(torch.arange(1)))
    save_policy(
        policy,
        output / "policy",
        environment=cfg.env.name,
        metric=parts.metric,
        role="learnt",
        seed=cfg.seed,
        command=cfg.command,
        training_steps=parts.method.trainer.global_step,
        **facts,
    )

    # the learnt policy; at a desk the person who judges has left
    print("evaluating the learnt policy …", flush=True)
    rows = dict(references)
    if parts.at_desk:
        rows["learnt policy"] = list(evaluated.values())[-1]
    else:
        rows["learnt policy"] = evaluate_policy(parts.env, policy, cfg.evaluation.num_episodes, cfg.evaluation.seed)
    if "expert (sampled)" in rows:
        rows["expert (sampled)"] = rows.pop("expert (sampled)")  # last
    write_json(output / "results.json", rows)

    # tables
    print_rounds(deployed, by_round(evaluated, cfg.callbacks.deployment.epochs_per_round), parts.metric)
    print_table(f"{cfg.name}, seed {cfg.seed}, {cfg.evaluation.num_episodes} episodes each", rows, parts.metric)
    if output.is_relative_to(Path.cwd()):
        output = output.relative_to(Path.cwd())
    if facts.get("intervention_prob", "exact") != "exact":
        print(f"p(ν=1|s) was computed {facts['intervention_prob']}")
    print(f"{output}: policy, results, deployment and evaluation by round, buffer")
    print(f"tensorboard --logdir {shlex.quote(str(output))}")
    return rows
