"""What others recorded, in files that the libraries of others write, or that are laid out as theirs are."""

import io
import json
import sys
from types import ModuleType

import gymnasium as gym
import h5py
import minari
import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from torch.utils import _pytree

from mile.datamodules import InterventionBuffer
from mile.datamodules.exchange.fitting import fitted
from mile.datamodules.exchange.foreign import naming
from mile.datamodules.exchange.lerobot import read_lerobot
from mile.datamodules.exchange.minari import read_minari
from mile.datamodules.exchange.robomimic import read_robomimic
from mile.envs.frames import decompress
from mile.transitions import check_transitions

LENGTH = 10


def checked(episodes):
    return [check_transitions(steps) for steps in episodes]


# robomimic


def robomimic(path, episodes=2, **changes):
    """A file as most are shared: observations by name, no next_obs; `changes` are further entries, None for none."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number in range(episodes):
            entries = {
                "obs/object": rng.normal(size=(LENGTH, 5)).astype(np.float32),
                "obs/eef_pos": rng.normal(size=(LENGTH, 3)).astype(np.float32),
                "actions": rng.uniform(-1, 1, (LENGTH, 4)).astype(np.float32),
                "rewards": np.r_[np.zeros(LENGTH - 1), 1.0],
                "dones": np.r_[np.zeros(LENGTH - 1, int), 1],
            }
            for name, value in (entries | changes).items():
                if value is not None:
                    file[f"data/demo_{number}/{name}"] = value
    return path


def test_next_observations_that_were_left_out_follow_from_the_observations(tmp_path):
    path = robomimic(tmp_path / "demos.hdf5")
    episodes = checked(read_robomimic(path))
    with h5py.File(path) as file:
        for number, steps in enumerate(episodes):
            demo = file[f"data/demo_{number}"]
            observations = np.concatenate([demo["obs/eef_pos"][:], demo["obs/object"][:]], 1)
            np.testing.assert_array_equal(steps["observation"], observations)
            np.testing.assert_array_equal(steps["next", "observation"], [*observations[1:], observations[-1]])
    assert [int(steps["next", "success"].sum()) for steps in episodes] == [1, 1]


def test_without_dones_the_last_step_ends_an_episode(tmp_path):
    (steps, _) = checked(read_robomimic(robomimic(tmp_path / "demos.hdf5", dones=None)))
    assert steps["next", "terminated"].tolist() == [False] * (LENGTH - 1) + [True]
    assert steps["next", "success"].tolist() == [False] * (LENGTH - 1) + [True]


@pytest.mark.parametrize("rewards", [None, np.zeros(LENGTH), -np.ones(LENGTH)])
@pytest.mark.parametrize("only_known", [False, True])
def test_an_outcome_that_nothing_tells_is_no_failure(tmp_path, rewards, only_known):
    path = robomimic(tmp_path / "demos.hdf5", rewards=rewards)
    word = "none counts" if only_known else "all count"
    with pytest.warns(UserWarning, match=rf"demos.hdf5' does not tell which episodes succeeded.*{word} as successful"):
        episodes = checked(read_robomimic(path, only_known))
    assert [steps["next", "success"].tolist() for steps in episodes] == [[False] * (LENGTH - 1) + [not only_known]] * 2


def test_one_success_makes_the_others_failures(tmp_path):
    path = robomimic(tmp_path / "demos.hdf5")
    with h5py.File(path, "r+") as file:
        file["data/demo_1/rewards"][:] = 0
    assert [bool(steps["next", "success"].any()) for steps in checked(read_robomimic(path))] == [True, False]


def test_pictures_are_entries_and_text_among_the_observations_is_left_out_with_a_word(tmp_path):
    pictures = np.arange(LENGTH * 8 * 8 * 3, dtype=np.uint8).reshape(LENGTH, 8, 8, 3)
    words = np.array([b"grasp"] * LENGTH)
    more = {"obs/camera": pictures, "obs/words": words, "obs/deep/depth": pictures, "obs/gripper": np.zeros(LENGTH)}
    path = robomimic(tmp_path / "demos.hdf5", **more)
    with pytest.warns(UserWarning, match="demos.hdf5': left out are deep, words"):
        episodes = checked(read_robomimic(path))
    assert episodes[0]["observation"].shape == (LENGTH, 3 + 1 + 5)
    np.testing.assert_array_equal(episodes[0]["camera"], pictures)
    np.testing.assert_array_equal(episodes[0]["next", "camera"], [*pictures[1:], pictures[-1]])


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (np.arange(LENGTH).reshape(-1, 1), torch.arange(LENGTH)),
        (np.arange(LENGTH, dtype=np.uint8), torch.arange(LENGTH)),
        (np.arange(LENGTH, dtype=">i2"), torch.arange(LENGTH)),
        (np.ones((LENGTH, 2)), torch.ones(LENGTH, 2)),
        (np.ones((LENGTH, 2), np.int8), torch.ones(LENGTH, 2)),
        (np.ones(LENGTH, np.float16), torch.ones(LENGTH, 1)),
    ],
)
def test_numbers_of_any_width_become_those_that_networks_have(tmp_path, actions, expected):
    wide = {"obs/object": np.zeros((LENGTH, 5), ">f8"), "rewards": np.ones((LENGTH, 1))}
    (steps, _) = checked(read_robomimic(robomimic(tmp_path / "demos.hdf5", actions=actions, **wide)))
    for key in ("executed_action", "robot_action", "human_action"):
        assert (steps[key].dtype, steps[key].tolist()) == (expected.dtype, expected.tolist()), key
    assert {steps[key].dtype for key in ("observation", ("next", "observation"), ("next", "reward"))} == {torch.float32}
    assert {steps["next", key].dtype for key in ("terminated", "truncated", "success")} == {torch.bool}


BROKEN = {
    "too few observations": ({"obs/object": np.zeros((LENGTH - 1, 5))}, "episode 0 (demo_0): "),
    "too few rewards": ({"rewards": np.ones(3)}, "episode 0 (demo_0): 'reward' must have 10 numbers"),
    "too few dones": ({"dones": np.ones(3)}, "episode 0 (demo_0)"),
    "no actions": ({"actions": None}, "'actions'"),
    "actions of text": ({"actions": np.array([b"left"] * LENGTH)}, "'executed_action' must be an array of numbers"),
    "no steps": (
        {"obs/object": np.zeros((0, 5)), "obs/eef_pos": None, "actions": np.zeros((0, 4))},
        "at least one step",
    ),
    "only pictures": (
        {"obs/object": np.zeros((LENGTH, 2, 2, 3)), "obs/eef_pos": None},
        "vectors of numbers, or pictures, are expected in 'obs', got object",
    ),
}


def run_import(reader, source, output):
    """What the program does, for any environment."""
    with naming(f"'{source}'"):
        InterventionBuffer(output, "somewhere").extend(reader(source))


@pytest.mark.parametrize("kind", BROKEN)
def test_a_malformed_file_gets_one_line_with_its_name(tmp_path, kind):
    changes, message = BROKEN[kind]
    path = robomimic(tmp_path / "demos.hdf5", **changes)
    with pytest.raises(ValueError, match=r"demos\.hdf5'") as caught:
        run_import(read_robomimic, path, tmp_path / "out")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("mask/train", "a group 'data' with the demonstrations is expected"),
        ("data/first", "must be named demo_0, demo_1 and so on, got 'first'"),
        ("data/demo_", "must be named demo_0, demo_1 and so on, got 'demo_'"),
    ],
)
def test_groups_by_other_names_are_named(tmp_path, group, message):
    with h5py.File(tmp_path / "demos.hdf5", "w") as file:
        file.create_group(group)
    with pytest.raises(ValueError, match=message):
        list(read_robomimic(tmp_path / "demos.hdf5"))


@pytest.mark.parametrize("content", [b"no HDF5", None])
def test_a_file_that_is_damaged_is_named(tmp_path, content):
    path = robomimic(tmp_path / "demos.hdf5")
    path.write_bytes(content or path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"demos.hdf5': Unable"):
        run_import(read_robomimic, path, tmp_path / "out")


# Minari


class Reach(gym.Env):
    """Observes the number of the step; solved with the last of ten."""

    action_space = gym.spaces.Discrete(4)

    def __init__(self, observation_space=None, reports_success=True):
        self.observation_space = observation_space or gym.spaces.Box(-99, 99, (8,), np.float32)
        self.reports_success = reports_success

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.observe()

    def step(self, action):
        self.count += 1
        observation, info = self.observe()
        return observation, 0.0, self.count == LENGTH, False, info

    def observe(self):
        info = {"success": self.count == LENGTH} if self.reports_success else {}
        if isinstance(self.observation_space, gym.spaces.Dict):
            return {"a": np.zeros(2, np.float32)}, info
        return np.full(self.observation_space.shape, self.count, np.float32), info | {"step": np.full(3, self.count)}


@pytest.fixture
def collected(tmp_path, monkeypatch):
    """Collect a dataset by Minari's own recorder."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    # of jax, Minari's recorder uses the map over trees alone, which torch has, too
    jax = ModuleType("jax")
    jax.tree_util = _pytree
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setitem(sys.modules, "jax.tree_util", _pytree)

    def collect(**options):
        env = minari.DataCollector(Reach(**options), record_infos=True)
        begun = env._tmp_dir
        for seed in range(3):
            env.reset(seed=seed)
            for _ in range(LENGTH):
                env.step(env.action_space.sample())
        env.create_dataset(
            "reach/people-v0", algorithm_name="person", author="nobody", author_email="nobody", code_permalink="nowhere"
        )
        for folder in (begun, env._tmp_dir):
            folder.cleanup()
        return "reach/people-v0"

    return collect


@pytest.mark.filterwarnings("ignore:.*:UserWarning:minari")
def test_infos_of_minaris_own_recorder_begin_with_the_reset(collected):
    name = collected()
    assert len(minari.load_dataset(name)[0].infos["success"]) == LENGTH + 1
    for number, steps in enumerate(checked(read_minari(name))):
        assert steps["next", "success"].tolist() == [False] * (LENGTH - 1) + [True]
        assert steps["observation"][:, 0].tolist() == list(range(LENGTH))
        assert steps["next", "observation"][:, 0].tolist() == list(range(1, LENGTH + 1))
        assert steps["step"].tolist() == list(range(LENGTH))  # what they call "step" is something else
        assert (steps["episode"] == number).all()


@pytest.mark.filterwarnings("ignore:.*:UserWarning:minari")
def test_a_minari_dataset_without_a_flag_of_success_tells_nothing(collected):
    name = collected(reports_success=False)
    with pytest.warns(UserWarning, match="all count as successful"):
        assert all(steps["next", "success"][-1] for steps in checked(read_minari(name)))
    with pytest.warns(UserWarning, match="none counts as successful"):
        assert not any(steps["next", "success"].any() for steps in checked(read_minari(name, only_known=True)))


@pytest.mark.filterwarnings("ignore:.*:UserWarning:minari")
def test_observations_that_are_no_vectors_are_refused(collected):
    name = collected(observation_space=gym.spaces.Dict({"a": gym.spaces.Discrete(3)}))
    with pytest.raises(ValueError, match=r"must be vectors of numbers \(Box\) or pictures, by name, got Dict"):
        list(read_minari(name))


# LeRobot


def lerobot(root, frame, episode, columns=(), features=(), index=None):
    """A v3.0 dataset; the value of a state is the number of its frame."""
    (root / "data/chunk-000").mkdir(parents=True)
    (root / "meta").mkdir()
    total = len(frame)
    table = {
        "observation.state": pa.array([np.full(8, value, np.float32) for value in frame], pa.list_(pa.float32())),
        "action": pa.array(np.zeros(total, np.int64)),
        "timestamp": pa.array(np.asarray(frame, np.float32) / 10),
        "frame_index": pa.array(frame),
        "episode_index": pa.array(episode),
        "index": pa.array(np.arange(total) if index is None else index),
        "task_index": pa.array(np.zeros(total, np.int64)),
        **dict(columns),
    }
    parquet.write_table(pa.table(table), root / "data/chunk-000/file-000.parquet")
    described = {name: {"dtype": "float32", "shape": [1], "names": None} for name in table} | dict(features)
    info = {"codebase_version": "v3.0", "fps": 10, "features": described}
    (root / "meta/info.json").write_text(json.dumps(info), encoding="utf-8")
    return root


SOLVED = {"next.success": pa.array(([False] * (LENGTH - 1) + [True]) * 2)}
TWICE = np.tile(np.arange(LENGTH), 2), np.repeat([0, 1], LENGTH)


def png(value, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (value, 0, 0)).save(file, kind)
    return {"bytes": file.getvalue(), "path": None}


@pytest.mark.parametrize("order", ["restarts", "constant", "backwards"])
def test_frames_come_by_episode_and_number_whatever_their_index_says(tmp_path, order):
    frame, episode = TWICE
    index = {"restarts": frame, "constant": 0 * frame, "backwards": frame[::-1]}[order]
    shuffled = np.random.default_rng(0).permutation(len(frame))
    solved = {"next.success": pa.array(frame[shuffled] == LENGTH - 1)}
    root = lerobot(tmp_path / "set", frame[shuffled], episode[shuffled], solved, index=index)
    episodes = checked(read_lerobot(root))
    assert [steps["observation"][:, 0].tolist() for steps in episodes] == [list(range(LENGTH))] * 2
    assert [steps["episode"].unique().tolist() for steps in episodes] == [[0], [1]]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ([0, 1, 2, 0, 1, 2], "episode 7: 'frame_index' must be 0 to 5, each once, got 0 in place of 1; are these two"),
        ([0, 1, 2, 4, 5, 6], "episode 7: 'frame_index' must be 0 to 5, each once, got 4 in place of 3"),
        ([1, 2, 3, 4, 5, 6], "episode 7: 'frame_index' must be 0 to 5, each once, got 1 in place of 0"),
    ],
)
def test_an_episode_with_frames_missing_or_twice_is_named(tmp_path, frame, message):
    root = lerobot(tmp_path / "set", np.array(frame), np.full(6, 7), {"next.success": pa.array([True] * 6)})
    with pytest.raises(ValueError, match=message):
        list(read_lerobot(root))


def test_columns_that_are_no_numbers_are_left_out_with_a_word(tmp_path):
    columns = SOLVED | {
        "language_instruction": pa.array(["land"] * 2 * LENGTH),
        "observation.images.broken": pa.array([{"bytes": b"\x89PNG", "path": None}] * 2 * LENGTH),
        "observation.images.elsewhere": pa.array([{"bytes": None, "path": str(tmp_path / "it.png")}] * 2 * LENGTH),
    }
    Image.new("RGB", (4, 4)).save(tmp_path / "it.png")  # which is not read
    video = {"observation.images.film": {"dtype": "video", "shape": [4, 4, 3], "names": None}}
    root = lerobot(tmp_path / "set", *TWICE, columns, video)
    names = "language_instruction, observation.images.broken, observation.images.elsewhere, observation.images.film"
    with pytest.warns(UserWarning, match=f"set': left out are {names}"):
        episodes = checked(read_lerobot(root))
    assert len(episodes) == 2
    assert "frame" not in episodes[0].keys()


def test_pictures_become_frames_of_the_first_camera(tmp_path):
    shades = np.tile(np.arange(LENGTH) * 20, 2)
    columns = SOLVED | {
        "observation.images.top": pa.array([png(shade) for shade in shades]),
        "observation.images.wrist": pa.array([png(0, "JPEG")] * 2 * LENGTH),
    }
    episodes = checked(read_lerobot(lerobot(tmp_path / "set", *TWICE, columns)))
    assert episodes[0]["wrist"].shape == (LENGTH, 48, 64, 3)
    assert episodes[0]["top"][..., 0].float().mean((1, 2)).tolist() == shades[:LENGTH].tolist()

    # for an environment of a vector
    vector = gym.spaces.Box(-1, 100, (8,), np.float32)
    with pytest.warns(UserWarning, match="'somewhere' does not show wrist: left out"):
        episodes = checked(fitted(episodes, vector, gym.spaces.Discrete(2), "somewhere"))
    for steps in episodes:
        assert {"top", "wrist"}.isdisjoint(steps.keys())
        before = [int(decompress(frame)[..., 0].mean()) for frame in steps["frame"]]
        after = [int(decompress(frame)[..., 0].mean()) for frame in steps["next", "frame"]]
        assert before == pytest.approx(shades[:LENGTH], abs=3)
        assert after == pytest.approx([*shades[1:LENGTH], shades[LENGTH - 1]], abs=3)


def test_a_picture_that_cannot_be_read_later_names_its_episode(tmp_path):
    pictures = [png(0)] * (LENGTH + 3) + [{"bytes": b"\x89PNG", "path": None}] * (LENGTH - 3)
    root = lerobot(tmp_path / "set", *TWICE, SOLVED | {"observation.images.top": pa.array(pictures)})
    with pytest.raises(ValueError, match="set': episode 1: the first step has a picture"):
        run_import(read_lerobot, root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("rewards", "known"), [(None, False), (0.0, False), (-1.0, False), (1.0, True)])
def test_a_reward_or_nothing_tells_of_success(tmp_path, rewards, known):
    ends = np.tile(np.arange(LENGTH) == LENGTH - 1, 2)
    rewards = {} if rewards is None else {"next.reward": pa.array((rewards * ends).astype(np.float32))}
    root = lerobot(tmp_path / "set", *TWICE, rewards)
    if known:
        episodes = checked(read_lerobot(root, only_known=True))
        assert all(steps["next", "success"][-1] for steps in episodes)
    else:
        with pytest.warns(UserWarning, match="none counts as successful"):
            assert not any(steps["next", "success"].any() for steps in checked(read_lerobot(root, only_known=True)))
        with pytest.warns(UserWarning, match="all count as successful"):
            assert all(steps["next", "success"][-1] for steps in checked(read_lerobot(root)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"action": pa.array(["left"] * 2 * LENGTH)}, "are expected, there is no action"),
        ({"action": pa.array([None] * LENGTH + [1] * LENGTH)}, "episode 0: a value is missing in a column of numbers"),
        ({"observation.state": pa.array([[0.0] * (1 + i % 2) for i in range(2 * LENGTH)])}, "episode 0: "),
    ],
)
def test_a_malformed_table_gets_one_line_with_its_name(tmp_path, columns, message):
    root = lerobot(tmp_path / "set", *TWICE, SOLVED | columns)
    with pytest.raises(ValueError, match="set': ") as caught:
        run_import(read_lerobot, root, tmp_path / "out")
    assert message in str(caught.value)


@pytest.mark.parametrize("info", ["{", "[]", '{"codebase_version": "v3.0"}', '{"codebase_version": "v2.1"}'])
def test_a_description_that_is_not_lerobots_gets_one_line(tmp_path, info):
    root = lerobot(tmp_path / "set", *TWICE, SOLVED)
    (root / "meta/info.json").write_text(info)
    with pytest.raises(ValueError, match=r"set'.*(is damaged|not laid out as expected|v3.0 is expected, got v2.1)"):
        run_import(read_lerobot, root, tmp_path / "out")
