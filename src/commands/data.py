"""Show and describe recordings, export them to other projects' formats, and import them from there.

mile-data show outputs/lunarlander/…
mile-data describe outputs/user_study_single/* --output people.html
mile-data show outputs/lunarlander/… --episode 3 --output episode.png
mile-data export outputs/lunarlander/… --to minari --output lunarlander/people-v0
mile-data import people.hdf5 --from robomimic --env lunarlander --output recordings/people
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from mile.commands.exchange import FORMATS, RULES, export, import_episodes, write_weights
from mile.running.command_line import one_line_errors
from mile.running.targets import load_config

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tensordict import TensorDictBase

    from mile.datamodules import InterventionBuffer

PLAIN = (bool, int, float, type(None))
TEXTS = ("task", "camera")  # Meta-World's; in other simulators a text may name a file or a module
MADE_HERE = ("_target_", "name", "num_envs", "seed", "collector", "render_mode")  # of an environment's config


def show(buffer: InterventionBuffer) -> None:
    """Print a line for each episode."""
    from mile.evaluation import summarize

    print(f"{buffer.environment}: {len(buffer.episodes)} episodes, {len(buffer)} steps")
    print(f"{'round':>5} {'episode':>7} {'steps':>6} {'ν=1':>6} {'ratio':>6} {'return':>9}  success")
    for episode in sorted(buffer.episodes):
        outcome = summarize(buffer.steps[episode.rows])
        print(
            f"{episode.round:>5} {episode.episode:>7} {episode.length:>6} {int(outcome.interventions[0]):>6} "
            f"{outcome.intervention_ratio:>6.1%} {outcome.mean_return:>9.2f}  {'yes' if outcome.successes[0] else 'no'}"
        )


def draw(folder: Path, round_number: int | None, episode: int, output: Path) -> None:
    """Draw an episode as a picture, or as an animation if `output` ends in .gif.

    Raises:
        ValueError: There is no such episode, or it cannot be played again for an animation.
    """
    from mile.datamodules.recorded import open_recording
    from mile.recordings.playback import draw_episode
    from mile.recordings.video import recorded_frames, write_video

    buffer = open_recording(folder)
    steps = _find_episode(buffer, round_number, episode)
    frames = recorded_frames(steps)
    if frames is None:
        frames = _play_again(folder, buffer.environment, steps)
    if output.suffix != ".gif":
        draw_episode(steps, frames).savefig(output)
    elif frames is None:
        raise ValueError(f"'{folder}' has no pictures, and the episode cannot be played again for some")
    else:
        write_video(output, frames)


def write_description(folders: Sequence[Path], output: Path) -> None:
    """Print the numbers of recordings, one a person, and write them as a page and as JSON.

    Args:
        folders: Folder of a run, or of a buffer, for each person.
        output: Path of the page; the numbers lie beside it, with the suffix .json.
    """
    import json

    import torch

    from mile.datamodules.recorded import open_recording
    from mile.files import write_text
    from mile.recordings.description import describe, numbers, predictability
    from mile.recordings.description_page import COLUMNS, WORDS, cell, page

    recordings, groups, foreseen = {}, [], []
    last_parts = [folder.resolve().name for folder in folders]
    names = last_parts if len(set(last_parts)) == len(folders) else [str(folder) for folder in folders]
    for folder, person in zip(folders, names, strict=True):
        buffer = open_recording(folder)
        numbers_alone: Any = buffer.steps.exclude("frame", ("next", "frame"))
        rows = [numbers_alone[episode.rows] for episode in sorted(buffer.episodes)]
        steps: Any = torch.cat(rows)  # pyright: ignore
        recordings[person] = steps
        groups += describe(person, steps)
        foreseen.append(predictability(person, steps))

    # in the terminal
    plain = numbers(groups, foreseen)
    for rows, columns in ((plain["groups"], COLUMNS), (plain["predictability"], WORDS)):
        for row in rows:
            print(" · ".join(f"{title} {cell(name, row[name])}" for name, title in columns.items()))

    write_text(output, page(recordings, groups, foreseen))
    write_text(output.with_suffix(".json"), json.dumps(plain, indent=2))


def _find_episode(buffer: InterventionBuffer, round_number: int | None, number: int) -> TensorDictBase:
    """Return the steps of the first recorded episode with this number (and round, unless it is None)."""
    for episode in buffer.episodes:
        if episode.episode == number and round_number in (None, episode.round):
            return buffer.read(episode)
    present = ", ".join(f"{episode.episode} (round {episode.round})" for episode in sorted(buffer.episodes))
    raise ValueError(f"there is no such episode; there are {present}")


def _play_again(folder: Path, environment: str, steps: TensorDictBase) -> NDArray[np.uint8] | None:
    """Play an episode once more and return its pictures; warn and return None where that cannot be done.

    The config beside a recording may come from anywhere: only a seed and plain options are taken from it, and nothing
    in it is built.
    """
    from mile.envs import make_env
    from mile.recordings.playback import replay
    from mile.transitions import DEMONSTRATION

    if not (folder / "config.yaml").exists():
        return None
    cfg = load_config(folder / "config.yaml")
    demonstrated = int(steps["round"][0]) == DEMONSTRATION
    seed = OmegaConf.select(cfg, "demonstration_seed" if demonstrated else "callbacks.deployment.seed")

    # plain options
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    options = {name: value for name, value in plain["env"].items() if name not in MADE_HERE}
    harmless = isinstance(seed, int)
    for name, value in options.items():
        kinds = (*PLAIN, str) if name in TEXTS else PLAIN
        harmless = harmless and isinstance(value, kinds)
    if not harmless:
        warnings.warn(f"no pictures: to play the episode again takes more than plain options, {options}", stacklevel=2)
        return None

    try:
        with closing(make_env(environment, render_mode="rgb_array", **options)) as env:
            return replay(steps, env, seed)
    except (ValueError, RuntimeError, ModuleNotFoundError) as error:  # another seed, no simulator, no OpenGL
        warnings.warn(f"no pictures: {error}", stacklevel=2)
        return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("mile-data", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = "folder of a run, or of a buffer"
    data_set = "id of the Minari dataset, or path of the file or folder"

    # show
    command = commands.add_parser("show", help="a line for each episode")
    command.add_argument("--episode", type=int, help="draw this one")
    command.add_argument("--round", type=int, help="of the episode; the first that has it")
    command.add_argument(
        "--output", type=Path, default=Path("episode.png"), help="picture (.png, .svg) or animation (.gif)"
    )
    command.add_argument("recording", type=Path, help=recording)

    # describe
    command = commands.add_parser("describe", help="lengths, onsets, effort and predictability of interventions")
    command.add_argument("recordings", type=Path, nargs="+", help=f"{recording}, for each person")
    command.add_argument("--output", type=Path, default=Path("interventions.html"), help="page; numbers beside it")

    # export
    command = commands.add_parser("export", help="to a Minari dataset, a robomimic file, or a LeRobot dataset")
    command.add_argument("recording", type=Path, help=recording)
    command.add_argument("--to", choices=FORMATS, required=True)
    command.add_argument("--output", required=True, help=data_set)

    # weights
    command = commands.add_parser("weights", help="how much each step counts, for LeRobot's training")
    command.add_argument("recording", type=Path, help=recording)
    command.add_argument("--by", choices=RULES, default="iwr", help="rule; mile: 1 − p(ν=1|s) in the robot's steps")
    command.add_argument("--chunk", type=int, required=True, help="of the policy that LeRobot is to train, actions")
    command.add_argument("--output", type=Path, required=True, help="parquet file")

    # import
    command = commands.add_parser("import", help="from one of these")
    command.add_argument("source", help=data_set)
    command.add_argument("--from", dest="format", choices=FORMATS, required=True)
    command.add_argument("--env", required=True, help="name of the environment whose steps these are")
    command.add_argument("--output", type=Path, required=True, help="folder of the buffer; one that exists is added to")
    command.add_argument(
        "--successful",
        action="store_true",
        help="where the data tells of no success, count no episode as successful; otherwise all count",
    )
    command.add_argument(
        "--intervened", metavar="NAME", help="entry that says who acted, or none; otherwise 'intervention' and such"
    )
    command.add_argument("--human", metavar="VALUE", help="value of it in the human's steps; otherwise 1, true, teleop")
    return parser


@one_line_errors
def main() -> None:
    """Parse the command line, and show, export or import."""
    args = _parser().parse_args()
    try:
        if args.command == "show" and args.episode is not None:
            draw(args.recording, args.round, args.episode, args.output)
            print(args.output)
        elif args.command == "show":
            from mile.datamodules.recorded import open_recording

            show(open_recording(args.recording))
        elif args.command == "describe":
            write_description(args.recordings, args.output)
            print(args.output)
        elif args.command == "export":
            export(args.recording, args.to, args.output)
            print(args.output)
        elif args.command == "weights":
            write_weights(args.recording, args.by, args.chunk, args.output)
            print(args.output)
        else:
            from mile.datamodules.exchange.labels import Labels

            labels = Labels(args.intervened, args.human)
            buffer = import_episodes(args.source, args.format, args.env, args.output, args.successful, labels)
            by_human = int(buffer.steps["intervened"].sum())
            print(
                f"{args.output}: {len(buffer.episodes)} episodes, {len(buffer)} steps, {by_human} of them by the human"
            )
    except ModuleNotFoundError as error:
        advice = "; pip install '.[exchange]' in the checkout's folder" if error.name else ""
        raise ModuleNotFoundError(f"{error}{advice}") from None


if __name__ == "__main__":
    main()
