"""What programs and packages import before they are of use: a help text takes a second, not ten."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "lightning", "torchmetrics", "matplotlib", "scipy.signal", "scipy.stats", "mujoco", "metaworld")
FOR_FIGURES_AND_STATISTICS = ("matplotlib", "scipy.signal", "scipy.stats", "torchmetrics")


def modules_after(code: str) -> set[str]:
    """Return the names of all modules that a new Python process has imported after some code."""
    code += "\nimport sys\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(process.stderr.split())


def modules_after_help(program: str, *words: str) -> set[str]:
    """Return the names of all modules that a program has imported after it has printed its help text."""
    return modules_after(
        f"""
import runpy, sys
sys.argv = {["program", *words, "--help"]}
try:
    runpy.run_module("{program}", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
"""
    )


@pytest.mark.parametrize(
    "program", ["mile.report", "mile.commands.data", "mile.commands.devices", "mile.commands.paper"]
)
def test_a_help_text_of_argparse_needs_nothing_heavy(program):
    assert modules_after_help(program).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("mile.train", ()),
        ("mile.evaluate", ()),
        ("mile.pretrain", ("role=expert",)),
        ("mile.commands.doctor", ()),
        ("mile.commands.record", ()),
    ],
)
def test_a_help_text_of_hydra_needs_nothing_heavy(program, words):
    assert modules_after_help(program, *words).isdisjoint(HEAVY)


def test_the_parser_of_a_subcommand_needs_nothing_heavy():
    assert modules_after_help("mile.commands.data", "import").isdisjoint(HEAVY)


def test_a_buffer_needs_neither_learning_nor_simulators():
    modules = modules_after("from mile.datamodules import InterventionBuffer")
    unneeded = ("torchrl", "lightning", "gymnasium", "metaworld", "mujoco", "mile.methods", "mile.envs")
    assert modules.isdisjoint(unneeded)


def test_data_modules_are_where_the_documentation_says():
    import mile.datamodules
    from mile.datamodules import InterventionDataModule, ReplayDataModule
    from mile.datamodules.intervention import InterventionDataModule as Defined

    assert InterventionDataModule is Defined
    assert issubclass(ReplayDataModule, InterventionDataModule)
    with pytest.raises(AttributeError, match=r"module 'mile.datamodules' has no attribute 'nothing'"):
        mile.datamodules.nothing  # noqa: B018


def test_evaluation_and_calibration_import_what_draws_and_tests_only_when_they_draw_and_test():
    names = ("calibration", "evaluation", "reports.tables", "recordings.playback", "recordings.prediction")
    modules = modules_after("\n".join(f"import mile.{name}" for name in names))
    assert modules.isdisjoint((*FOR_FIGURES_AND_STATISTICS, "lightning", "mujoco", "metaworld"))


def test_a_run_of_lunarlander_adds_no_figures_statistics_or_simulators_to_what_lightning_imports():
    """Lightning imports TorchMetrics, which imports SciPy's signal processing and Matplotlib wherever they are."""
    by_lightning = modules_after("import lightning, lightning.pytorch.loggers")
    for_a_run = modules_after(
        """
from hydra import compose, initialize_config_module
from hydra.utils import get_object
from omegaconf import OmegaConf

def targets(part):
    if isinstance(part, dict):
        part = [part["_target_"], *part.values()] if "_target_" in part else list(part.values())
        yield from (name for name in part[:1] if isinstance(name, str) and name.startswith(("mile.", "lightning.")))
    if isinstance(part, list):
        for child in part:
            yield from targets(child)

with initialize_config_module("mile.configs", version_base=None):
    cfg = compose("train", ["experiment=lunarlander"])
names = set(targets(OmegaConf.to_container(cfg)))
assert {"mile.envs.make_env", "mile.methods.MILE"} <= names, names
for name in names:
    get_object(name)
"""
    )
    added = {name for name in for_a_run - by_lightning if name.startswith(FOR_FIGURES_AND_STATISTICS)}
    assert not {name for name in added if not name.startswith("torchmetrics.functional.")}
    assert for_a_run.isdisjoint(("mujoco", "metaworld", "pygame", "minari", "h5py", "pandas"))
