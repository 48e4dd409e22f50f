"""Results that depend on policies, environment and settings alone are made once; damaged ones are ignored."""

import json
from contextlib import closing

import pytest
import torch

from mile.envs import make_env, make_policy
from mile.policies import load_policy
from mile.running import cache
from mile.running.people import find_calibration, is_calibration
from mile.running.references import _is_evaluation
from mile.train import train
from tests.support import composed, smoke

KEY = {"environment": {"name": "nowhere"}, "number": 1}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MILE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def is_number(value):
    return isinstance(value, int)


def test_what_was_kept_is_recalled_by_all_that_it_depends_on():
    assert cache.recall("kind", KEY, is_number) is None
    cache.store("kind", KEY, 7)
    assert cache.recall("kind", KEY, is_number) == 7
    assert cache.recall("kind", {**KEY, "number": 2}, is_number) is None
    assert cache.recall("other", KEY, is_number) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "7",
        '{"depends_on": {}, "value": 7}',
        json.dumps({"depends_on": KEY}),
        json.dumps({"depends_on": KEY, "value": "seven"}),
        json.dumps({"depends_on": {**KEY, "number": 2}, "value": 7}),
    ],
)
def test_a_damaged_or_foreign_entry_is_ignored_with_one_line(folder, content):
    cache.store("kind", KEY, 7)
    (path,) = folder.iterdir()
    path.write_text(content)
    with pytest.warns(UserWarning, match="is damaged or foreign: it is ignored, and made anew") as warned:
        assert cache.recall("kind", KEY, is_number) is None
    assert len(warned) == 1
    cache.store("kind", KEY, 7)
    assert cache.recall("kind", KEY, is_number) == 7


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MILE_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be written .* set MILE_CACHE"):
        cache.store("kind", KEY, 7)


def test_a_policy_is_known_by_its_weights_its_architecture_and_what_it_sees():
    policy, again = load_policy("lunarlander/initial"), load_policy("lunarlander/initial")
    assert cache.fingerprint(policy) == cache.fingerprint(again) == cache.fingerprint(again.double())
    others = [load_policy("lunarlander/expert"), load_policy("lunarlander/initial", temperature=0.5)]
    seeing = load_policy("lunarlander/initial")
    seeing.in_keys = ("state",)
    changed = load_policy("lunarlander/initial")
    with torch.no_grad():
        changed.network[0].weight[0, 0] += 1e-6
    digests = {cache.fingerprint(other) for other in (policy, *others, seeing, changed)}
    assert len(digests) == 5


def test_an_environment_is_known_by_its_options_and_a_foreign_one_by_its_source():
    cfg = composed("train", "env=metaworld", "env.task=door-open-v3").env
    with closing(make_env("Counting-v0")) as foreign, closing(make_env("lunarlander")) as own:
        assert "source" in cache.describe_environment(cfg, foreign)
        assert cache.describe_environment(cfg, own) == {"name": "door-open-v3", "task": "door-open-v3"}


def test_a_calibration_is_one_only_with_finite_cost_and_scale():
    good = {
        "cost": 1.0,
        "scale": 2.0,
        "intervention_ratio": 0.2,
        "floor": 0.1,
        "auc": 0.9,
        "spread": 2.0,
        "metric": "return",
    }
    good |= {"return_alone": 1.0, "return_helped": 2.0}
    assert is_calibration(good)
    for bad in ({"cost": float("nan")}, {"scale": 0.0}, {"auc": "high"}, {"metric": "beauty"}):
        with pytest.raises((ValueError, KeyError)):
            is_calibration(good | bad)


def test_an_evaluation_has_as_many_finite_numbers_as_episodes():
    good = {"returns": [1.0, 2.0], "successes": [True, False], "lengths": [3, 4], "interventions": [0, 0]}
    assert _is_evaluation(2, good)
    assert not _is_evaluation(3, good)
    assert not _is_evaluation(2, good | {"returns": [1.0, float("nan")]})
    with pytest.raises(TypeError):
        _is_evaluation(2, good | {"more": []})


@pytest.mark.filterwarnings("ignore:no interventions in round")
def test_a_second_run_makes_neither_calibration_nor_reference_lines(tmp_path, capsys, folder):
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
    first = train(smoke(tmp_path / "first", "experiment=lunarlander"))
    printed = capsys.readouterr().out
    assert "calibrating" in printed
    assert printed.count("reference line over") == 3
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(kept) == 4

    second = train(smoke(tmp_path / "second", "experiment=lunarlander"))
    printed = capsys.readouterr().out
    assert "(known)" in printed
    assert "calibrating" not in printed
    assert "reference line over" not in printed
    for name, row in first.items():
        assert torch.equal(row.returns, second[name].returns)

    train(smoke(tmp_path / "third", "experiment=lunarlander", "cache=false"))
    assert "calibrating" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept


def test_a_person_does_not_wait_for_a_calibration(tmp_path):
    """Cost and scale are estimated from a few rollouts of the robot alone, and not kept."""
    cfg = smoke(tmp_path, "experiment=lunarlander", "human=browser")
    policies = [load_policy(f"lunarlander/{role}") for role in ("initial", "expert", "mental_model")]
    with closing(make_env("lunarlander", 4, max_episode_steps=60)) as env:
        figures, words = find_calibration(cfg, env, *policies)
    assert set(figures) == {"cost", "scale"}
    assert words.endswith("(estimated)")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("experiment", ["lunarlander", "drawer_open", "button_press", "peg_insert"])
def test_what_ships_is_known(experiment):
    """As the experiment's config asks for it."""
    cfg = composed("train", f"experiment={experiment}")
    policies = [load_policy(f"{experiment}/{role}") for role in ("initial", "expert", "mental_model")]
    with closing(make_env(experiment)) as env:
        _, words = find_calibration(cfg, env, *policies)
    assert words.endswith("(known)")


def test_an_estimate_expects_the_target_ratio():
    from mile.calibration import estimate_cost
    from mile.collection import collect_episodes
    from mile.intervention import intervention_log_probs

    torch.manual_seed(0)
    with closing(make_env("Counting-v0", 4)) as env:
        policy, expert, mental_model = (make_policy(env, hidden_dims=(8,)) for _ in range(3))
        cost, scale = estimate_cost(env, policy, expert, mental_model, target_ratio=0.3, num_episodes=6, seed=1)
        seen = collect_episodes(env, policy, 6, seed=1)["observation"]
    with torch.no_grad():
        _, log_prob = intervention_log_probs(expert(seen), mental_model(seen), cost, scale)
    assert float(log_prob.exp().mean()) == pytest.approx(0.3, abs=0.01)


def test_an_environment_without_a_file_is_never_the_same(monkeypatch):
    def no_file(_):
        raise TypeError("a built-in class")

    monkeypatch.setattr("inspect.getfile", no_file)
    cfg = composed("train", "env=lunarlander").env
    with closing(make_env("Counting-v0")) as env:
        assert cache.describe_environment(cfg, env) != cache.describe_environment(cfg, env)
