"""Import the package and collect episodes on a system that lacks what Windows lacks.

What others' packages use of Linux, because they see that this is Linux, is imported before that is taken away.
"""

import importlib
import os
import pkgutil
import select
import signal
import sys

MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty")
NAMES = {
    signal: ("SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "alarm", "setitimer"),
    os: ("fork", "getuid", "killpg", "openpty", "sched_getaffinity", "ttyname", "uname", "O_NOCTTY", "O_NONBLOCK"),
    select: ("poll", "epoll"),
}


def import_all() -> dict[str, Exception]:
    """Import every module of the package; return what failed."""
    import mile

    failed: dict[str, Exception] = {}
    for module in pkgutil.walk_packages(mile.__path__, "mile."):
        try:
            importlib.import_module(module.name)
        except Exception as error:
            failed[module.name] = error
    return failed


def main() -> None:
    # as it is here
    before = import_all()
    assert all(isinstance(error, ModuleNotFoundError) for error in before.values()), before  # an extra is missing

    # as it is there
    for name in [name for name in sys.modules if name.split(".")[0] == "mile"]:
        del sys.modules[name]
    for name in MODULES:
        sys.modules[name] = None  # pyright: ignore
    for module, names in NAMES.items():
        for name in names:
            delattr(module, name)
    failed = import_all()
    assert failed.keys() == before.keys(), failed

    from mile.collection import collect_episodes
    from mile.envs import make_env
    from mile.policies import load_policy

    env = make_env("lunarlander", num_envs=2, max_episode_steps=5)
    print(len(collect_episodes(env, load_policy("lunarlander/initial"), 2, seed=0)), "steps")


if __name__ == "__main__":
    main()
