import sys

import mujoco
import numpy as np
import pytest
import torch
from PIL import Image
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.commands.data import main as mile_data
from mile.datamodules import InterventionBuffer, InterventionDataModule
from mile.envs import InterventionTransform, make_env
from mile.envs.frames import decompress
from mile.hardware.desk import Desk
from mile.hardware.kinematics import forward
from mile.hardware.robot_env import insert
from mile.hardware.safety import Limits, SafetyError, SafetyKernel
from mile.hardware.simulated.bench import SimulatedBench
from mile.hardware.simulated.widowx import inject
from mile.hardware.wx250s import JOINT_HIGH, JOINT_LOW, READY, SLEEP
from mile.humans import SimulatedHuman
from mile.humans.human import Decision, Human
from mile.ingredients.demonstrations import ScriptedPolicy
from mile.policies import load_policy
from tests.graphics import needs_graphics
from tests.hardware.brightness import brightness


@pytest.fixture
def bench():
    simulated = SimulatedBench()
    yield simulated
    simulated.close()


def test_a_desk_says_whether_its_arm_is_real():
    assert Desk.real is True
    assert SimulatedBench.real is False


def test_a_missing_renderer_is_named_when_a_simulator_is_made(monkeypatch):
    """MuJoCo is imported anew, as in a program that has not yet needed it."""
    for module in ("mujoco", "mujoco.gl_context"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setenv("MUJOCO_GL", "vulkan")
    with pytest.raises(ValueError, match=r"cannot be imported with MUJOCO_GL=vulkan \(invalid value.*set MUJOCO_GL to"):
        SimulatedBench()


def test_without_mujoco_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '.\[hardware\]' in the checkout's folder"):
        SimulatedBench()


def test_a_camera_without_a_renderer_names_the_missing_one(bench, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "vulkan")
    with pytest.raises(RuntimeError, match=r"cannot render offscreen with MUJOCO_GL=vulkan .*install libegl1"):
        bench.camera.read()


def test_mujocos_arm_is_that_of_the_kinematics(bench):
    rng = np.random.default_rng(0)
    for _ in range(50):
        angles = rng.uniform(-1.5, 1.5, 6)
        bench.data.qpos[bench.joints] = angles
        mujoco.mj_kinematics(bench.model, bench.data)
        hand, pose = bench.data.site("hand"), forward(angles)
        np.testing.assert_allclose(hand.xpos, pose[:3, 3], atol=1e-9)
        np.testing.assert_allclose(hand.xmat.reshape(3, 3), pose[:3, :3], atol=1e-9)


def lowest(bench, angles):
    """Height of the lowest point of the links from the upper arm to the wrist, m."""
    bench.data.qpos[bench.joints] = angles
    mujoco.mj_kinematics(bench.model, bench.data)
    links = [geom for geom in range(bench.model.ngeom) if 2 <= bench.model.geom_bodyid[geom] <= 5]
    assert len(links) == 4
    radius, half = bench.model.geom_size[links, :2].T
    return (bench.data.geom_xpos[links, 2] - half * np.abs(bench.data.geom_xmat[links, 8]) - radius).min()


def test_wherever_the_hand_may_be_no_other_link_comes_near_the_table(bench):
    """The safety kernel checks the hand alone; this shows that it is enough."""
    limits, kernel = Limits(), SafetyKernel(Limits(), JOINT_LOW, JOINT_HIGH)
    assert min(lowest(bench, angles) for angles in kernel.path(SLEEP, READY, 0.2)) > 0.03

    # random goals in the workspace
    rng, angles, target, heights = np.random.default_rng(0), READY, forward(READY)[:3, 3], []
    for goal in rng.uniform(limits.low, limits.high, (30, 3)):
        for _ in range(20):
            motion = kernel.step(target, angles, np.clip(goal - target, -limits.step, limits.step), 0.2)
            target, angles = motion.target, motion.angles
            heights.append(lowest(bench, angles))
    assert min(heights) > 0.08  # where the upper arm begins


def test_the_block_goes_into_the_hole_and_not_through_the_rim():
    env = make_env("widowx_peg", bench=SimulatedBench)
    scripted = ScriptedPolicy(*env.simulator.scripted())
    steps = collect_episodes(env, scripted, 2, seed=1)
    assert steps["next", "success"].sum() == 2

    # a hole that is not where the policy believes
    beside = ScriptedPolicy(lambda state: insert(state + np.array([0, 0, 0, 0, 0.02, 0])), 6)
    missed = collect_episodes(env, beside, 1, seed=1)
    assert not missed["next", "success"].any()
    assert len(missed) == 60
    env.close()


def test_an_episode_of_a_seed_is_the_same_again():
    first, second = (
        collect_episodes(env, ScriptedPolicy(*env.simulator.scripted(), noise=0.3), [3, 1], seed=5)
        for env in (make_env("widowx_peg", bench=SimulatedBench), make_env("widowx_peg", bench=SimulatedBench))
    )
    for number in (1, 3):
        one, other = (steps["observation"][steps["episode"] == number] for steps in (first, second))
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)  # m: encoders count 1.5 mrad


class Pusher(Human):
    """Takes over in every second step, and pushes out of the workspace."""

    def __init__(self):
        self.step = 0

    def decide(self, step):
        self.step += 1
        action = torch.tensor([[1.0, 1.0, 0.0, 1.0]])
        return Decision(torch.tensor([self.step % 2 == 0]), action, torch.full((1,), 0.5))


def test_the_clipped_action_is_recorded():
    env = make_env("widowx_peg", bench=SimulatedBench, max_episode_steps=40)
    robot = ScriptedPolicy(lambda state: np.array([0.0, 1.0, 0.0, 1.0]), 6)
    steps = collect_episodes(TransformedEnv(env, InterventionTransform(Pusher())), robot, 1, seed=0)

    # an action is cut at the wall
    executed = steps["executed_action"]
    wished = torch.where(steps["intervened"].unsqueeze(-1), steps["human_action"], steps["robot_action"])
    assert torch.equal(executed[:5], wished[:5])
    assert (executed[-1, 1], wished[-1, 1]) == (0, 1)  # at the wall

    # the hand moves by the executed actions
    hand = torch.cat([steps["observation"][:1, -6:-3], steps["next", "observation"][:, -6:-3]])
    moved = (hand[-1] - hand[0]) / Limits().step
    torch.testing.assert_close(moved, executed[:, :3].sum(0), atol=0.4, rtol=0)  # the arm lags and sags by millimetres
    assert (wished[:, :3].sum(0) - moved).abs().max() > 5  # the wished actions alone would not tell
    env.close()


def test_a_fault_ends_the_program_in_a_line_the_arm_holds_and_no_finished_episode_is_lost(tmp_path):
    env = make_env("widowx_peg", bench=SimulatedBench)
    scripted = ScriptedPolicy(*env.simulator.scripted())
    buffer, bench = InterventionBuffer(tmp_path, "widowx_peg"), None

    def keep(steps):
        nonlocal bench
        buffer.append(steps)
        bench = env.simulator.bench
        inject(bench.bus, "overload")  # amid the next episode

    with pytest.raises(SafetyError, match=r"servo 2 \(shoulder\) reports overload"):
        collect_episodes(env, scripted, 3, seed=0, on_episode=keep)
    assert bench.robot.frozen

    # the buffer
    again = InterventionBuffer(tmp_path, "widowx_peg")
    assert [record.episode for record in again.episodes] == [0]
    assert again.steps["next", "success"][-1]
    env.close()


@needs_graphics
def test_pictures_are_observed_as_embeddings_beside_the_hand():
    env = make_env("widowx_peg", bench=SimulatedBench, encoder=brightness, embedding=3, max_episode_steps=3)
    steps = collect_episodes(env, lambda step: step.set("action", torch.tensor([[0.0, 1.0, 0.0, 1.0]])), 1, seed=0)
    newest, before = steps["next", "observation"].reshape(3, 4, 6), steps["observation"].reshape(3, 4, 6)
    assert torch.equal(newest[:, :3], before[:, 1:])
    assert ((newest[:, 3, :3] > 5) & (newest[:, 3, :3] < 250)).all()
    torch.testing.assert_close(newest[:, 3, 4].diff(), torch.full((2,), Limits().step), atol=3e-3, rtol=0)
    env.close()


@needs_graphics
def test_a_human_sees_the_state_where_the_robot_sees_pictures():
    """The same expert does the same, whether the state is the observation or beside it."""
    plain = make_env("widowx_peg", bench=SimulatedBench)
    pictured = make_env("widowx_peg", bench=SimulatedBench, encoder=brightness, embedding=3, frames=True)
    steps = {}
    for env, sees in ((plain, "observation"), (pictured, "state")):
        expert = load_policy("widowx_peg/expert", in_keys=[sees])
        mental_model = load_policy("widowx_peg/initial", in_keys=[sees])
        human = SimulatedHuman(expert, mental_model, cost=5.0, scale=2.0)
        supervised = TransformedEnv(env, InterventionTransform(human))
        steps[sees] = collect_episodes(supervised, mental_model, 1, seed=3)
        env.close()

    # the same steps
    assert steps["observation"]["intervened"].any()
    torch.testing.assert_close(steps["state"]["state"], steps["observation"]["observation"], atol=2e-3, rtol=0)
    assert torch.equal(steps["state"]["intervened"], steps["observation"]["intervened"])
    assert steps["state"]["observation"].shape[-1] == 4 * (3 + 3)

    # not one of each
    with pytest.raises(ValueError, match="the expert observes 'state', the mental model 'observation'"):
        SimulatedHuman(load_policy("widowx_peg/expert", in_keys=["state"]), load_policy("widowx_peg/initial"), 5.0, 2.0)


@needs_graphics
def test_pictures_are_recorded_and_shown_but_not_learnt_from(tmp_path, monkeypatch):
    env = make_env("widowx_peg", bench=SimulatedBench, frames=True, render_mode="rgb_array", max_episode_steps=6)
    scripted = ScriptedPolicy(*env.simulator.scripted())
    steps = collect_episodes(env, scripted, 1, seed=0)
    last = env.render()
    env.close()

    # recorded
    data = InterventionDataModule(tmp_path, "widowx_peg")
    data.buffer.append(steps)
    again = InterventionBuffer(tmp_path, "widowx_peg").steps
    assert torch.equal(again["next", "frame"][:-1], again["frame"][1:])
    picture = decompress(again["next", "frame"][-1])
    assert picture.shape == last.shape
    assert np.abs(picture.astype(int) - last).mean() < 4  # of 255: the loss of JPEG

    # not learnt from
    (batch,) = data.batches()
    assert not {"frame", ("next", "frame")} & set(batch.keys(True, True))

    # shown
    drawn = tmp_path / "episode.gif"
    monkeypatch.setattr(sys, "argv", ["mile-data", "show", str(tmp_path), "--episode", "0", "--output", str(drawn)])
    mile_data()
    with Image.open(drawn) as animation:
        assert (animation.n_frames, animation.size) == (6, (224, 224))


@needs_graphics
def test_a_frozen_camera_holds_the_arm():
    benches = []

    def frozen():
        benches.append(SimulatedBench(fault="frozen_camera"))
        return benches[0]

    env = make_env("widowx_peg", bench=frozen, frames=True)
    with pytest.raises(SafetyError, match=r"newest picture is 0\.6 s old"):
        collect_episodes(env, lambda step: step.set("action", torch.zeros(1, 4)), 1, seed=0)
    assert benches[0].robot.frozen


@needs_graphics
def test_the_camera_sees_the_block_go(bench):
    before, _ = bench.camera.read()
    bench.robot.connect()
    bench.prepare(0)
    after, picture_time = bench.camera.read()
    assert before.shape == (224, 224, 3)
    assert (before != after).any(-1).mean() > 0.01
    assert picture_time == bench.bus.now()
