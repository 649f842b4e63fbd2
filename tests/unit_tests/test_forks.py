"""What forked processes, and systems that cannot fork, need to be told."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from langchain_wan._concurrency.forks import after_fork_in_child, lock_across_forks

WITHOUT_FORKS = """
import importlib, os, pkgutil, sys
del os.register_at_fork, os.fork
sys.modules["fcntl"] = None
import langchain_wan
names = [module.name for module in pkgutil.walk_packages(langchain_wan.__path__, "langchain_wan.")]
for name in names:
    importlib.import_module(name)
print(len(names) > 40)
"""


def test_every_module_can_be_imported_where_nothing_forks_and_there_is_no_fcntl() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_FORKS], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_where_nothing_forks_there_is_nothing_to_register(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    after_fork_in_child(lambda: pytest.fail("nothing forked"))
    lock_across_forks(threading.Lock())


def exit_code_of_a_child(check: str) -> int:
    """The exit code of a forked child of another process, since nothing that is registered can be withdrawn."""
    code = f"""
import os, threading
from langchain_wan._concurrency.forks import after_fork_in_child, lock_across_forks
{check}
child = os.fork()
if child == 0:
    os._exit(code())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    return int(done.stdout)


NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@NEEDS_FORK
def test_a_function_is_called_in_the_child_and_not_in_the_parent() -> None:
    check = """
calls = []
after_fork_in_child(lambda: calls.append(os.getpid()))
def code():
    return 0 if calls == [os.getpid()] else 1
"""
    assert exit_code_of_a_child(check) == 0


@NEEDS_FORK
def test_a_fork_waits_for_a_lock_and_leaves_it_free_in_the_child() -> None:
    check = """
lock, entered, changes = threading.Lock(), threading.Event(), []
lock_across_forks(lock)
def change():
    with lock:
        changes.append("first half")
        entered.set()
        threading.Event().wait(0.05)
        changes.append("second half")
threading.Thread(target=change, daemon=True).start()
entered.wait()
def code():
    return 0 if len(changes) == 2 and lock.acquire(blocking=False) else 1
"""
    assert exit_code_of_a_child(check) == 0
