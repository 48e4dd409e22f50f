import ast
import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {"src": "mile", **{name: f"mile.{name}" for name in ("datamodules", "callbacks", "hardware")}}

# rooms, from the ground floor up: each may import those below and beside it, and besides the standard library these
MATHEMATICS = {"torch", "tensordict", "numpy", "scipy", "jaxtyping", "safetensors", "zuko", "torchvision", "timm"}
SIMULATION = MATHEMATICS | {"torchrl", "gymnasium", "torchmetrics", "metaworld", "mujoco", "ray", "PIL"}
CONSOLES = {"fastapi", "uvicorn", "pydantic", "pygame", "matplotlib"}
DEVICES = {"pygame", "pyspacemouse", "easyhid", "dynamixel_sdk", "serial", "cv2", "torchvision"}
LEARNING = SIMULATION | {"lightning", "tensorboard", "matplotlib", "minari", "h5py", "pandas", "av", "pyarrow"}
PROGRAMS = LEARNING | {"rich", "hydra", "omegaconf", "yaml", "filelock"}
EQUATIONS = ("quadrature", "expectations", "preference", "intervention", "losses")
LAYERS = [
    (("files",), set()),
    ((*EQUATIONS, "timing", "transitions", "policies"), MATHEMATICS),
    (("humans", "envs"), SIMULATION | CONSOLES),
    (("collection", "evaluation", "calibration", "rl", "ingredients", "gates"), SIMULATION),
    (("recordings",), SIMULATION | {"matplotlib"}),
    (("hardware",), SIMULATION | DEVICES),
    (("methods", "datamodules"), LEARNING),
    (("running",), PROGRAMS),
    (("callbacks", "reports", "plans"), PROGRAMS),
    (("train", "evaluate", "pretrain", "report", "commands"), PROGRAMS),
]


def setup_cfg():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def modules():
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join([package, *path.relative_to(ROOT / folder).with_suffix("").parts])
            yield name.removesuffix(".__init__"), path


def test_every_package_is_listed():
    listed = set(setup_cfg()["options"]["packages"].split())
    found = {name for name, path in modules() if path.name == "__init__.py"} | {"mile.configs", "mile.checkpoints"}
    assert listed == found


def test_dependencies_are_bounded_where_the_next_version_breaks_or_an_earlier_one_is_unsafe():
    options = setup_cfg()
    required = options["options"]["install_requires"] + "".join(options["options.extras_require"].values())
    bounds = {line.split()[0]: line.partition("#")[0].strip() for line in required.splitlines() if line.strip()}
    assert ">= 2.6.6" in bounds["lightning"]
    assert ">= 1.3.8, < 1.4" in bounds["hydra-core"]
    assert bounds["mujoco"].endswith("< 4")
    assert "< 3" in bounds["optuna"]
    assert bounds["torchrl"].replace("torchrl", "") == bounds["tensordict"].replace("tensordict", "")


def test_no_module_shadows_the_standard_library():
    assert not {path.stem for path in (ROOT / "src").iterdir()} & set(sys.stdlib_module_names)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import as mile.… only"
            yield node.module


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_layers_import_downwards_only(name, path):
    if name in ("mile", "mile.hardware"):
        assert set(imports(path)) <= {"sys"}
        return
    part = name.split(".")[1]
    level = next(number for number, (parts, _) in enumerate(LAYERS) if part in parts)
    lower = {part for parts, _ in LAYERS[: level + 1] for part in parts}
    for imported in imports(path):
        first, *rest = imported.split(".")
        if first == "mile":
            assert rest[0] in lower, f"{name} imports {imported}"
        else:
            assert first in LAYERS[level][1] | set(sys.stdlib_module_names), f"{name} imports {imported}"


def test_a_plain_wheel_holds_configs_and_checkpoints(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("configs", "checkpoints"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".yaml", ".safetensors", ".json"):
                assert f"mile/{path.relative_to(ROOT)}" in names
    for name, path in modules():
        assert any(name.replace(".", "/") in entry for entry in names), path
    assert "mile/py.typed" in names  # its types are for other projects to check against
    assert not any(entry.startswith(("tests/", "src/", "benchmarks/")) for entry in names)
