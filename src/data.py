"""Recordings: shown, and given to and taken from other projects.

mile-data show outputs/lunarlander/…
mile-data show outputs/lunarlander/… --episode 3 --output episode.png
mile-data export outputs/lunarlander/… --to minari --output lunarlander/people-v0
mile-data import people.hdf5 --from robomimic --env lunarlander --output recordings/people
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf
from tensordict import TensorDictBase

from mile.datamodules import InterventionBuffer
from mile.datamodules.exchange import read_minari, read_robomimic, write_minari, write_robomimic
from mile.datamodules.lerobot import read_lerobot, write_lerobot
from mile.evaluation import summarize
from mile.replay import draw_episode, replay
from mile.transitions import DEMONSTRATION
from mile.video import recorded_frames, write_video

WRITERS: dict[str, Callable[[InterventionBuffer, str], None]] = {
    "minari": write_minari,
    "robomimic": write_robomimic,
    "lerobot": write_lerobot,
}
READERS: dict[str, Callable[[str], Iterator[TensorDictBase]]] = {
    "minari": read_minari,
    "robomimic": read_robomimic,
    "lerobot": read_lerobot,
}


def open_recording(folder: Path) -> InterventionBuffer:
    """Open the buffer in a folder, or that of the run in it.

    Raises:
        ValueError: there is none, or it is empty.
    """
    place = folder / "buffer" if (folder / "buffer").is_dir() else folder
    try:
        environment = json.loads((place / "schema.json").read_text())["environment"]
    except (OSError, ValueError, KeyError):
        raise ValueError(f"'{folder}' holds no recording; give the folder of a run, or its buffer/") from None
    buffer = InterventionBuffer(place, environment)
    if not buffer.episodes:
        raise ValueError(f"'{folder}' holds no complete episode yet")
    return buffer


def show(buffer: InterventionBuffer) -> None:
    """Print a line for each episode."""
    print(f"{buffer.environment}: {len(buffer.episodes)} episodes, {len(buffer)} steps")
    print(f"{'round':>5} {'episode':>7} {'steps':>6} {'ν=1':>6} {'ratio':>6} {'return':>9}  success")
    for it in sorted(buffer.episodes):
        row = summarize(buffer.steps[it.start : it.start + it.length])
        print(
            f"{it.round:>5} {it.episode:>7} {it.length:>6} {int(row.interventions[0]):>6} "
            f"{row.intervention_ratio:>6.1%} {row.mean_return:>9.2f}  {'yes' if row.successes[0] else 'no'}"
        )


def draw(folder: Path, round_number: int | None, episode: int, output: Path) -> None:
    """Draw an episode as a picture, or as an animation if `output` ends in .gif.

    Raises:
        ValueError: there is no such episode, or an animation is wanted of what cannot be played again.
    """
    buffer = open_recording(folder)
    chosen = [it for it in buffer.episodes if it.episode == episode and round_number in (None, it.round)]
    if not chosen:
        held = ", ".join(f"{it.episode} (round {it.round})" for it in sorted(buffer.episodes))
        raise ValueError(f"there is no such episode; there are {held}")
    steps = buffer.steps[chosen[0].start : chosen[0].start + chosen[0].length]
    frames = recorded_frames(steps) if "frame" in steps.keys() else None
    if frames is None and (folder / "config.yaml").exists():
        cfg = OmegaConf.load(folder / "config.yaml")
        demonstrated = chosen[0].round == DEMONSTRATION
        seed = cfg.demonstration_seed if demonstrated else cfg.callbacks.deployment.seed
        with closing(instantiate(cfg.env, num_envs=1, render_mode="rgb_array", collector=None)) as env:
            frames = replay(steps, env, seed)
    if output.suffix != ".gif":
        draw_episode(steps, frames).savefig(output)
    elif frames is None:
        raise ValueError(f"'{folder}' is no run's folder, and has no pictures: it cannot be played again for some")
    else:
        write_video(output, frames)


def main() -> None:
    """Parse the command line; a mistake gets one line."""
    parser = argparse.ArgumentParser("mile-data", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    shown = commands.add_parser("show", help="a line for each episode")
    given = commands.add_parser("export", help="to a Minari dataset, a robomimic file, or a LeRobot dataset")
    taken = commands.add_parser("import", help="from one of these")
    shown.add_argument("--episode", type=int, help="draw this one")
    shown.add_argument("--round", type=int, help="of the episode; the first that has it")
    shown.add_argument(
        "--output", type=Path, default=Path("episode.png"), help="picture (.png, .svg) or animation (.gif)"
    )
    for command in (shown, given):
        command.add_argument("recording", type=Path, help="folder of a run, or of a buffer")
    given.add_argument("--to", choices=WRITERS, required=True)
    given.add_argument("--output", required=True, help="id of the Minari dataset, or path of the file or folder")
    taken.add_argument("source", help="id of the Minari dataset, or path of the file or folder")
    taken.add_argument("--from", dest="format", choices=READERS, required=True)
    taken.add_argument("--env", required=True, help="name of the environment whose steps these are")
    taken.add_argument("--output", type=Path, required=True, help="folder of the buffer")
    asked = parser.parse_args()
    try:
        if asked.command == "show" and asked.episode is not None:
            draw(asked.recording, asked.round, asked.episode, asked.output)
            print(asked.output)
        elif asked.command == "show":
            show(open_recording(asked.recording))
        elif asked.command == "export":
            WRITERS[asked.to](open_recording(asked.recording), asked.output)
            print(asked.output)
        else:
            buffer = InterventionBuffer(asked.output, asked.env)
            for steps in READERS[asked.format](asked.source):
                buffer.append(steps)
            print(f"{asked.output}: {len(buffer.episodes)} episodes, {len(buffer)} steps")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error}; pip install 'mile-interventions[exchange]'")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
