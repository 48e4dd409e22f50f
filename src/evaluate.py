"""Evaluate a policy's checkpoint: success rate and return with 95 % intervals.

python src/evaluate.py checkpoint=lunarlander/expert
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig

from mile.running.command_line import entry_point

if TYPE_CHECKING:
    from mile.evaluation import Evaluation


def evaluate(cfg: DictConfig) -> Evaluation:
    """Evaluate the checkpoint, and write the JSON file and, where `video` is set, a video."""
    from mile.evaluation import evaluate_policy
    from mile.policies import load_policy
    from mile.recordings.video import check_video_file, record_video, write_video
    from mile.reports.tables import print_table, write_json

    if cfg.video is not None:
        check_video_file(cfg.video)

    # evaluate
    policy = load_policy(cfg.checkpoint, environment=cfg.env.name)
    with closing(instantiate(cfg.env)) as env:
        result = evaluate_policy(env, policy, cfg.num_episodes, cfg.seed, cfg.deterministic)

    # figures
    print_table(f"{cfg.env.name}, {cfg.num_episodes} episodes", {cfg.checkpoint: result}, env.metric)
    path = Path(cfg.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {cfg.checkpoint: result})
    print(path)

    # video
    if cfg.video is not None:
        rendered = instantiate(cfg.env, num_envs=1, render_mode="rgb_array")
        frames = record_video(rendered, policy, cfg.seed, deterministic=cfg.deterministic)
        write_video(cfg.video, frames)
        print(cfg.video)
    return result


@entry_point("evaluate")
def main(cfg: DictConfig) -> None:
    """Evaluate one checkpoint."""
    evaluate(cfg)


if __name__ == "__main__":
    main()
