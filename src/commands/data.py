"""Recordings: shown, and given to and taken from other projects.

mile-data show outputs/lunarlander/…
mile-data show outputs/lunarlander/… --episode 3 --output episode.png
mile-data export outputs/lunarlander/… --to minari --output lunarlander/people-v0
mile-data import people.hdf5 --from robomimic --env lunarlander --output recordings/people
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from mile.running.command_line import one_line_errors
from mile.running.targets import load_config

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tensordict import TensorDictBase

    from mile.datamodules import InterventionBuffer

FORMATS = ("minari", "robomimic", "lerobot")
PLAIN = (bool, int, float, type(None))
TEXTS = ("task", "camera")  # Meta-World's; in other simulators a text may name a file or a module
MADE_HERE = ("_target_", "name", "num_envs", "seed", "collector", "render_mode")  # of an environment's config


def import_episodes(
    source: str, format_: str, environment: str, output: Path, only_known: bool = False
) -> InterventionBuffer:
    """Take all episodes of a data set into a recording, or none if anything is wrong with one.

    Args:
        source: id of the Minari dataset, or path of the file or folder.
        format_: one of `FORMATS`.
        environment: name of the one whose steps these are.
        output: folder of the buffer; a recording that is there is numbered on.
        only_known: where nothing tells which episodes succeeded, none counts; otherwise all do.

    Returns:
        The recording.

    Raises:
        ValueError: there is no such environment, the data set is malformed or empty, or not of the environment.
    """
    from mile.datamodules import InterventionBuffer
    from mile.datamodules.foreign import fitted, naming
    from mile.envs.make import environment_spaces

    observation, action = environment_spaces(environment)
    buffer = InterventionBuffer(output, environment)
    held = Counter(episode.round for episode in buffer.episodes)
    first = {round_: max(buffer.recorded(round_)) + 1 for round_ in held}

    def numbered_on() -> Iterator[TensorDictBase]:
        for steps in fitted(_reader(format_)(source, only_known), observation, action, environment):
            steps["episode"] += first.get(int(steps["round"][0]), 0)
            yield steps

    with naming(f"'{source}'"):
        buffer.extend(numbered_on())
    if len(buffer.episodes) == held.total():
        raise ValueError(f"'{source}' holds no episodes")
    return buffer


def show(buffer: InterventionBuffer) -> None:
    """Print a line for each episode."""
    from mile.evaluation import summarize

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
    from mile.datamodules.recorded import open_recording
    from mile.recordings.playback import draw_episode
    from mile.recordings.video import recorded_frames, write_video

    buffer = open_recording(folder)
    chosen = [it for it in buffer.episodes if it.episode == episode and round_number in (None, it.round)]
    if not chosen:
        held = ", ".join(f"{it.episode} (round {it.round})" for it in sorted(buffer.episodes))
        raise ValueError(f"there is no such episode; there are {held}")
    steps = buffer.steps[chosen[0].start : chosen[0].start + chosen[0].length]
    frames = recorded_frames(steps) if "frame" in steps.keys() else _play_again(folder, buffer.environment, steps)
    if output.suffix != ".gif":
        draw_episode(steps, frames).savefig(output)
    elif frames is None:
        raise ValueError(f"'{folder}' has no pictures, and the episode cannot be played again for some")
    else:
        write_video(output, frames)


def _play_again(folder: Path, environment: str, steps: TensorDictBase) -> NDArray[np.uint8] | None:
    """Return the pictures of an episode that is played once more, None with a word where that cannot be.

    The config beside a recording may come from anywhere: it gives a seed and plain options, and nothing in it is built.
    """
    from mile.envs import make_env
    from mile.recordings.playback import replay
    from mile.transitions import DEMONSTRATION

    if not (folder / "config.yaml").exists():
        return None
    cfg = load_config(folder / "config.yaml")
    demonstrated = int(steps["round"][0]) == DEMONSTRATION
    seed = OmegaConf.select(cfg, "demonstration_seed" if demonstrated else "callbacks.deployment.seed")
    given: Any = OmegaConf.to_container(cfg, resolve=True)
    options = {name: value for name, value in given["env"].items() if name not in MADE_HERE}
    plain = [isinstance(value, (*PLAIN, str) if name in TEXTS else PLAIN) for name, value in options.items()]
    if not all(plain) or not isinstance(seed, int):
        warnings.warn(f"no pictures: to play the episode again takes more than plain options, {options}", stacklevel=2)
        return None
    with closing(make_env(environment, render_mode="rgb_array", **options)) as env:
        return replay(steps, env, seed)


def export(folder: Path, format_: str, target: str) -> None:
    """Write a recording in another project's format, one of `FORMATS`."""
    from mile.datamodules.exchange import write_minari, write_robomimic
    from mile.datamodules.lerobot import write_lerobot
    from mile.datamodules.recorded import open_recording

    writers: dict[str, Callable[[InterventionBuffer, str], None]] = {
        "minari": write_minari,
        "robomimic": write_robomimic,
        "lerobot": write_lerobot,
    }
    writers[format_](open_recording(folder), target)


def _reader(format_: str) -> Callable[[str, bool], Iterator[TensorDictBase]]:
    """Return the function that reads a format, one of `FORMATS`."""
    from mile.datamodules.exchange import read_minari, read_robomimic
    from mile.datamodules.lerobot import read_lerobot

    readers: dict[str, Callable[[str, bool], Iterator[TensorDictBase]]] = {
        "minari": read_minari,
        "robomimic": read_robomimic,
        "lerobot": read_lerobot,
    }
    return readers[format_]


@one_line_errors
def main() -> None:
    """Parse the command line, and show, export or import."""
    parser = argparse.ArgumentParser("mile-data", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    shown = commands.add_parser("show", help="a line for each episode")
    given = commands.add_parser("export", help="to a Minari dataset, a robomimic file, or a LeRobot dataset")
    taken = commands.add_parser("import", help="from one of these")

    # show
    shown.add_argument("--episode", type=int, help="draw this one")
    shown.add_argument("--round", type=int, help="of the episode; the first that has it")
    shown.add_argument(
        "--output", type=Path, default=Path("episode.png"), help="picture (.png, .svg) or animation (.gif)"
    )

    # export
    for command in (shown, given):
        command.add_argument("recording", type=Path, help="folder of a run, or of a buffer")
    given.add_argument("--to", choices=FORMATS, required=True)
    given.add_argument("--output", required=True, help="id of the Minari dataset, or path of the file or folder")

    # import
    taken.add_argument("source", help="id of the Minari dataset, or path of the file or folder")
    taken.add_argument("--from", dest="format", choices=FORMATS, required=True)
    taken.add_argument("--env", required=True, help="name of the environment whose steps these are")
    taken.add_argument("--output", type=Path, required=True, help="folder of the buffer; one that exists is added to")
    taken.add_argument(
        "--successful",
        action="store_true",
        help="where the data tells of no success, count no episode as successful; otherwise all count",
    )
    asked = parser.parse_args()

    try:
        if asked.command == "show" and asked.episode is not None:
            draw(asked.recording, asked.round, asked.episode, asked.output)
            print(asked.output)
        elif asked.command == "show":
            from mile.datamodules.recorded import open_recording

            show(open_recording(asked.recording))
        elif asked.command == "export":
            export(asked.recording, asked.to, asked.output)
            print(asked.output)
        else:
            buffer = import_episodes(asked.source, asked.format, asked.env, asked.output, asked.successful)
            print(f"{asked.output}: {len(buffer.episodes)} episodes, {len(buffer)} steps")
    except ModuleNotFoundError as error:
        advice = "; pip install '.[exchange]' in the checkout's folder" if error.name else ""
        raise ModuleNotFoundError(f"{error}{advice}") from None


if __name__ == "__main__":
    main()
