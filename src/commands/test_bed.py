"""Make a test bed of one's own: an expert, an initial policy and what the human expects of it.

mile-test-bed task=drawer_open number=7
mile-train experiment=drawer_open seed=7 test_bed=outputs/test_beds/drawer_open/7
"""

from __future__ import annotations

import json
import shlex
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from hydra import compose
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from mile.files import read_json, write_text
from mile.pretrain import pretrain
from mile.reports.outcomes import SCORES
from mile.running.command_line import entry_point, override

if TYPE_CHECKING:
    from mile.envs import ScheduledEnv
    from mile.ingredients.test_bed import Criteria

EXPERT_SEEDS, INITIAL_SEEDS = 20_000, 10_000  # the first ones; ours: apart from those of what ships
SEEDS = 100  # of one bed
BETWEEN_MENTAL_MODELS = 30  # seeds from one mental model of an initial policy to the next


def make_test_bed(cfg: DictConfig) -> Path:
    """Try initial policies, each with some mental models of it, until one pair makes a sound test bed.

    Its folder holds the three policies, `trials.json` with all that was tried and what was wrong with it, and at the
    end `test_bed.json` with the scores. What was stopped goes on with the next trial.

    Returns:
        The folder.

    Raises:
        ValueError: None of the experts, or none of the trials, fulfils the criteria.
    """
    from mile.ingredients.test_bed import Criteria

    folder = Path(cfg.output) / str(cfg.number)
    experiment = compose("train", [f"experiment={cfg.task}", override("test_bed", folder), *cfg.options])
    with closing(instantiate(experiment.env)) as env:
        criteria = Criteria(**cfg.criteria[env.metric])
        _take(_find_expert(cfg, env.metric, criteria), folder / "expert")

        # what was tried before, and what was not
        record = folder / "trials.json"
        trials: list[dict[str, Any]] = read_json(record) if record.exists() else []
        while not trials or trials[-1]["wrong"]:
            if len(trials) >= cfg.attempts:
                raise ValueError(f"none of {cfg.attempts} trials makes a sound test bed; '{record}' says why")
            seeds = _next_seeds(trials, INITIAL_SEEDS + SEEDS * cfg.number, cfg.mental_models)
            trials.append(_try(cfg, experiment, env, criteria, folder, *seeds))
            write_text(record, json.dumps(trials, indent=1) + "\n")
            print(f"trial {len(trials)}: {trials[-1]['wrong'] or 'sound'}", flush=True)
    write_text(folder / "test_bed.json", json.dumps(trials[-1], indent=1) + "\n")
    return folder


def _find_expert(cfg: DictConfig, metric: str, criteria: Criteria) -> Path:
    """Return the weights of the bed's expert, which is made if it is not there yet.

    Raises:
        ValueError: No expert is good enough.
    """
    name = Path(cfg.output) / "experts" / str(cfg.number % cfg.experts)
    name.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{name}.lock"):  # other beds want the same one
        for attempt in range(cfg.attempts):
            if not Path(f"{name}.json").exists():
                seed = EXPERT_SEEDS + SEEDS * attempt + cfg.number % cfg.experts
                trained = _pretrain(cfg, "expert", f"{name}_trial", seed)
                score = _score(trained, metric)
                if score < criteria.expert:
                    print(f"the expert scores {score:.2f}, below {criteria.expert}: another one", flush=True)
                    continue
                _take(trained, name)
            return Path(f"{name}.safetensors")
    raise ValueError(f"none of {cfg.attempts} experts scores {criteria.expert}")


def _next_seeds(trials: list[dict[str, Any]], first: int, mental_models: int) -> tuple[int, int]:
    """Return the seeds of the next trial's initial policy and mental model.

    An initial policy has some mental models, unless it was out of bounds itself.

    Args:
        trials: What was tried before.
        first: The bed's first seed.
        mental_models: Number of mental models of an initial policy.
    """
    if not trials:
        return first, first
    initial = trials[-1]["initial_seed"]
    tried = sum(trial["initial_seed"] == initial for trial in trials)
    if "mental_model_seed" in trials[-1] and tried < mental_models:
        return initial, initial + BETWEEN_MENTAL_MODELS * tried
    return initial + 1, initial + 1


def _try(
    cfg: DictConfig,
    experiment: DictConfig,
    env: ScheduledEnv,
    criteria: Criteria,
    folder: Path,
    initial_seed: int,
    mental_model_seed: int,
) -> dict[str, Any]:
    """Make an initial policy and a mental model of it, and return what they are like.

    Args:
        cfg: Config of the test bed.
        experiment: Config of its experiment.
        env: Environment of the experiment.
        criteria: What it must fulfil.
        folder: Folder of the test bed.
        initial_seed: Seed of the initial policy, which may be there from the trial before.
        mental_model_seed: Seed of the mental model.
    """
    from mile.ingredients.test_bed import helped_score, judge_gain, judge_initial, oracle_score
    from mile.policies import load_policy
    from mile.running.people import make_human

    # the policies; what is hopeless is not looked at more closely
    initial = folder / "initial.safetensors"
    if not initial.exists() or read_json(initial.with_suffix(".json"))["seed"] != initial_seed:
        _pretrain(cfg, "initial", f"{folder}/initial", initial_seed)
    score = _score(initial, env.metric)
    trial: dict[str, Any] = {"initial_seed": initial_seed, "initial": score, "wrong": judge_initial(score, criteria)}
    if trial["wrong"]:
        return trial
    robot = override("train.robot.name", f"{folder}/initial")
    seed = f"train.seed={mental_model_seed}"
    _pretrain(cfg, "mental_model", f"{folder}/mental_model", mental_model_seed, robot, seed)
    trial["mental_model_seed"] = mental_model_seed

    # the human, who may be of no use; not that of the trial before
    (folder / "calibration.json").unlink(missing_ok=True)
    policy = load_policy(folder / "initial", env.name)
    try:
        human = make_human(experiment, env, policy, folder)
    except ValueError as error:
        return trial | {"wrong": str(error)}

    # does their help help, and would all of it, if it were learnt?
    episodes = {"metric": env.metric, **cfg.judgement}
    trial["helped"], trial["ratio"] = helped_score(env, policy, human, **episodes)
    trial["wrong"] = judge_gain("helped episodes score", trial["helped"], score, criteria)
    if not trial["wrong"]:
        trial["oracle"] = oracle_score(env, policy, human, **episodes, **cfg.oracle)
        trial["wrong"] = judge_gain("the oracle scores", trial["oracle"], score, criteria)
    return trial


def _pretrain(cfg: DictConfig, role: str, output: str, seed: int, *more: str) -> Path:
    """Make one ingredient as `mile-pretrain` does, over one that was tried before, and return its weights."""
    recipe = OmegaConf.select(cfg, f"recipes.{cfg.environment}.{role}", default=[])
    judgement = [f"evaluation.num_episodes={cfg.judgement.num_episodes}", f"evaluation.seed={cfg.judgement.seed}"]
    chosen = [f"role={role}", f"env={cfg.environment}", f"seed={seed}", override("output", output), "overwrite=true"]
    words = [*chosen, *judgement, *recipe, *more, *cfg.options]
    ingredient = compose("pretrain", words)
    ingredient.command = shlex.join(["mile-pretrain", *words])
    return pretrain(ingredient)


def _score(weights: Path, metric: str) -> float:
    """Return how good a policy is, from the JSON beside it."""
    return read_json(weights.with_suffix(".json"))["evaluation"][SCORES[metric]]


def _take(weights: Path, name: Path) -> None:
    """Copy a policy, the JSON last, which says that it is there."""
    name.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".safetensors", ".json"):
        shutil.copyfile(weights.with_suffix(suffix), f"{name}{suffix}")


@entry_point("test_bed")
def main(cfg: DictConfig) -> None:
    """Make a test bed."""
    folder = make_test_bed(cfg)
    print(f"{folder}: expert, initial and mental_model; mile-train experiment={cfg.task} test_bed={folder}")


if __name__ == "__main__":
    main()
