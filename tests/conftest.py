"""Shared fixtures; shapes in signatures of the pure functions are checked while the tests run."""

import signal

import pytest
from jaxtyping import install_import_hook

import tests.shapes  # noqa: F401

with install_import_hook(["mile.intervention", "mile.losses"], "tests.shapes.checked"):
    import mile.intervention
    import mile.losses  # noqa: F401


from mile.running.signals import STOPPING
from tests.support import EveryThird


@pytest.fixture
def every_third() -> EveryThird:
    return EveryThird()


@pytest.fixture
def as_a_program(monkeypatch):
    """An entry point is called in this process: what it does to signals and variables ends with the test."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory):
    """What tests keep in the cache ends with them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _tracebacks_of_its_own():
    """What a program called in this process asks of Hydra's tracebacks ends with the test.

    Not by the test's own `monkeypatch`, which would then be undone after all other fixtures.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_FULL_ERROR", "0")
        yield
