"""Interventions that others recorded: who acted is read, and what nobody recorded is not made up.

`tests/data/lerobot_image` and `lerobot_video` were written by LeRobot 0.6.1: three episodes of 6, 7 and 8 frames, where
every pixel of frame t of episode e has the value 20 t + 30 e; its human acts in frames 2 and 3, and in all of the last.
"""

import json
import shutil
from pathlib import Path

import av
import gymnasium as gym
import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from mile.datamodules import InterventionBuffer
from mile.datamodules.exchange.labels import Labels
from mile.datamodules.exchange.lerobot import read_lerobot
from mile.datamodules.exchange.lerobot_writer import write_lerobot
from mile.datamodules.exchange.minari import read_minari
from mile.datamodules.exchange.robomimic import read_robomimic
from mile.datamodules.recorded import check_recorded
from mile.methods import EIL, HACO, IWR, MILE, PPL, PVP, HGDAgger
from mile.transitions import DEMONSTRATION, TransitionError, check_transitions
from tests.datamodules.test_foreign import LENGTH, Reach, collected, robomimic  # noqa: F401  # a fixture

DATA = Path(__file__).parents[1] / "data"
BRIGHTNESS = 4  # by which a video's picture may differ from what was filmed


def read(reader, *arguments):
    with pytest.warns(UserWarning, match="does not tell which episodes succeeded"):
        return [check_transitions(steps) for steps in reader(*arguments)]


def modes(*values):
    """Robomimic's modes of an episode, each for as many steps."""
    return np.concatenate([np.full(count, mode) for mode, count in values])


# robomimic


def test_modes_say_who_acted_and_an_action_that_nobody_recorded_is_unknown(tmp_path):
    path = robomimic(tmp_path / "demos.hdf5", action_modes=modes((0, 4), (1, 3), (0, 3)))
    (steps, _) = [check_transitions(steps) for steps in read_robomimic(path)]
    expected = [False] * 4 + [True] * 3 + [False] * 3
    assert steps["intervened"].tolist() == expected
    assert steps["robot_action"].isnan().all(-1).tolist() == expected
    assert (steps["round"] == 0).all()
    torch.testing.assert_close(steps["human_action"][4:7], steps["executed_action"][4:7])
    torch.testing.assert_close(steps["robot_action"][:4], steps["executed_action"][:4])


@pytest.mark.parametrize("mode", [-1, 1])
def test_an_episode_in_which_the_human_acts_throughout_is_a_demonstration(tmp_path, mode):
    path = robomimic(tmp_path / "demos.hdf5", action_modes=modes((mode, LENGTH)))
    (steps, _) = [check_transitions(steps) for steps in read_robomimic(path)]
    assert (steps["round"] == DEMONSTRATION).all()
    torch.testing.assert_close(steps["robot_action"], steps["human_action"])


def test_sirius_labels_before_an_intervention_are_the_robots_and_their_number_is_named(tmp_path):
    path = robomimic(tmp_path / "demos.hdf5", intv_labels=modes((0, 1), (-10, 3), (1, 2), (-10, 3), (1, 1)))
    with pytest.warns(UserWarning, match=r"some 3 steps before each.*method.pre_intervention_steps=3"):
        (steps, _) = list(read_robomimic(path))
    assert steps["intervened"].int().tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 1]


def test_what_the_robot_proposed_is_taken_where_it_is_recorded(tmp_path):
    proposals = np.random.default_rng(1).uniform(-1, 1, (LENGTH, 4)).astype(np.float32)
    path = robomimic(tmp_path / "demos.hdf5", intervened=modes((0, 5), (1, 5)), robot_action=proposals)
    (steps, _) = list(read_robomimic(path))
    np.testing.assert_array_equal(steps["robot_action"], proposals)


@pytest.mark.parametrize("value", [2, -3, 0.5])
def test_a_mode_that_nobody_knows_is_named(tmp_path, value):
    path = robomimic(tmp_path / "demos.hdf5", action_modes=np.r_[np.zeros(LENGTH - 1), value])
    with pytest.raises(ValueError, match=rf"episode 0 \(demo_0\): 'action_modes' must say who acted.*got {value}"):
        list(read_robomimic(path))


# LeRobot


@pytest.mark.parametrize("kind", ["image", "video"])
def test_what_lerobot_wrote_is_read_with_its_interventions_and_its_pictures(kind):
    first, second, third = read(read_lerobot, DATA / f"lerobot_{kind}", False, Labels(), {"pixels"})
    for number, steps in enumerate((first, second, third)):
        length = 6 + number
        assert steps["observation"].tolist() == [[number, frame] for frame in range(length)]
        assert steps["pixels"].shape == (length, 48, 64, 3)
        expected = torch.arange(length) * 20 + 30 * number
        difference = steps["pixels"].float() - expected.reshape(-1, 1, 1, 1)
        assert difference.abs().max() <= (BRIGHTNESS if kind == "video" else 0)
    assert first["intervened"].int().tolist() == [0, 0, 1, 1, 0, 0]
    assert first["robot_action"].isnan().any(-1).tolist() == first["intervened"].tolist()
    assert [int(steps["round"][0]) for steps in (first, second, third)] == [0, 0, DEMONSTRATION]


def in_v2(root, target):
    """Lay a data set of v3.0 out as v2.1, where each episode has files of its own."""
    table = parquet.read_table(root / "data/chunk-000/file-000.parquet")
    info = json.loads((root / "meta/info.json").read_text(encoding="utf-8")) | {"codebase_version": "v2.1"}
    (target / "data/chunk-000").mkdir(parents=True)
    (target / "meta").mkdir()
    (target / "meta/info.json").write_text(json.dumps(info), encoding="utf-8")
    folder = target / "videos/chunk-000/observation.images.pixels"
    folder.mkdir(parents=True)
    for number in range(3):
        rows = table.filter(pa.compute.equal(table["episode_index"], number))
        parquet.write_table(rows, target / f"data/chunk-000/episode_{number:06d}.parquet")
        with av.open(str(folder / f"episode_{number:06d}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for frame in range(len(rows)):
                picture = np.full((48, 64, 3), 20 * frame + 30 * number, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode())
    return target


def test_a_data_set_of_lerobots_second_version_is_read_too(tmp_path):
    root = in_v2(DATA / "lerobot_video", tmp_path / "old")
    for number, steps in enumerate(read(read_lerobot, root, False, Labels(), {"pixels"})):
        expected = torch.arange(6 + number) * 20.0 + 30 * number
        assert (steps["pixels"].float().mean((1, 2, 3)) - expected).abs().max() <= BRIGHTNESS
        assert steps["observation"][:, 0].tolist() == [number] * (6 + number)


@pytest.mark.filterwarnings("ignore:.*does not tell which episodes succeeded")
def test_videos_that_nothing_needs_are_left_out_with_a_word():
    with pytest.warns(UserWarning, match="left out are observation.images.pixels"):
        episodes = list(read_lerobot(DATA / "lerobot_video"))
    assert all("pixels" not in steps.keys() for steps in episodes)


@pytest.fixture
def damaged(tmp_path):
    return Path(shutil.copytree(DATA / "lerobot_video", tmp_path / "set"))


@pytest.mark.filterwarnings("ignore:.*does not tell which episodes succeeded")
@pytest.mark.parametrize(
    ("content", "message"),
    [(None, r"file-000.mp4' is missing"), (b"no video", "cannot be read as a video"), (1000, "file-000.mp4'")],
)
def test_a_video_that_is_missing_or_damaged_is_named(damaged, content, message):
    path = damaged / "videos/observation.images.pixels/chunk-000/file-000.mp4"
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[:content] if isinstance(content, int) else content)
    with pytest.raises((ValueError, OSError), match=message):
        list(read_lerobot(damaged, wanted={"pixels"}))


@pytest.mark.filterwarnings("ignore:.*does not tell which episodes succeeded")
def test_a_video_shorter_than_its_episode_is_named(damaged):
    path = damaged / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(path).to_pylist()
    last = table[-1]
    table.append(last | {"frame_index": last["frame_index"] + 1})
    parquet.write_table(pa.Table.from_pylist(table), path)
    with pytest.raises(ValueError, match=r"episode 2: '.*mp4' has 8 pictures from 1.300 s on, expected 9"):
        list(read_lerobot(damaged, wanted={"pixels"}))


def test_a_camera_of_a_name_that_leads_elsewhere_is_refused(damaged):
    path = damaged / "meta/info.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    info["features"] = {"../../secret": {"dtype": "video"}}
    path.write_text(json.dumps(info), encoding="utf-8")
    with pytest.raises(ValueError, match="leads to another folder"):
        list(read_lerobot(damaged, wanted={"__/__/secret"}))


def relabelled(root, name, values):
    """Replace the column of interventions by another one."""
    path = root / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(path)
    column = pa.array([values[bool(value)] for value in table["intervention"].to_pylist()])
    table = table.drop_columns("intervention").append_column(name, column)
    parquet.write_table(table, path)
    return root


@pytest.mark.parametrize(
    ("name", "values", "labels"),
    [
        ("mode", ("inference", "teleop"), Labels()),
        ("control_mode", ("Policy", "Human"), Labels()),
        ("complementary_info.is_intervention", (0.0, 1.0), Labels()),
        ("is_intervention", (0, 1), Labels()),
        ("phase", ("auto", "manual"), Labels("phase")),
        ("phase", ("A", "B"), Labels("phase", "b")),
        ("is_intervention", (False, True), Labels(None, "1")),
        ("is_intervention", (0.0, 1.0), Labels(None, "1")),
        ("is_intervention", (False, True), Labels(None, "true")),
        ("phase", (3, 7), Labels("phase", "7")),
    ],
)
def test_words_and_numbers_say_who_acted(damaged, name, values, labels):
    (first, _, _) = read(read_lerobot, relabelled(damaged, name, values), False, labels, {"pixels"})
    assert first["intervened"].int().tolist() == [0, 0, 1, 1, 0, 0]


@pytest.mark.filterwarnings("ignore:.*does not tell which episodes succeeded", "ignore:.*left out are mode")
@pytest.mark.parametrize(
    ("name", "values", "labels", "message"),
    [
        ("mode", ("A", "B"), Labels(), r"'mode' must say who acted.*got 'A'; name the human's value with --human"),
        ("mode", (0, 1), Labels("phase"), "there is no entry 'phase' to say who acted"),
    ],
)
def test_words_that_nobody_knows_are_named(damaged, name, values, labels, message):
    with pytest.raises(ValueError, match=message):
        list(read_lerobot(relabelled(damaged, name, values), labels=labels, wanted={"pixels"}))


def test_an_entry_of_that_name_may_say_something_else(damaged):
    root = relabelled(damaged, "mode", ("A", "B"))
    with pytest.warns(UserWarning, match="left out are mode"):
        episodes = read(read_lerobot, root, False, Labels("none"), {"pixels"})
    assert {int(steps["round"][0]) for steps in episodes} == {DEMONSTRATION}


def test_what_was_read_comes_back_from_an_export(tmp_path):
    episodes = read(read_lerobot, DATA / "lerobot_image", False, Labels(), {"pixels"})
    buffer = InterventionBuffer(tmp_path / "buffer", "somewhere")
    buffer.extend(episodes)
    write_lerobot(buffer, tmp_path / "out")
    again = {int(steps["episode"][0]): steps for steps in read_lerobot(tmp_path / "out")}
    assert parquet.read_table(tmp_path / "out/data/chunk-000/file-000.parquet")["intervention"].type == pa.bool_()
    for steps in episodes:
        (same,) = [other for other in again.values() if len(other) == len(steps)]
        for key in ("robot_action", "human_action", "intervened", "executed_action", "round", "pixels"):
            torch.testing.assert_close(same[key], steps[key], equal_nan=True)


# Minari


class Helped(Reach):
    """Tells in its infos, too, that a human acts from the fifth step on."""

    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def observe(self):
        observation, info = super().observe()
        return observation, info | {"is_intervention": self.count > 4}


@pytest.mark.filterwarnings("ignore:.*:UserWarning:minari")
def test_infos_say_who_acted(monkeypatch, request):
    monkeypatch.setattr("tests.datamodules.test_foreign.Reach", Helped)
    collect = request.getfixturevalue("collected")
    for steps in read_minari(collect()):
        check_transitions(steps)
        assert steps["intervened"].tolist() == [False] * 4 + [True] * (LENGTH - 4)
        assert steps["robot_action"].isnan().all(-1).tolist() == steps["intervened"].tolist()


# what is not known


def test_a_robots_action_may_be_unknown_only_where_a_human_acted(tmp_path):
    path = robomimic(tmp_path / "demos.hdf5", action_modes=modes((0, 4), (1, 6)))
    (steps, _) = list(read_robomimic(path))
    steps["robot_action"][2] = torch.nan
    with pytest.raises(TransitionError, match=r"'robot_action' must be .* at step 2"):
        check_transitions(steps)


@pytest.mark.parametrize("method", [PVP, PPL, HACO, EIL, MILE, HGDAgger, IWR])
def test_who_compares_with_the_robots_action_says_that_it_is_unknown(tmp_path, method):
    buffer = InterventionBuffer(tmp_path / "buffer", "somewhere")
    buffer.extend(read_robomimic(robomimic(tmp_path / "demos.hdf5", action_modes=modes((0, 4), (1, 6)))))
    if not method.needs_proposals(is_discrete=False):
        check_recorded(buffer, method)
        return
    message = f"{method.__name__} compares the human's actions with what the robot proposed.*in 12 of 12 steps"
    with pytest.raises(ValueError, match=message):
        check_recorded(buffer, method)


def test_what_else_an_episode_holds_does_not_matter(tmp_path):
    more = {"states": np.zeros((LENGTH, 3)), "mode": np.zeros(LENGTH)}
    path = robomimic(tmp_path / "demos.hdf5", action_modes=modes((0, 9), (1, 1)), **more)
    for steps in read_robomimic(path):
        assert steps["intervened"].int().tolist() == [0] * 9 + [1]
