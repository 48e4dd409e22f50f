"""Is the arm fit to work? Nothing moves.

mile-doctor
mile-doctor hardware=simulated hardware.fault=overheat
"""

import sys

from hydra.utils import instantiate
from omegaconf import DictConfig

from mile.running.command_line import entry_point

MARKS = {True: "ok", False: "WRONG", None: "-"}  # printed before a finding


@entry_point("doctor")
def main(cfg: DictConfig) -> None:
    """Print the result of each check; exit with 1 if something is wrong."""
    from mile.hardware.diagnosis import examine

    # check
    bench = instantiate(cfg.hardware)()
    wrong = []
    try:
        for finding in examine(bench.robot, lambda: bench.camera):
            print(f"{MARKS[finding.ok]:<6}{finding.part:<32}{finding.message}", flush=True)
            if finding.ok is False:
                wrong.append(finding.part)
    finally:
        bench.close()

    # sum up
    print(f"not fit to work: {', '.join(wrong)}" if wrong else "fit to work")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
