"""A folder from elsewhere is data: whatever its files name, no program runs it."""

import json
import pickle
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from mile import evaluate, pretrain, report, train
from mile.commands import data
from mile.running.targets import shipped_entries

pytestmark = [pytest.mark.usefixtures("as_a_program"), pytest.mark.filterwarnings("ignore:no pictures")]


class Touch:
    """A pickle of this touches a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def call(main, *words):
    """Call a program; return the line with which it ended, if any."""
    sys.argv = ["program", *map(str, words)]
    try:
        main()
    except SystemExit as left:
        return str(left.code)
    return ""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of two short rounds."""
    folder = tmp_path_factory.mktemp("foreign") / "run"
    before = sys.argv
    call(train.main, "experiment=lunarlander", "debug=smoke", "logger=none", f"hydra.run.dir={folder}")
    sys.argv = before
    assert (folder / "results.json").exists()
    return folder


@pytest.fixture
def folder(finished, tmp_path, monkeypatch):
    """A copy of that run as somebody else might hand it over, in a working directory of its own."""
    monkeypatch.setattr("sys.argv", sys.argv)
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(finished, tmp_path / "gift"))


def pickled(marker, save=lambda content, path: path.write_bytes(pickle.dumps(content))):
    path = marker.with_name(f"{marker.name}.pkl")
    save(Touch(marker), path)
    return str(path)


def numpy_pickled(marker):
    np.save(marker.with_name("payload.npy"), np.array([Touch(marker)]), allow_pickle=True)
    return str(marker.with_name("payload.npy"))


# what a config may name: at a key, given the path of a file that must not be there afterwards
PAYLOADS = {
    "a shell": lambda marker: {"env.max_episode_steps": {"_target_": "os.system", "_args_": [f"touch {marker}"]}},
    "a program": lambda marker: {"variant": {"_target_": "subprocess.run", "args": ["touch", str(marker)]}},
    "code": lambda marker: {"env._target_": "builtins.exec", "env._args_": [f"open({str(marker)!r}, 'w')"]},
    "a path's method": lambda marker: {
        "method.optimizer.lr": {
            "_target_": "pathlib.Path.write_text",
            "_args_": [{"_target_": "pathlib.Path", "_args_": [str(marker)]}, "x"],
        }
    },
    "a re-export under our name": lambda marker: {
        "policy._target_": "mile.train.Path.touch",
        "policy._args_": [{"_target_": "mile.train.Path", "_args_": [str(marker)]}],
    },
    "our own function": lambda marker: {
        "logger": {
            "_target_": "mile.files.write_text",
            "path": {"_target_": "mile.files.Path", "_args_": [str(marker)]},
            "text": "x",
        }
    },
    "a re-export under Lightning's name": lambda marker: {
        "trainer._target_": "lightning.pytorch.loggers.tensorboard.os.system",
        "trainer._args_": [f"touch {marker}"],
    },
    "a pickle by torch": lambda marker: {
        "human.expert": {"_target_": "torch.load", "f": pickled(marker, torch.save), "weights_only": False}
    },
    "a pickle by NumPy": lambda marker: {
        "callbacks.evaluation.num_episodes": {
            "_target_": "numpy.load",
            "file": numpy_pickled(marker),
            "allow_pickle": True,
        }
    },
    "a pickle by joblib": lambda marker: {"callbacks.more": {"_target_": "joblib.load", "filename": pickled(marker)}},
    "deep in a list": lambda marker: {
        "trainer.plugins": [{"deep": [{"_target_": "os.mkdir", "path": str(marker)}]}],
    },
    "a name that is put together": lambda marker: {
        "word": "system",
        "mental_model._target_": "os.${word}",
        "mental_model._args_": [f"touch {marker}"],
    },
    "a target made by an interpolation": lambda marker: {
        "env.gravity": "${oc.create:{_target_:os.mkdir,path:'" + str(marker) + "'}}"
    },
    "a target of ours where it does not belong": lambda marker: {
        "env.max_episode_steps": {
            "_target_": "mile.datamodules.InterventionDataModule",
            "folder": str(marker),
            "environment": "lunarlander",
        }
    },
    "a partial": lambda marker: {
        "human.calibrate": {"_target_": "os.mkdir", "_partial_": True, "path": str(marker)},
    },
}
PROGRAMS = {
    "show": (data.main, "show", "{}"),
    "draw": (data.main, "show", "{}", "--episode", "0", "--output", "episode.png"),
    "export": (data.main, "export", "{}", "--to", "robomimic", "--output", "gift.hdf5"),
    "evaluate": (evaluate.main, "checkpoint={}/policy", "num_episodes=1", "hydra.run.dir=judged"),
    "report": (report.main, "runs", "{}"),
    "study": (report.main, "study", "{}"),
    "resume": (train.main, "ckpt_path={}"),
    "resume in its place": (train.main, "experiment=lunarlander", "debug=smoke", "logger=none", "hydra.run.dir={}"),
    "take its human": (train.main, "experiment=lunarlander", "debug=smoke", "like={}", "hydra.run.dir=mine"),
}


def poison(folder, payload, marker):
    cfg = OmegaConf.load(folder / "config.yaml")
    for key, value in payload(marker).items():
        OmegaConf.update(cfg, key, value, merge=False, force_add=True)
    OmegaConf.save(cfg, folder / "config.yaml")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_program_runs_what_a_config_names(folder, tmp_path, payload, capsys):
    marker = tmp_path / "it_ran"
    poison(folder, PAYLOADS[payload], marker)
    for name, (main, *words) in PROGRAMS.items():
        line = call(main, *(word.format(folder) for word in words))
        assert not marker.exists(), name
        assert "\n" not in line
        if name == "resume":
            assert "as no shipped config does: nothing was built" in line
        elif name.startswith("resume"):
            assert line.startswith("error: "), line
    if payload != "a target made by an interpolation":  # which does not even resolve
        assert (tmp_path / "episode.png").exists()


def test_the_payloads_would_run_where_they_are_built(tmp_path):
    """Or the test above would prove nothing; Hydra itself refuses a few of them by name."""
    refused = []
    for number, (name, payload) in enumerate(PAYLOADS.items()):
        marker = tmp_path / f"ran_{number}"
        cfg = OmegaConf.create({"method": {"optimizer": {}}})
        for key, value in payload(marker).items():
            OmegaConf.update(cfg, key, value, merge=False, force_add=True)
        try:
            built = instantiate(cfg)
        except InstantiationException as error:
            refused.append((name, "is blocklisted" in str(error)))
            continue
        if name == "a partial":
            built.human.calibrate()
        assert marker.exists() or name == "a target of ours where it does not belong", name  # that one is harmless
    assert all(by_name for _, by_name in refused), refused
    assert len(PAYLOADS) - len(refused) >= 9


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_config_of_ours_goes_on(folder):
    (folder / "results.json").unlink()
    assert call(train.main, f"ckpt_path={folder}") == ""
    assert (folder / "results.json").exists()


@pytest.mark.parametrize(
    ("key", "words"),
    [("data.folder", "would write to"), ("callbacks.checkpoint.folder", "(callbacks.checkpoint.folder)")],
)
def test_a_run_that_goes_on_writes_into_its_own_folder_alone(folder, tmp_path, key, words):
    poison(folder, lambda marker: {key: str(marker)}, tmp_path / "elsewhere")
    line = call(train.main, f"ckpt_path={folder}")
    assert words in line
    assert not (tmp_path / "elsewhere").exists()


def test_it_goes_to_no_cluster_that_a_config_names(folder):
    elsewhere = {"_target_": "mile.envs.players.RayActors", "address": "ray://x"}
    poison(folder, lambda _: {"collector": elsewhere, "env.collector": elsewhere}, None)
    (folder / "results.json").unlink()
    from mile.running.folder import continued

    single = {"_target_": "mile.envs.players.InProcess"}
    given = OmegaConf.create(
        {
            "output_dir": "x",
            "ckpt_path": str(folder),
            "format": 4,
            "collector": single,
            "env": {"collector": single},
        }
    )
    assert continued(given, []).collector == continued(given, []).env.collector == single


def test_a_checkpoint_with_code_in_it_is_no_checkpoint(folder, tmp_path):
    marker = tmp_path / "it_ran"
    for path in folder.glob("*.ckpt"):
        torch.save({"state_dict": {}, "code": Touch(marker)}, path)
    (folder / "results.json").unlink()
    with pytest.warns(match="is damaged or of another program"):
        line = call(train.main, f"ckpt_path={folder}")
    assert "no checkpoint in" in line
    assert not marker.exists()


def test_a_recording_to_learn_from_is_data_too(folder, tmp_path):
    marker = tmp_path / "it_ran"
    poison(folder, PAYLOADS["a shell"], marker)
    words = [
        "experiment=lunarlander",
        "debug=smoke",
        "logger=none",
        "protocol=same_data",
        "callbacks.deployment.num_rounds=1",
    ]
    call(train.main, *words, f"data.from={folder}", "hydra.run.dir=mine")
    call(
        pretrain.main, "role=initial", "algorithm=recorded", f"train.demonstrate.folder={folder}", "hydra.run.dir=made"
    )
    assert (tmp_path / "mine" / "results.json").exists()
    assert not marker.exists()


def test_what_is_checked_is_what_is_built(folder, tmp_path):
    """An interpolation that gives another word once a seed is set, and one of our targets at another's place."""
    marker = tmp_path / "it_ran"
    words = {"X": "mile.policies.load_policy", "0": "joblib.load"}
    target = "${map.${oc.env:PL_GLOBAL_SEED,X}}"
    poison(folder, lambda _: {"map": words, "policy._target_": target, "policy.filename": pickled(marker)}, marker)
    for path in (*folder.glob("*.ckpt"), folder / "results.json"):
        path.unlink()
    call(train.main, f"ckpt_path={folder}")
    poison(
        folder,
        lambda _: {"logger": {"train": {"_target_": "mile.ingredients.selection.pretrain", "folder": str(marker)}}},
        marker,
    )
    assert "as no shipped config does" in call(train.main, f"ckpt_path={folder}")
    assert not marker.exists()


def test_a_checkpoint_deletes_nothing_that_it_names(folder, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    checkpoint = torch.load(folder / "epoch_1.ckpt", weights_only=True)
    state = checkpoint["callbacks"]["RoundCheckpoint"]
    state.pop("dirpath")
    state["best_k_models"] = {f"local://{victim}": torch.tensor(-1.0), "other": torch.tensor(0.0)}
    state |= {"kth_best_model_path": f"local://{victim}", "kth_value": torch.tensor(-1.0)}
    torch.save(checkpoint, folder / "epoch_1.ckpt")
    for name in ("epoch_3.ckpt", "results.json"):
        (folder / name).unlink()
    assert call(train.main, f"ckpt_path={folder}") == ""
    assert victim.is_dir()
    assert {path.name for path in folder.glob("*.ckpt")} == {"epoch_1.ckpt", "epoch_3.ckpt"}


@pytest.mark.parametrize(
    "link",
    ["config.yaml.draft", "buffer/frame.bin", "answers.jsonl", ".hydra/overrides.yaml", "report", "epoch_9.ckpt"],
)
def test_no_link_is_followed_when_something_is_written(folder, tmp_path, link):
    victim = tmp_path / "victim"
    victim.mkdir() if link == "report" else victim.write_text("mine")
    (folder / link).parent.mkdir(exist_ok=True)
    (folder / link).symlink_to(victim)
    (folder / "results.json").rename(tmp_path / "results.json")
    in_place = ["experiment=lunarlander", "debug=smoke", "logger=none", f"hydra.run.dir={folder}"]
    for words in ([f"ckpt_path={folder}"], in_place):
        assert "is no plain file or folder" in call(train.main, *words)
    (tmp_path / "results.json").rename(folder / "results.json")
    call(report.main, "runs", folder)
    assert list(victim.iterdir()) == [] if link == "report" else victim.read_text() == "mine"


def test_a_real_arm_moves_for_the_command_line_alone(folder):
    desk = {"_partial_": True, "_target_": "mile.hardware.desk.Desk", "port": "/dev/ttyS9"}
    poison(folder, lambda _: {"hardware": desk}, None)
    assert "would move a real arm" in call(train.main, f"ckpt_path={folder}")


def test_a_data_set_opens_no_other_environment_and_no_other_file(tmp_path, monkeypatch):
    marker = tmp_path / "it_ran"
    spec = {"id": "X-v0", "entry_point": "os:mkdir", "kwargs": {"path": str(marker)}}
    held = tmp_path / "minari" / "x" / "y-v0" / "data"
    held.mkdir(parents=True)
    described = {"env_spec": json.dumps(spec), "data_format": "hdf5", "dataset_id": "x/y-v0", "total_episodes": 0}
    (held / "metadata.json").write_text(json.dumps(described))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    words = ["--env", "lunarlander", "--output", tmp_path / "taken"]
    line = call(data.main, "import", "x/y-v0", "--from", "minari", *words)
    assert "must name its observation_space and its action_space" in line
    assert not marker.exists()

    (tmp_path / "secret.bin").write_bytes(bytes(64))
    for name in ("external", "link"):
        with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
            demo = file.create_group("data/demo_0")
            if name == "external":
                demo.create_dataset("obs/state", (2, 8), "f4", external=[(str(tmp_path / "secret.bin"), 0, 64)])
            else:
                demo["obs"] = h5py.ExternalLink("external.hdf5", "data/demo_0/obs")
            demo["actions"] = np.zeros((2, 1), int)
        line = call(data.main, "import", tmp_path / f"{name}.hdf5", "--from", "robomimic", *words)
        assert "leads to another place or file" in line
    assert not (tmp_path / "taken").exists()


def test_a_config_that_repeats_itself_without_end_is_not_read(folder):
    """Nine aliases of nine aliases of nine …, of which ten lines would take hours."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 10)]
    (folder / "config.yaml").write_text("\n".join(lines))
    for main, *words in ((train.main, f"ckpt_path={folder}"), (report.main, "runs", folder)):
        assert "has YAML aliases" in call(main, *words)


def test_names_steer_no_terminal_and_are_no_formulas(folder, capsys):
    poison(folder, lambda _: {"name": "$x_{$"}, None)
    assert call(report.main, "runs", folder) == ""
    (folder / "evaluation.json").write_text('{"\x1b[2J')
    call(report.main, "runs", folder)
    assert "\x1b" not in capsys.readouterr().err


def test_every_target_that_may_be_built_is_a_complete_name():
    for place, name in shipped_entries():
        if place[-1] == "_target_":
            assert name.split(".")[0] in ("mile", "torch", "lightning", "hydra_plugins")
