import pytest
from omegaconf import OmegaConf

from mile.running.references import check_alike
from tests.support import composed


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("policy.head=mixture", None),
        ("env.num_envs=2", None),
        ("policy.chunk=4", None),
        ("policy.name=lunarlander/expert", "policy"),
        ("evaluation.num_episodes=3", "evaluation"),
        ("human.corrections=nudge", "human"),
    ],
)
def test_a_run_is_like_one_that_differs_in_what_its_human_never_met(tmp_path, word, part):
    """The learner's own kind of policy comes after the calibration and the reference lines."""
    OmegaConf.save(composed("train", "experiment=drawer_open", f"output_dir={tmp_path}"), tmp_path / "config.yaml")
    (tmp_path / "results.json").touch()
    cfg = composed("train", "experiment=drawer_open", f"output_dir={tmp_path}", word, f"like={tmp_path}")
    if part is None:
        check_alike(cfg)
    else:
        with pytest.raises(ValueError, match=f"used a different {part}; choose one with the same"):
            check_alike(cfg)
