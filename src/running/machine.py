"""What the last digits of a run depend on beside its config: the kind of machine, and the build of PyTorch."""

import platform
from pathlib import Path

import torch

CPUS = Path("/proc/cpuinfo")  # on Linux


def describe_machine() -> dict[str, str]:
    """Return the kind of machine with its processor and the instructions that PyTorch uses, and PyTorch's build."""
    processor = platform.processor()
    if CPUS.exists():
        for line in CPUS.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                processor = value.strip()
                break
    machine = f"{platform.machine()} {processor} {torch.backends.cpu.get_cpu_capability()}"
    return {"machine": " ".join(machine.split()), "torch": torch.__version__}
