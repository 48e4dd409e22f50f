import numpy as np

from mile.collection import collect_episodes
from mile.commands.data import draw
from mile.datamodules import InterventionBuffer
from mile.envs import make_env
from mile.recordings.video import BORDER, recorded_frames
from tests.support import act_by_step, episode


def test_an_episode_is_drawn_with_the_pictures_that_were_observed(tmp_path):
    steps = collect_episodes(make_env("CountingShown-v0"), act_by_step, [0], seed=0)
    steps["attended"].fill_(True)
    steps["intervened"][1] = True
    steps["human_action"][1] = 3
    frames = recorded_frames(steps)
    np.testing.assert_array_equal(frames[0], steps["next", "pixels"][0].numpy())
    assert (frames[1][:BORDER] == (220, 40, 40)).all()

    buffer = InterventionBuffer(tmp_path / "buffer", "CountingShown-v0")
    buffer.append(steps)
    draw(tmp_path, 0, 0, tmp_path / "episode.gif")
    assert (tmp_path / "episode.gif").stat().st_size > 1000


def test_without_pictures_there_are_none():
    assert recorded_frames(episode()) is None
