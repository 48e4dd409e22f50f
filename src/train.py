"""Learn from interventions: Algorithm 1 of the paper.

python src/train.py experiment=lunarlander
"""

import gc
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from mile.running.command_line import entry_point

if TYPE_CHECKING:
    from mile.evaluation import Evaluation


def train(cfg: DictConfig) -> "dict[str, Evaluation]":
    """Run one experiment and return the rows of its final table; none on ranks above 0."""
    # imported here, because a help text does without PyTorch
    from lightning import seed_everything

    from mile.callbacks import DeploymentCallback, EvaluationCallback
    from mile.reports.conclusion import conclude
    from mile.running.assembly import assemble, environments, make_callbacks, make_trainer
    from mile.running.checks import check
    from mile.running.folder import keep_config
    from mile.running.references import reference_lines

    # the config
    check(cfg)
    keep_config(cfg)
    if cfg.data["from"] is not None:  # there is a recording, which is one round: nothing is deployed
        cfg = cfg.copy()
        cfg.callbacks.deployment.update({"num_rounds": 1, "episodes_per_round": None})

    # its parts
    with environments(cfg) as (env, watched):
        seed_everything(cfg.seed, verbose=False)
        parts = assemble(cfg, env, watched)
        references = reference_lines(cfg, parts)
        callbacks = make_callbacks(cfg.callbacks, parts, references)
        trainer = make_trainer(cfg, callbacks)

        # Algorithm 1
        try:
            trainer.fit(parts.method, datamodule=parts.data, ckpt_path=cfg.ckpt_path, weights_only=True)
        finally:
            parts.close()
        if not trainer.is_global_zero:
            return {}

        deployment = next(callback for callback in callbacks if isinstance(callback, DeploymentCallback))
        evaluations = {}
        for callback in callbacks:  # there may be no evaluation on the way
            if isinstance(callback, EvaluationCallback):
                evaluations = callback.evaluations
        return conclude(cfg, parts, deployment.outcomes, evaluations, references)


@entry_point("train")
def main(cfg: DictConfig) -> float | None:
    """Run one experiment, or continue one; return the score that a search of hyperparameters goes by."""
    # imported here, because a help text does without PyTorch
    from lightning.pytorch.utilities import rank_zero_only

    from mile.files import read_json
    from mile.running.checks import is_one_process
    from mile.running.folder import continued, occupied
    from mile.running.references import check_alike

    # how many processes
    overrides = HydraConfig.get().overrides
    ranks = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_STEP_NUM_TASKS", "1")))
    if is_one_process(cfg.trainer):
        # Lightning has taken the rank from RANK, SLURM_PROCID and the like
        rank_zero_only.rank = 0  # pyright: ignore[reportFunctionMemberAccess]
        ranks = 1
    has_folder = any(override.startswith("hydra.run.dir=") for override in overrides.hydra)
    if ranks > 1 and HydraConfig.get().mode != RunMode.MULTIRUN and not has_folder:
        raise ValueError(f"{ranks} processes that are started apart must share a folder; give hydra.run.dir=…")

    # a sweep runs one experiment after another: simulators of the last one, which are large, hang in reference cycles
    gc.collect()

    # a new run, or one that was stopped
    cfg = continued(cfg, [override for override in overrides.task if not override.startswith("ckpt_path=")])
    if cfg.like is not None:
        check_alike(cfg)
    if getattr(rank_zero_only, "rank", 0):
        with redirect_stdout(None):
            train(cfg)
        return None

    output = Path(cfg.output_dir)
    with occupied(output):
        if (output / "results.json").exists():
            print(f"'{output}' is finished; its figures are in results.json")
        else:
            train(cfg)
        evaluated = list(read_json(output / "evaluation.json").values())
    return evaluated[-1]["mean_return"] if evaluated else None  # Meta-World's is the success rate


if __name__ == "__main__":
    main()
