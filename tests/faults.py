"""What a run survives: `make faults`. Each fault is done to a real run in a process of its own.

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
ROUNDS, EPISODES = 3, 4
SHORT = [
    "experiment=lunarlander",
    "debug=smoke",
    "env.max_episode_steps=400",
    f"callbacks.deployment.num_rounds={ROUNDS}",
    f"callbacks.deployment.episodes_per_round={EPISODES}",
    "callbacks.deployment.epochs_per_round=5",
    "logger=null",
]
WRITTEN = ("policy.safetensors", "results.json", "evaluation.json", "deployment.json")
FILE_LIMIT = 20_000  # bytes: one episode fits, the first round does not


class Faults:
    """Does harm to short runs, and compares what comes out with a run that nothing happened to.

    Args:
        folder: of the runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.whole = folder / "whole"
        begin = time.monotonic()
        process = self.start(self.whole)
        _, said = process.communicate()
        self.seconds = time.monotonic() - begin
        check(process.returncode == 0, said)

    def start(self, run: Path, *overrides: str, file_limit: int | None = None) -> subprocess.Popen:
        """Start, or go on with, a run."""
        command = [sys.executable, ROOT / "src" / "train.py", *SHORT, *overrides, f"hydra.run.dir={run}"]
        limit = file_limit and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit)))
        return subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit or None,  # noqa: PLW1509 (there is one thread)
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def finish(self, run: Path, *overrides: str) -> str:
        """Go on to the end, check that nothing is lost, and return what was said on stderr."""
        process = self.start(run, *overrides)
        _, said = process.communicate()
        check(process.returncode == 0, said)
        for name in WRITTEN:
            check((run / name).read_bytes() == (self.whole / name).read_bytes(), f"{name} differs")
        episodes = [(it["round"], it["episode"]) for it in committed(run)]
        check(
            sorted(episodes) == [(number // EPISODES, number) for number in range(ROUNDS * EPISODES)],
            f"episodes {episodes}",
        )
        return said

    def refused(self, run: Path, message: str) -> None:
        """Check that a run is refused in one line."""
        process = self.start(run)
        _, said = process.communicate()
        check(process.returncode == 1 and message in said and said.count("\n") == 1, said)

    def stopped(self, name: str) -> Path:
        """Return a run that was killed after its second checkpoint."""
        run = self.folder / name
        if not (self.folder / "stopped").exists():
            with self.start(self.folder / "stopped") as process:
                while len(list((self.folder / "stopped").glob("*.ckpt"))) < 2:
                    check(process.poll() is None, "the run ended before it could be killed")
                    time.sleep(0.01)
                process.kill()
        shutil.copytree(self.folder / "stopped", run, copy_function=shutil.copy2)
        return run

    def kills(self, count: int, seed: int = 0) -> None:
        """SIGKILL at random moments, again and again; then go on to the end."""
        chance, killed, run, attempt = random.Random(seed), 0, self.folder / "kills_0", 0
        while killed < count:
            before = committed(run)
            process = self.start(run)
            try:
                process.wait(chance.uniform(0.2, 1.2) * self.seconds)
                check(process.returncode == 0, process.stderr.read())
                attempt += 1
                run = self.folder / f"kills_{attempt}"
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
                check(committed(run)[: len(before)] == before, "a completed episode is gone")
            process.stderr.close()
        self.finish(run)

    def sigterm(self, number: int = signal.SIGTERM) -> None:
        """Asked to stop: the epoch ends, a checkpoint is written, and the exit status says why."""
        run = self.folder / f"signal_{number}"
        process = self.start(run)
        while not list(run.glob("*.ckpt")):
            check(process.poll() is None, "the run ended before it could be asked")
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate()
        check(process.returncode == 128 + number, said)
        check(not (run / "results.json").exists(), "the run went on to its end")
        self.finish(run)

    def ctrl_c(self) -> None:
        """The same by hand."""
        self.sigterm(signal.SIGINT)

    def full_disk(self) -> None:
        """No room in the middle of an episode; later there is."""
        run = self.folder / "full"
        process = self.start(run, file_limit=FILE_LIMIT)
        _, said = process.communicate()
        check(process.returncode == 1 and "File too large" in said, said)
        check(0 < len(committed(run)) < ROUNDS * EPISODES, "the limit hit something else than an episode")
        self.finish(run)

    def dead_worker(self) -> None:
        """A process that plays episodes is killed."""
        run = self.folder / "worker"
        process = self.start(run, "collector=multi")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        time.sleep(self.seconds)  # with workers it takes longer
        while not (workers := [pid for pid in children.read_text().split() if b"spawn_main" in command_line(pid)]):
            check(process.poll() is None, "the run ended before a worker was killed")
            time.sleep(0.01)
        os.kill(int(workers[0]), signal.SIGKILL)
        _, said = process.communicate()
        check(process.returncode == 0 and "a worker process died" in said, said)
        for name in WRITTEN:
            check((run / name).read_bytes() == (self.whole / name).read_bytes(), f"{name} differs")

    def damaged_checkpoint(self) -> None:
        """The last checkpoint is half there: the one before serves, and that is said."""
        run = self.stopped("checkpoint")
        newest = max(run.glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
        os.truncate(newest, newest.stat().st_size // 2)
        check("is damaged" in self.finish(run), "nothing was said")

    def truncated_buffer(self) -> None:
        """Recorded numbers are missing."""
        file = self.stopped("truncated") / "buffer" / "observation.bin"
        os.truncate(file, file.stat().st_size // 2)
        self.refused(file.parent.parent, "is truncated: expected")

    def flipped_bit(self) -> None:
        """One recorded bit is another one."""
        file = self.stopped("flipped") / "buffer" / "observation.bin"
        content = bytearray(file.read_bytes())
        content[100] ^= 1
        file.write_bytes(content)
        self.refused(file.parent.parent, "is damaged (CRC-32")

    def foreign_buffer(self) -> None:
        """The recording is of another environment."""
        schema = self.stopped("foreign") / "buffer" / "schema.json"
        schema.write_text(schema.read_text().replace("lunarlander", "peg_insert"))
        self.refused(schema.parent.parent, "holds steps of 'peg_insert', expected 'lunarlander'")

    def two_runs(self) -> None:
        """A second run in the folder of a first is refused, and the first goes on."""
        run = self.folder / "two"
        first = self.start(run)
        while not (run / "config.yaml").exists():
            check(first.poll() is None, "the first run ended early")
            time.sleep(0.01)
        self.refused(run, "another run is at work")
        _, said = first.communicate()
        check(first.returncode == 0, said)
        self.finish(run)  # which has nothing left to do


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
    """Return the episodes that a run's buffer names as complete."""
    log = run / "buffer" / "episodes.jsonl"
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def command_line(pid: str) -> bytes:
    """Return the words of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def check(survived: bool, said: str) -> None:
    """Raise AssertionError if a fault was not survived."""
    if not survived:
        raise AssertionError(said)


def main() -> None:
    """Do everything, print what was survived, and fail if something was not."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    lost = 0
    with tempfile.TemporaryDirectory() as folder:
        faults = Faults(Path(folder))
        print(f"a whole run takes {faults.seconds:.0f} s", flush=True)
        for name, fault in [
            (f"{kills} random SIGKILLs", lambda: faults.kills(kills)),
            *((fault.__name__.replace("_", " "), lambda fault=fault: fault(faults)) for fault in OTHERS),
        ]:
            try:
                fault()
            except AssertionError as error:
                lost += 1
                print(f"{name}: NOT survived: {error}", flush=True)
            else:
                print(f"{name}: survived", flush=True)
    sys.exit(lost > 0)


if __name__ == "__main__":
    main()
