"""Make one ingredient of an experiment: an expert, an initial policy or a mental model (App. B).

python src/pretrain.py role=expert|initial|mental_model env=lunarlander
"""

from contextlib import closing
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig

from mile.running.command_line import entry_point


def pretrain(cfg: DictConfig) -> Path:
    """Train one ingredient, evaluate it, save both and return the path of the weights.

    Raises:
        ValueError: The file exists already, and `overwrite` is false; or the algorithm makes no mental model.
    """
    import torch
    from lightning import seed_everything

    from mile.evaluation import evaluate_policy
    from mile.policies import save_policy
    from mile.reports.tables import print_table

    if cfg.role.name == "mental_model" and not cfg.train._target_.endswith(".clone_rollouts"):
        raise ValueError("a mental model is cloned from rollouts of the robot; leave algorithm=… out")
    if not cfg.overwrite and Path(f"{cfg.output}.safetensors").exists():
        raise ValueError(f"'{cfg.output}.safetensors' exists; choose another output=…, or overwrite=true")

    # train and evaluate
    torch.set_num_threads(1)  # rounding, and so the result, does not depend on the machine's cores
    seed_everything(cfg.seed, verbose=False)
    with closing(instantiate(cfg.env)) as env:
        policy, training_steps = instantiate(cfg.train)(env)
        result = evaluate_policy(env, policy, cfg.evaluation.num_episodes, cfg.evaluation.seed, cfg.role.deterministic)

    # save and print
    path = save_policy(
        policy,
        cfg.output,
        environment=cfg.env.name,
        role=cfg.role.name,
        seed=cfg.seed,
        command=cfg.command,
        training_steps=training_steps,
        evaluation={**result.summary(), "seed": cfg.evaluation.seed, "deterministic": cfg.role.deterministic},
    )
    print_table(f"{cfg.env.name}, {cfg.evaluation.num_episodes} episodes", {cfg.role.name: result}, env.metric)
    print(path)
    return path


@entry_point("pretrain")
def main(cfg: DictConfig) -> None:
    """Make one ingredient."""
    job = HydraConfig.get()
    own_output = any(override.startswith("output=") for override in job.overrides.task)
    if job.mode == RunMode.MULTIRUN and not own_output:  # one folder a job
        cfg.output = str(Path(cfg.output) / job.sweep.subdir)
    pretrain(cfg)


if __name__ == "__main__":
    main()
