import subprocess
import sys
from pathlib import Path


def test_the_package_is_imported_and_a_simulator_runs_without_what_windows_lacks():
    program = Path(__file__).with_name("without_unix.py")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "10 steps\n"
