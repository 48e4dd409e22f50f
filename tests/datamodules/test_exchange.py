import json
import sys

import h5py
import minari
import numpy as np
import pandas
import pytest
import torch
from pyarrow import parquet
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.commands import data
from mile.datamodules import InterventionBuffer
from mile.datamodules.exchange.lerobot import read_lerobot
from mile.datamodules.exchange.lerobot_writer import write_lerobot
from mile.datamodules.exchange.minari import read_minari, write_minari
from mile.datamodules.exchange.robomimic import read_robomimic, write_robomimic
from mile.datamodules.recorded import open_recording
from mile.envs import InterventionTransform, make_env, make_policy
from mile.ingredients.demonstrations import expert_episode
from mile.recordings.playback import draw_episode, replay
from mile.recordings.video import HUMAN_COLOUR
from tests.support import EveryThird

BOTH = pytest.mark.parametrize("name", ["Counting-v0", "CountingBox-v0"])


@pytest.fixture(autouse=True)
def _datasets_of_our_own(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def recorded(folder, name):
    """A demonstration, and two rounds of two episodes."""
    env = make_env(name, 2)
    buffer = InterventionBuffer(folder, name)
    policy = make_policy(env, hidden_dims=(8,))
    buffer.append(expert_episode(env, policy, 0, seed=1))
    supervised = TransformedEnv(make_env(name, 2), InterventionTransform(EveryThird("Box" in name)))
    for number in range(2):
        episodes = range(2 * number, 2 * number + 2)
        collect_episodes(supervised, policy, episodes, seed=1, deployment_round=number, on_episode=buffer.append)
    return buffer


def same(first, second):
    numbers = [[episode[:2] for episode in sorted(buffer.episodes)] for buffer in (first, second)]
    assert numbers[0] == numbers[1]
    rows, others = first.rows(), second.rows()
    assert set(first.steps.keys(True, True)) == set(second.steps.keys(True, True))
    for key in first.steps.keys(True, True):
        one, other = first.steps[key][rows], second.steps[key][others]
        assert one.dtype == other.dtype, key
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_a_robomimic_file_has_pictures_under_their_names(tmp_path):
    buffer = recorded(tmp_path / "buffer", "CountingShown-v0")
    write_robomimic(buffer, tmp_path / "data.hdf5")
    with h5py.File(tmp_path / "data.hdf5") as file:
        demo = file["data/demo_1"]
        assert demo["obs/pixels"].dtype == np.uint8
        assert demo["obs/pixels"].shape == (demo.attrs["num_samples"], 36, 40, 3)
        np.testing.assert_array_equal(demo["obs/pixels"][1:], demo["next_obs/pixels"][:-1])
        assert demo["obs/state"].ndim == 2


@pytest.mark.parametrize("name", ["CountingShown-v0", "CountingShownBox-v0"])
@pytest.mark.parametrize("format_", ["minari", "robomimic", "lerobot"])
def test_pictures_are_exported_and_come_back(tmp_path, format_, name):
    """All of them, but in LeRobot's layout that after an episode's last step."""
    buffer = recorded(tmp_path / "buffer", name)
    target = "mile/pictures-v0" if format_ == "minari" else str(tmp_path / "data.out")
    data.export(tmp_path / "buffer", format_, target)
    back = data.import_episodes(target, format_, name, tmp_path / "back")
    same(buffer, back)
    for one, other in zip(sorted(buffer.episodes), sorted(back.episodes), strict=True):
        first, second = (each.read(episode)["pixels"] for each, episode in ((buffer, one), (back, other)))
        assert torch.equal(first, second)
        first, second = (each.read(episode)["next", "pixels"] for each, episode in ((buffer, one), (back, other)))
        known = len(first) - (format_ == "lerobot")
        assert torch.equal(first[:known], second[:known])


def test_pictures_of_another_size_or_missing_ones_are_refused(tmp_path):
    recorded(tmp_path / "buffer", "CountingShown-v0")
    data.export(tmp_path / "buffer", "robomimic", str(tmp_path / "data.hdf5"))
    with h5py.File(tmp_path / "data.hdf5", "a") as file:
        for demo in file["data"].values():
            for group in ("obs", "next_obs"):
                pictures = demo[group]["pixels"][:, :20]
                del demo[group]["pixels"]
                demo[group]["pixels"] = pictures
    with pytest.raises(ValueError, match=r"pictures of 36 × 40 × 3 bytes, .* got pictures of 20 × 40 × 3 bytes"):
        data.import_episodes(str(tmp_path / "data.hdf5"), "robomimic", "CountingShown-v0", tmp_path / "back")
    with h5py.File(tmp_path / "data.hdf5", "a") as file:
        for demo in file["data"].values():
            del demo["obs/pixels"], demo["next_obs/pixels"]
    with pytest.raises(ValueError, match=r"'CountingShown-v0' shows .*, and these steps have no 'pixels'"):
        data.import_episodes(str(tmp_path / "data.hdf5"), "robomimic", "CountingShown-v0", tmp_path / "back")


def test_a_camera_that_an_environment_does_not_show_is_what_people_look_at(tmp_path):
    recorded(tmp_path / "buffer", "CountingShown-v0")
    data.export(tmp_path / "buffer", "robomimic", str(tmp_path / "data.hdf5"))
    back = data.import_episodes(str(tmp_path / "data.hdf5"), "robomimic", "Counting-v0", tmp_path / "back")
    assert "frame" in back.entries
    assert "pixels" not in back.entries


@BOTH
def test_minari_reads_a_recording_and_nothing_is_lost_on_the_way_back(tmp_path, name):
    buffer = recorded(tmp_path / "buffer", name)
    write_minari(buffer, "mile/test-v0")
    dataset = minari.load_dataset("mile/test-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (5, len(buffer))
    for recorded_episode in dataset.iterate_episodes():
        assert len(recorded_episode.observations) == len(recorded_episode.actions) + 1
        assert dataset.observation_space.contains(recorded_episode.observations[0])
        assert all(dataset.action_space.contains(action) for action in recorded_episode.actions)
    back = InterventionBuffer(tmp_path / "back", name)
    for steps in read_minari("mile/test-v0"):
        back.append(steps)
    same(buffer, back)


@BOTH
def test_a_robomimic_file_has_its_action_modes_and_comes_back_whole(tmp_path, name):
    buffer = recorded(tmp_path / "buffer", name)
    write_robomimic(buffer, tmp_path / "data.hdf5")
    with h5py.File(tmp_path / "data.hdf5") as file:
        demos = sorted(file["data"], key=lambda name: int(name[5:]))
        assert len(demos) == 5
        assert file["data"].attrs["total"] == len(buffer)
        assert (file["data/demo_0/action_modes"][:] == -1).all()
        first = buffer.steps[buffer.rows([0])]
        modes = np.concatenate([file[f"data/demo_{i}/action_modes"][:] for i in (1, 2)])
        assert (modes == first["intervened"].numpy().astype(int)).all()
        assert file["data/demo_1/actions"].ndim == 2
        assert file["data/demo_1/dones"][:].tolist() == [0] * (file["data/demo_1"].attrs["num_samples"] - 1) + [1]
    back = InterventionBuffer(tmp_path / "back", name)
    for steps in read_robomimic(tmp_path / "data.hdf5"):
        back.append(steps)
    same(buffer, back)


@BOTH
def test_a_lerobot_dataset_has_its_layout_and_comes_back_whole(tmp_path, name):
    buffer = recorded(tmp_path / "buffer", name)
    write_lerobot(buffer, tmp_path / "data")
    info = json.loads((tmp_path / "data/meta/info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == ("v3.0", 5, len(buffer))
    frames = parquet.read_table(tmp_path / "data" / info["data_path"].format(chunk_index=0, file_index=0))
    assert set(frames.column_names) == set(info["features"])
    timestamps = frames["timestamp"].to_numpy()
    np.testing.assert_allclose(timestamps, frames["frame_index"].to_numpy() / info["fps"], rtol=1e-6)
    assert frames["index"].to_pylist() == list(range(len(buffer)))
    episodes = pandas.read_parquet(tmp_path / "data/meta/episodes/chunk-000/file-000.parquet")
    for row in episodes.itertuples():
        within = frames["episode_index"].to_numpy()[row.dataset_from_index : row.dataset_to_index]
        assert (within == row.episode_index).all()
        assert len(within) == row.length
    tasks = pandas.read_parquet(tmp_path / "data/meta/tasks.parquet")
    assert tasks.iloc[frames["task_index"][0].as_py()].name == name
    statistics = json.loads((tmp_path / "data/meta/stats.json").read_text())
    np.testing.assert_allclose(
        statistics["action"]["mean"], buffer.steps["executed_action"].double().mean(0), atol=1e-12
    )
    back = InterventionBuffer(tmp_path / "back", name)
    for steps in read_lerobot(tmp_path / "data"):
        back.append(steps)
    same(buffer, back)
    with pytest.raises(FileExistsError):
        write_lerobot(buffer, tmp_path / "data")


def test_an_episode_is_drawn_and_played_again(tmp_path):
    buffer = recorded(tmp_path / "buffer", "Counting-v0")
    episode = next(episode for episode in buffer.episodes if (episode.round, episode.episode) == (1, 3))
    steps = buffer.steps[episode.rows]
    frames = replay(steps, make_env("Counting-v0", render_mode="rgb_array"), seed=1)
    assert len(frames) == len(steps)
    bordered = [frame[0, 0].tolist() == list(HUMAN_COLOUR) for frame in frames]
    assert bordered == steps["intervened"].tolist()
    assert {axes.get_label() for axes in draw_episode(steps, frames).axes} == {"pictures", "human", "actions"}
    with pytest.raises(ValueError, match="another seed"):
        replay(steps, make_env("Counting-v0", render_mode="rgb_array"), seed=2)


def test_what_others_recorded_becomes_demonstrations(tmp_path):
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        for number in range(2):
            demo = file.create_group(f"data/demo_{number}")
            for key, shape in (("obs/b", (4, 2)), ("obs/a", (4, 1)), ("next_obs/b", (4, 2)), ("next_obs/a", (4, 1))):
                demo[key] = np.full(shape, number + (key[-1] == "b"), np.float32)
            demo["actions"], demo["rewards"] = np.zeros((4, 2), np.float32), np.array([0, 0, 0, 1], np.float32)
            demo["dones"] = np.array([0, 0, 0, 1])
    buffer = InterventionBuffer(tmp_path / "buffer", "somewhere")
    for steps in read_robomimic(tmp_path / "other.hdf5"):
        buffer.append(steps)
    assert buffer.recorded(-1) == {0, 1}
    assert buffer.steps["observation"][0].tolist() == [0, 1, 1]
    assert buffer.steps["intervened"].all()
    assert buffer.steps["next", "success"].tolist() == [False, False, False, True] * 2


def test_at_the_command_line(tmp_path, monkeypatch, capsys):
    buffer = recorded(tmp_path / "run" / "buffer", "Counting-v0")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["mile-data", *map(str, words)])
        data.main()
        return capsys.readouterr().out

    assert f"5 episodes, {len(buffer)} steps" in call("show", tmp_path / "run")
    call("show", tmp_path / "run", "--episode", 3, "--output", tmp_path / "episode.png")
    assert (tmp_path / "episode.png").stat().st_size > 10_000
    with pytest.raises(SystemExit, match=r"no such episode; there are 0 \(round -1\)"):
        call("show", tmp_path / "run", "--episode", 9)
    with pytest.raises(SystemExit, match="has no pictures, and the episode cannot be played again"):
        call("show", tmp_path / "run", "--episode", 3, "--output", tmp_path / "episode.gif")
    call("export", tmp_path / "run", "--to", "robomimic", "--output", tmp_path / "data.hdf5")
    call("import", tmp_path / "data.hdf5", "--from", "robomimic", "--env", "Counting-v0", "--output", tmp_path / "back")
    same(buffer, open_recording(tmp_path / "back"))
    with pytest.raises(SystemExit, match="holds no recorded episodes"):
        call("show", tmp_path)
    with pytest.raises(SystemExit, match="exists"):
        call("export", tmp_path / "run", "--to", "robomimic", "--output", tmp_path / "data.hdf5")
