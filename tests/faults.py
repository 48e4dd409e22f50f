"""Faults that a run survives: `make faults`. Each fault happens to a real run in a process of its own.

python -m tests.faults [kills]
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROUNDS, EPISODES = 3, 4  # rounds of a run, episodes of a round
SHORT_RUN = [
    "experiment=lunarlander",
    "debug=smoke",
    "env.max_episode_steps=400",
    f"callbacks.deployment.num_rounds={ROUNDS}",
    f"callbacks.deployment.episodes_per_round={EPISODES}",
    "callbacks.deployment.epochs_per_round=5",
    "logger=none",
]
RESULTS = ("policy.safetensors", "results.json", "evaluation.json", "deployment.json")
FILE_LIMIT = 20_000  # bytes of a file: one episode fits, the first round does not
POLL_PERIOD = 0.01  # s


class Faults:
    """Harms short runs, and compares their results with those of a run that nothing happened to.

    Args:
        folder: Folder of the runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.whole = folder / "whole"
        begin = time.monotonic()
        process = self.start(self.whole)
        _, errors = process.communicate()
        self.seconds = time.monotonic() - begin
        check(process.returncode == 0, errors)

    def start(self, run: Path, *overrides: str, file_limit: int | None = None) -> subprocess.Popen:
        """Start a run, or continue it."""
        command = [sys.executable, ROOT / "src" / "train.py", *SHORT_RUN, *overrides, f"hydra.run.dir={run}"]

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

        return subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=None if file_limit is None else limit,  # noqa: PLW1509 (there is one thread)
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def finish(self, run: Path, *overrides: str) -> str:
        """Continue a run to its end, check that nothing is lost, and return its stderr."""
        # continue
        process = self.start(run, *overrides)
        _, errors = process.communicate()
        check(process.returncode == 0, errors)

        # the same results
        self.compare(run)

        # all episodes
        episodes = [(entry["round"], entry["episode"]) for entry in committed(run)]
        expected = [(number // EPISODES, number) for number in range(ROUNDS * EPISODES)]
        check(sorted(episodes) == expected, f"episodes {episodes}")
        return errors

    def compare(self, run: Path) -> None:
        """Check that a run's results are those of the whole run."""
        for name in RESULTS:
            check((run / name).read_bytes() == (self.whole / name).read_bytes(), f"{name} differs")

    def refused(self, run: Path, message: str) -> None:
        """Check that a run is refused in one line."""
        process = self.start(run)
        _, errors = process.communicate()
        check(process.returncode == 1 and message in errors and errors.count("\n") == 1, errors)

    def stopped(self, name: str) -> Path:
        """Return a run that was killed after its second checkpoint."""
        original, run = self.folder / "stopped", self.folder / name
        if not original.exists():
            with self.start(original) as process:
                while len(list(original.glob("*.ckpt"))) < 2:
                    check(process.poll() is None, "the run ended before it could be killed")
                    time.sleep(POLL_PERIOD)
                process.kill()
        shutil.copytree(original, run, copy_function=shutil.copy2)
        return run

    def kills(self, count: int, seed: int = 0) -> None:
        """SIGKILL at random moments, again and again; then continue to the end."""
        moments = random.Random(seed)
        killed, finished, run = 0, 0, self.folder / "kills_0"
        while killed < count:
            before = committed(run)
            process = self.start(run)
            try:
                process.wait(moments.uniform(0.2, 1.2) * self.seconds)
                check(process.returncode == 0, process.stderr.read())
                finished += 1
                run = self.folder / f"kills_{finished}"
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
                check(committed(run)[: len(before)] == before, "a completed episode is gone")
            process.stderr.close()
        self.finish(run)

    def sigterm(self, number: int = signal.SIGTERM) -> None:
        """SIGTERM: the epoch ends, a checkpoint is written, and the exit status names the signal."""
        # stop
        run = self.folder / f"signal_{number}"
        process = self.start(run)
        while not list(run.glob("*.ckpt")):
            check(process.poll() is None, "the run ended before it could be asked")
            time.sleep(POLL_PERIOD)
        process.send_signal(number)
        _, errors = process.communicate()

        # stopped, and continued
        check(process.returncode == 128 + number, errors)
        check(not (run / "results.json").exists(), "the run went on to its end")
        self.finish(run)

    def ctrl_c(self) -> None:
        """SIGINT, as Ctrl-C sends it: the same."""
        self.sigterm(signal.SIGINT)

    def full_disk(self) -> None:
        """The disk is full in the middle of an episode; later there is room."""
        run = self.folder / "full"
        process = self.start(run, file_limit=FILE_LIMIT)
        _, errors = process.communicate()
        check(process.returncode == 1 and "File too large" in errors, errors)
        check(0 < len(committed(run)) < ROUNDS * EPISODES, "the limit hit something else than an episode")
        self.finish(run)

    def dead_worker(self) -> None:
        """A worker process, which plays episodes, is killed."""
        run = self.folder / "worker"
        process = self.start(run, "collector=multi")

        # wait for a worker, and kill it
        time.sleep(self.seconds)  # a run with workers takes longer than this
        while not (workers := worker_processes(process.pid)):
            check(process.poll() is None, "the run ended before a worker was killed")
            time.sleep(POLL_PERIOD)
        os.kill(int(workers[0]), signal.SIGKILL)

        # the run goes on
        _, errors = process.communicate()
        check(process.returncode == 0 and "a worker process died" in errors, errors)
        self.compare(run)

    def damaged_checkpoint(self) -> None:
        """The last checkpoint is truncated: the run continues from the one before, and says so."""
        run = self.stopped("checkpoint")
        newest = max(run.glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
        os.truncate(newest, newest.stat().st_size // 2)
        check("is damaged" in self.finish(run), "nothing was said")

    def truncated_buffer(self) -> None:
        """The second half of the recorded observations is missing."""
        file = self.stopped("truncated") / "buffer" / "observation.bin"
        os.truncate(file, file.stat().st_size // 2)
        self.refused(file.parent.parent, "is truncated: expected")

    def flipped_bit(self) -> None:
        """One recorded bit is flipped."""
        file = self.stopped("flipped") / "buffer" / "observation.bin"
        content = bytearray(file.read_bytes())
        content[100] ^= 1
        file.write_bytes(content)
        self.refused(file.parent.parent, "is damaged (CRC-32")

    def foreign_buffer(self) -> None:
        """The recording was made in another environment."""
        schema = self.stopped("foreign") / "buffer" / "schema.json"
        schema.write_text(schema.read_text().replace("lunarlander", "peg_insert"))
        self.refused(schema.parent.parent, "holds steps of 'peg_insert', expected 'lunarlander'")

    def two_runs(self) -> None:
        """A second run in the folder of a first is refused, and the first goes on."""
        run = self.folder / "two"
        first = self.start(run)
        while not (run / "config.yaml").exists():
            check(first.poll() is None, "the first run ended early")
            time.sleep(POLL_PERIOD)

        # the first waits, so that it is at work when the second begins, however slow the machine is
        first.send_signal(signal.SIGSTOP)
        try:
            self.refused(run, "another run is at work")
        finally:
            first.send_signal(signal.SIGCONT)
        _, errors = first.communicate()
        check(first.returncode == 0, errors)
        self.finish(run)  # it has nothing left to do


OTHERS: list[Callable[[Faults], None]] = [
    Faults.sigterm,
    Faults.ctrl_c,
    Faults.full_disk,
    Faults.dead_worker,
    Faults.damaged_checkpoint,
    Faults.truncated_buffer,
    Faults.flipped_bit,
    Faults.foreign_buffer,
    Faults.two_runs,
]


def committed(run: Path) -> list[dict]:
    """Return the entries of the episodes that a run's buffer lists as complete."""
    log = run / "buffer" / "episodes.jsonl"
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def worker_processes(pid: int) -> list[str]:
    """Return the ids of a process's children that are worker processes."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def check(survived: bool, message: str) -> None:
    """Raise AssertionError if a fault was not survived."""
    if not survived:
        raise AssertionError(message)


def main() -> None:
    """Make all faults happen, print which of them were survived, and exit with 1 if one was not."""
    num_kills = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    faults: dict[str, Callable[[Faults], None]] = {f"{num_kills} random SIGKILLs": lambda runs: runs.kills(num_kills)}
    for fault in OTHERS:
        faults[fault.__name__.replace("_", " ")] = fault

    num_failures = 0
    with tempfile.TemporaryDirectory() as folder:
        runs = Faults(Path(folder))
        print(f"a whole run takes {runs.seconds:.0f} s", flush=True)
        for name, fault in faults.items():
            try:
                fault(runs)
            except AssertionError as error:
                num_failures += 1
                print(f"{name}: NOT survived: {error}", flush=True)
            else:
                print(f"{name}: survived", flush=True)
    sys.exit(num_failures > 0)


if __name__ == "__main__":
    main()
