import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from mile.collection import collect_episodes
from mile.commands.data import draw
from mile.datamodules import InterventionBuffer
from mile.envs import make_env
from mile.recordings.playback import draw_episode
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


def test_an_episode_that_cannot_be_played_again_is_drawn_without_pictures(tmp_path):
    """The config beside it has another seed, as that of a run which learns from an imported recording."""
    steps = collect_episodes(
        make_env("lunarlander"), lambda step: step.set("action", torch.ones(1).long()), [0], seed=3
    )
    steps["attended"].fill_(True)
    InterventionBuffer(tmp_path / "buffer", "lunarlander").append(steps)
    OmegaConf.save({"env": {}, "callbacks": {"deployment": {"seed": 4}}}, tmp_path / "config.yaml")
    with pytest.warns(match="no pictures: the episode cannot be played again as it was"):
        draw(tmp_path, 0, 0, tmp_path / "episode.png")
    assert (tmp_path / "episode.png").stat().st_size > 1000


def test_an_episode_without_an_end_is_drawn():
    steps = episode()
    for end in ("success", "terminated", "truncated"):
        steps["next", end].fill_(False)
    assert "no end" in draw_episode(steps).get_suptitle()


def test_without_pictures_there_are_none():
    assert recorded_frames(episode()) is None
