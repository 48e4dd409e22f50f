"""Memory of a large buffer, and the cost of a batch by the buffer's size."""

import tempfile
import time
from pathlib import Path

from learning import recorded_steps

from mile.datamodules import InterventionDataModule

EPISODE = 10_000  # steps
BATCHES = 100  # an epoch


def anonymous_gib() -> float:
    """Return the resident memory of this process that no file backs, GiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("RssAnon"))
    return int(line.split()[1]) / 2**20


def main() -> None:
    """Print a line for 10⁴, 10⁵ and 10⁶ steps of 156 numbers."""
    for size in (10**4, 10**5, 10**6):
        with tempfile.TemporaryDirectory() as folder:
            # record
            data = InterventionDataModule(folder + "/buffer", "benchmark", batch_size=256)
            for episode in range(size // EPISODE):
                data.buffer.append(recorded_steps(EPISODE, episode))

            # read five epochs
            before = anonymous_gib()
            data = InterventionDataModule(folder + "/buffer", "benchmark", batch_size=256, batches_per_epoch=BATCHES)
            times = []
            for _ in range(5):
                begin = time.perf_counter()
                for batch in data.batches():
                    batch["observation"].sum()
                times.append((time.perf_counter() - begin) / BATCHES * 1e3)

            first, *later = times
            print(
                f"{size:>8} steps: {sorted(later)[1]:.2f} ms a batch (first epoch {first:.2f}), "
                f"{anonymous_gib() - before:.2f} GiB of resident memory beyond the map",
                flush=True,
            )


if __name__ == "__main__":
    main()
