import os
import signal
import subprocess
import sys
import threading

import pytest

from mile.running.signals import STOPPING, on_stop

WITHOUT_HANGUP = """
import signal
del signal.SIGHUP
from mile.running.signals import STOPPING, on_stop
on_stop(lambda number: print(signal.Signals(number).name))
assert STOPPING == (signal.SIGINT, signal.SIGTERM)
signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.usefixtures("as_a_program")
def test_each_request_to_stop_reaches_the_handler(monkeypatch):
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # SIGHUP takes both away
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests themselves run under nohup
    heard = []
    on_stop(heard.append)
    for number in STOPPING:
        os.kill(os.getpid(), number)
    assert heard == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    sys.stdout.close()


@pytest.mark.usefixtures("as_a_program")
def test_nohup_is_respected():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    on_stop(print)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.usefixtures("as_a_program")
def test_another_thread_leaves_the_programs_handlers_alone():
    before, failed = [signal.getsignal(number) for number in STOPPING], []

    def work():
        try:
            on_stop(print)
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed
    assert [signal.getsignal(number) for number in STOPPING] == before


def test_where_terminals_do_not_hang_up_the_others_are_heeded():
    done = subprocess.run([sys.executable, "-c", WITHOUT_HANGUP], capture_output=True, text=True, check=True)
    assert done.stdout == "SIGTERM\n"
