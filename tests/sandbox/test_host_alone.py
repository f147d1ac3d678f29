"""A folder has one sandbox: a second one finds it taken, and the demo finds the one that a killed start left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trueup.entrypoints.demo import start_sandbox
from trueup.sandbox import host
from trueup.sandbox.control import Control

SECONDS = 30
STARTS = """
import pathlib, sys
from trueup.entrypoints.demo import start_sandbox
start_sandbox(pathlib.Path(sys.argv[1]), 1, (), print)
"""


def sandbox(folder):
    """Start a sandbox process as the demo does."""
    words = [sys.executable, "-m", "trueup.sandbox.host", "--dir", str(folder)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(running):
    running.kill()
    running.communicate(timeout=SECONDS)


def wait_for(what):
    ends = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.005)


def text(path):
    return path.read_text("utf-8") if path.exists() else ""


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").split(") ")[1].startswith("Z")
    except OSError:
        return True


def test_a_second_sandbox_leaves_a_folder_to_the_first(tmp_path):
    first = sandbox(tmp_path / "sandbox")
    try:
        assert first.stdout.readline().startswith("sandbox ")
        second = sandbox(tmp_path / "sandbox")
        try:
            _, told = second.communicate(timeout=SECONDS)
        finally:
            end(second) if second.poll() is None else None
        assert second.returncode == host.TAKEN
        assert told == "another sandbox runs over sandbox\n"
        assert text(tmp_path / "sandbox" / "sandbox.pid") == str(first.pid)
        assert Control(tmp_path / "sandbox").state()["seed"] == 1
    finally:
        end(first)


def test_a_killed_sandbox_leaves_its_folder_to_the_next(tmp_path):
    first = sandbox(tmp_path / "sandbox")
    try:
        assert first.stdout.readline().startswith("sandbox ")
    finally:
        end(first)
    second = sandbox(tmp_path / "sandbox")
    try:
        assert second.stdout.readline().startswith("sandbox ")
        assert text(tmp_path / "sandbox" / "sandbox.pid") == str(second.pid)
    finally:
        end(second)


@pytest.mark.skipif(
    not Path("/proc").is_dir(),
    reason="macOS has no /proc, and only there is a process that has ended told from one nobody has taken note of",
)
def test_the_demo_goes_on_with_the_simulators_a_killed_start_left_on_their_way(tmp_path):
    folder = tmp_path / "sandbox"
    starting = subprocess.Popen([sys.executable, "-c", STARTS, str(folder)], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: text(folder / "sandbox.pid"))
    finally:
        starting.kill()
        starting.wait(SECONDS)
    pid = int(text(folder / "sandbox.pid"))
    try:
        control = start_sandbox(folder, 1, (), lambda words: None)
        assert control.state()["seed"] == 1
        assert text(folder / "sandbox.pid") == str(pid)
        control.stop()
        wait_for(lambda: gone(pid))
    finally:
        if not gone(pid):
            os.kill(pid, signal.SIGKILL)
