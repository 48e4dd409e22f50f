"""What the last digits of a run depend on beside its config: the kind of machine, and the build of PyTorch."""

import platform
from pathlib import Path

import torch

CPUS = Path("/proc/cpuinfo")  # on Linux


def describe_machine() -> dict[str, str]:
    """Return the kind of machine, with its processor where that is known, and the build of PyTorch."""
    processor = platform.processor()
    if CPUS.exists():
        for line in CPUS.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                processor = value.strip()
                break
    return {"machine": f"{platform.machine()} {processor}".strip(), "torch": torch.__version__}
