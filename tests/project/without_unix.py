"""Import the package and collect episodes on a system that lacks what Windows lacks.

Other packages see that this is Linux, and use modules that Windows lacks; these packages are imported first.
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
    """Import every module of the package; return the errors, by module."""
    import mile

    failed: dict[str, Exception] = {}
    for module in pkgutil.walk_packages(mile.__path__, "mile."):
        try:
            importlib.import_module(module.name)
        except Exception as error:
            failed[module.name] = error
    return failed


def main() -> None:
    # import on this system
    before = import_all()
    assert all(isinstance(error, ModuleNotFoundError) for error in before.values()), before  # an extra is missing

    # take away what Windows lacks
    for name in list(sys.modules):
        if name.split(".")[0] == "mile":
            del sys.modules[name]
    for name in MODULES:
        sys.modules[name] = None  # pyright: ignore
    for module, names in NAMES.items():
        for name in names:
            delattr(module, name)

    # import again
    failed = import_all()
    assert failed.keys() == before.keys(), failed

    # collect episodes
    from mile.collection import collect_episodes
    from mile.envs import make_env
    from mile.policies import load_policy

    env = make_env("lunarlander", num_envs=2, max_episode_steps=5)
    print(len(collect_episodes(env, load_policy("lunarlander/initial"), 2, seed=0)), "steps")


if __name__ == "__main__":
    main()
