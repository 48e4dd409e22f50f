"""Data sets of others at the command line: what is taken, what is refused, and what can be learnt from it."""

import re
import sys

import h5py
import numpy as np
import pytest
import torch
from torchrl.envs import TransformedEnv

from mile.callbacks import DeploymentCallback, EvaluationCallback, InterventionModelCallback, LearningCallback
from mile.commands import data
from mile.datamodules import InterventionBuffer, InterventionDataModule
from mile.datamodules.recorded import demonstrations, open_recording, take_recording
from mile.envs import InterventionTransform, make_env, make_policy
from mile.envs.make import environment_spaces
from mile.ingredients.demonstrations import clone_demonstrations
from mile.methods import IWR, MILE, BCIntervention, HGDAgger, Sirius
from mile.train import train
from mile.transitions import DEMONSTRATION
from tests.support import EveryThird, contents, episode, quiet_trainer, smoke

LENGTH = 10


def demos(path, episodes=3, width=2, actions=None, rewards=None, **attributes):
    """A robomimic file as others write them: float64, and whole actions `[steps, 1]`."""
    with h5py.File(path, "w") as file:
        for number in range(episodes):
            demo = file.create_group(f"data/demo_{number}")
            demo["obs/state"] = np.arange(LENGTH * width, dtype=float).reshape(LENGTH, width) + number
            demo["actions"] = np.arange(LENGTH)[:, None] % 5 if actions is None else actions
            demo["rewards"] = np.r_[np.zeros(LENGTH - 1), 1.0] if rewards is None else rewards
            demo["dones"] = np.r_[np.zeros(LENGTH - 1, int), 1]
    return path


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Call the program in a folder of its own; return what it printed."""
    monkeypatch.chdir(tmp_path)

    def program(*words):
        monkeypatch.setattr(sys, "argv", ["mile-data", *map(str, words)])
        data.main()
        return capsys.readouterr().out

    return program


def importing(path, env="Counting-v0", output="rec/people"):
    return "import", path, "--from", "robomimic", "--env", env, "--output", output


# is it the environment's?


@pytest.mark.parametrize("name", ["lunarlander", "drawer_open", "CountingBox-v0"])
def test_an_environments_spaces_are_those_that_it_is_played_with(name):
    observation, action = environment_spaces(name)
    env = make_env(name)
    assert observation.shape == env.observation_spec["observation"].shape[1:]
    if action.shape:
        assert action.shape == env.action_spec.shape[1:]
    else:
        assert action.n == env.action_spec_unbatched.n
    env.close()


def test_a_desk_is_not_connected_to_know_its_spaces():
    observation, action = environment_spaces("widowx_peg")
    assert (observation.shape, action.shape) == ((24,), (4,))


REFUSED = {
    "an unknown environment": ({}, "Conting-v0", r"unknown environment 'Conting-v0'; expected lunarlander"),
    "another width": (
        {"width": 3},
        "Counting-v0",
        r"episode 0: observations must be vectors of 2 numbers, as 'Counting-v0' has them, got vectors of 3 numbers",
    ),
    "continuous actions": (
        {"actions": np.zeros((LENGTH, 2))},
        "Counting-v0",
        r"'executed_action' must be whole numbers \(discrete\), as 'Counting-v0' has them, got vectors of 2 numbers",
    ),
    "discrete actions": (
        {},
        "CountingBox-v0",
        r"'executed_action' must be vectors of 2 numbers, as 'CountingBox-v0' has them, got whole numbers \(discrete\)",
    ),
    "actions of another width": (
        {"actions": np.zeros((LENGTH, 3))},
        "CountingBox-v0",
        r"'executed_action' must be vectors of 2 numbers, as 'CountingBox-v0' has them, got vectors of 3 numbers",
    ),
    "an action that is none": (
        {"actions": np.full((LENGTH, 1), 5)},
        "Counting-v0",
        r"'executed_action' must be 0 to 4, as 'Counting-v0' has it, got 5 at step 0",
    ),
    "an action below all": (
        {"actions": np.full((LENGTH, 1), -1)},
        "Counting-v0",
        r"'executed_action' must be 0 to 4, as 'Counting-v0' has it, got -1 at step 0",
    ),
    "no episode": ({"episodes": 0}, "Counting-v0", "a group 'data' with the demonstrations is expected"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_an_environment_could_not_have_recorded_is_refused_in_a_line(tmp_path, call, kind):
    changes, env, message = REFUSED[kind]
    demos(tmp_path / "demos.hdf5", **changes)
    with pytest.raises(SystemExit, match=message) as caught:
        call(*importing("demos.hdf5", env))
    assert str(caught.value).startswith("error: ")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "rec").exists()


def test_a_data_set_without_episodes_is_refused(tmp_path, call):
    with h5py.File(tmp_path / "demos.hdf5", "w") as file:
        file.create_group("data")
    with (
        pytest.warns(UserWarning, match="does not tell"),
        pytest.raises(SystemExit, match=r"'demos\.hdf5' holds no episodes"),
    ):
        call(*importing("demos.hdf5"))
    assert not (tmp_path / "rec").exists()


def test_numbers_become_those_that_networks_have(tmp_path, call):
    demos(tmp_path / "demos.hdf5")
    assert "3 episodes, 30 steps" in call(*importing("demos.hdf5"))
    steps = open_recording(tmp_path / "rec/people").steps
    assert (steps["observation"].dtype, steps["next", "reward"].dtype) == (torch.float32, torch.float32)
    assert (steps["human_action"].dtype, steps["human_action"][:6].tolist()) == (torch.int64, [0, 1, 2, 3, 4, 0])


def test_continuous_actions_beyond_the_bounds_are_clipped_with_a_word(tmp_path, call):
    actions = np.zeros((LENGTH, 2))
    actions[4] = 0.5, -3.0
    demos(tmp_path / "demos.hdf5", actions=actions)
    with pytest.warns(UserWarning, match=r"3 of 30 actions lie beyond the bounds of 'CountingBox-v0', by up to 2"):
        call(*importing("demos.hdf5", "CountingBox-v0"))
    steps = open_recording(tmp_path / "rec/people").steps
    assert steps["executed_action"][4].tolist() == [0.5, -1.0]
    assert steps["human_action"][4].tolist() == [0.5, -3.0]


# all or nothing


def test_a_broken_episode_is_named_and_nothing_is_left_until_it_is_mended(tmp_path, call):
    actions = np.zeros((LENGTH, 2))
    demos(tmp_path / "demos.hdf5", actions=actions)
    with h5py.File(tmp_path / "demos.hdf5", "r+") as file:
        file["data/demo_1/actions"][4, 1] = np.nan
    message = r"'demos.hdf5': episode 1: 'executed_action' must be finite, got \[0.0, nan\] at step 4"
    with pytest.raises(SystemExit, match=message):
        call(*importing("demos.hdf5", "CountingBox-v0"))
    assert not (tmp_path / "rec").exists()
    demos(tmp_path / "demos.hdf5", actions=actions)
    assert "3 episodes, 30 steps" in call(*importing("demos.hdf5", "CountingBox-v0"))


def test_a_second_data_set_is_numbered_on_or_leaves_the_first_as_it_was(tmp_path, call):
    demos(tmp_path / "demos.hdf5")
    call(*importing("demos.hdf5"))
    before = contents(tmp_path / "rec/people")
    demos(tmp_path / "more.hdf5", episodes=2)
    with h5py.File(tmp_path / "more.hdf5", "r+") as file:
        del file["data/demo_1/obs"]
    with pytest.raises(SystemExit, match=r"more.hdf5': episode 1 \(demo_1\) is not laid out as expected"):
        call(*importing("more.hdf5"))
    assert contents(tmp_path / "rec/people") == before
    demos(tmp_path / "more.hdf5", episodes=2)
    assert "5 episodes, 50 steps" in call(*importing("more.hdf5"))
    buffer = open_recording(tmp_path / "rec/people")
    assert [episode[:2] for episode in buffer.episodes] == [(DEMONSTRATION, number) for number in range(5)]
    assert buffer.steps["observation"][::LENGTH, 0].tolist() == [0, 1, 2, 0, 1]


def test_an_output_that_is_something_else_is_left_alone(tmp_path, call):
    demos(tmp_path / "demos.hdf5")
    (tmp_path / "rec/people").mkdir(parents=True)
    (tmp_path / "rec/people/thesis.tex").write_text("precious")
    with pytest.raises(SystemExit, match="not a buffer's folder"):
        call(*importing("demos.hdf5"))
    assert [path.name for path in (tmp_path / "rec/people").iterdir()] == ["thesis.tex"]


def test_a_package_that_is_missing_is_named_with_what_installs_it(tmp_path, call, monkeypatch):
    demos(tmp_path / "demos.hdf5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SystemExit, match=r"h5py.*; pip install '\.\[exchange\]' in the checkout's folder"):
        call(*importing("demos.hdf5"))


# learnt from


@pytest.fixture
def unknown(tmp_path, call):
    """A recording of demonstrations whose outcome nothing tells."""
    demos(tmp_path / "demos.hdf5", rewards=np.zeros(LENGTH))
    with pytest.warns(UserWarning, match="all count as successful"):
        call(*importing("demos.hdf5"))
    return tmp_path / "rec/people"


def test_demonstrations_whose_outcome_nothing_tells_are_cloned(unknown):
    env = make_env("Counting-v0")
    steps = demonstrations(env, unknown)
    assert len(steps) == 3 * LENGTH
    student = make_policy(env, hidden_dims=(8,))
    _, updates = clone_demonstrations(env, lambda env: demonstrations(env, unknown), student, steps=2, seed=0)
    assert updates == 2


def test_unless_only_known_successes_are_wanted(tmp_path, call):
    demos(tmp_path / "demos.hdf5", rewards=np.zeros(LENGTH))
    with pytest.warns(UserWarning, match="none counts as successful"):
        call(*importing("demos.hdf5"), "--successful")
    with pytest.raises(ValueError, match="holds no successful demonstration"):
        demonstrations(make_env("Counting-v0"), tmp_path / "rec/people")


def test_only_the_successful_ones_are_cloned_where_that_is_told(tmp_path, call):
    demos(tmp_path / "demos.hdf5")
    with h5py.File(tmp_path / "demos.hdf5", "r+") as file:
        file["data/demo_1/rewards"][:] = 0
    call(*importing("demos.hdf5"))
    steps = demonstrations(make_env("Counting-v0"), tmp_path / "rec/people")
    assert steps["episode"].unique().tolist() == [0, 2]


def test_no_recording_is_said_and_makes_no_folder(tmp_path):
    with pytest.raises(ValueError, match="holds no recorded episodes"):
        demonstrations(make_env("Counting-v0"), tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def double(number, deployment_round):
    """What was recorded in float64, before that was converted."""
    steps = episode(number, deployment_round)
    for key in ("observation", ("next", "observation"), ("next", "reward")):
        steps[key] = steps[key].double()
    if deployment_round == DEMONSTRATION:
        steps["intervened"][:] = True
        steps["human_action"] = steps["robot_action"].clone()
        steps["next", "success"][-1] = True
    return steps


@pytest.mark.filterwarnings("ignore:no interventions in round")
def test_what_was_recorded_in_float64_is_learnt_from(tmp_path):
    InterventionBuffer(tmp_path / "rec", "Counting-v0").extend([double(0, DEMONSTRATION), double(0, 0), double(5, 2)])
    env = make_env("Counting-v0")
    assert demonstrations(env, tmp_path / "rec")["observation"].dtype == torch.float32
    data_module = InterventionDataModule(tmp_path / "own", "Counting-v0", 16)
    for _ in range(2):  # what is there already is left alone
        take_recording(tmp_path / "rec", data_module.buffer)  # a buffer's own folder
    buffer = data_module.buffer
    assert [episode[:2] for episode in buffer.episodes] == [(DEMONSTRATION, 0), (0, 0), (0, 1)]
    assert buffer.steps["observation"].dtype == torch.float32
    assert buffer.steps["timestamp"].dtype == torch.float64
    fit(HGDAgger(make_policy(env, hidden_dims=(8,))), data_module, env)


def fit(method, data_module, env):
    """One round of learning from a recording, with all that looks at it."""
    supervised = TransformedEnv(env, InterventionTransform(EveryThird()))
    deployment = DeploymentCallback(supervised, num_rounds=1, episodes_per_round=None, epochs_per_round=1)
    looking = InterventionModelCallback(), LearningCallback(), EvaluationCallback(env, 2, 0, 1)
    trainer = quiet_trainer(deployment, *looking)
    trainer.fit(method, datamodule=data_module)
    return deployment.outcomes


@pytest.mark.parametrize("method", [HGDAgger, IWR, Sirius, BCIntervention])
def test_a_method_learns_from_demonstrations_alone(tmp_path, unknown, method):
    env = make_env("Counting-v0", num_envs=2)
    data_module = InterventionDataModule(tmp_path / "own", "Counting-v0", 16)
    take_recording(unknown, data_module.buffer)
    policy = make_policy(env, hidden_dims=(8,))
    before = [weight.clone() for weight in policy.parameters()]
    (outcome,) = fit(method(policy), data_module, env)
    assert (outcome.success_rate, outcome.lengths.tolist()) == (1.0, [LENGTH] * 3)
    assert any(not torch.equal(one, other) for one, other in zip(before, policy.parameters(), strict=True))


def test_mile_refuses_demonstrations_in_a_line(tmp_path, unknown):
    env = make_env("Counting-v0", num_envs=2)
    data_module = InterventionDataModule(tmp_path / "own", "Counting-v0", 16)
    take_recording(unknown, data_module.buffer)
    policy, mental_model = make_policy(env, hidden_dims=(8,)), make_policy(env, hidden_dims=(8,))
    with pytest.raises(ValueError, match="MILE learns from deployments alone, got 30 steps of demonstrations"):
        fit(MILE(policy, mental_model, cost=1.0, scale=1.0), data_module, env)


@pytest.mark.filterwarnings("ignore:no interventions in round")
def test_a_whole_run_learns_from_what_was_imported(tmp_path, call, capsys):
    demos(tmp_path / "demos.hdf5", width=8, actions=np.arange(LENGTH)[:, None] % 4)
    call(*importing("demos.hdf5", "lunarlander"))
    overrides = "experiment=lunarlander", "method=bc_intervention", "protocol=same_data", "data.from=rec/people"
    rows = train(smoke(tmp_path, *overrides))
    assert "learnt policy" in rows
    assert re.search(r"│ 1 +│ +30 │ +30 │ +100\.0% │", capsys.readouterr().out)


def test_a_value_that_no_step_has_is_named(tmp_path, call):
    path = demos(tmp_path / "demos.hdf5")
    with pytest.raises(SystemExit, match="nothing says who acted, and the human's value is 'teleop'"):
        call(*importing("demos.hdf5"), "--human", "teleop")
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            demo["action_modes"] = np.arange(LENGTH) % 2
    with pytest.raises(SystemExit, match="no step is the human's: 'teleop' is in none of them; see --human"):
        call(*importing("demos.hdf5"), "--human", "teleop")
    assert not (tmp_path / "rec/people").exists()
    assert "15 of them by the human" in call(*importing("demos.hdf5"), "--human", "1")
