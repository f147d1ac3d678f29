"""SIGKILL at every line: a warm process is forked for each trial, and the child ends at the line we name.

The child counts the lines it runs in the hub's code and in the database driver, and kills itself at one of them. What
it acknowledges goes into a pipe first: bytes in a pipe outlive the writer. Python 3.12 and later count by
`sys.monitoring`, 3.11 by `sys.settrace`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from trueup.kernel.errors import Broken

COUNTED = (f"{os.sep}trueup{os.sep}", f"{os.sep}psycopg{os.sep}", f"{os.sep}psycopg_pool{os.sep}")
NOT_COUNTED = (f"{os.sep}crash.py", f"{os.sep}crash_subjects.py", f"{os.sep}vendor.py")
TRIAL_SECONDS = 30
MONITORING: Any = getattr(sys, "monitoring", None)
"""Counts lines from Python 3.12 on; before that the tracer does."""


class Subject(Protocol):
    """What is killed: warm before the forks, open in the child before lines are counted, then act."""

    def open(self) -> None:
        """Connect; nothing of this is counted."""

    def act(self, name: str, acknowledge: Callable[[str], None]) -> None:
        """Do the work of one trial; call `acknowledge` as soon as the other side has the answer."""


class Lines:
    """Counts lines, and ends the process at one of them.

    point  which line is the last; 0 ends nothing
    """

    def __init__(self, point: int) -> None:
        self.count = 0
        self._point = point
        self._known: dict[str, bool] = {}

    def begin(self) -> None:
        """Count from here on, in every thread."""
        if MONITORING is None:
            threading.settrace(self._trace)
            sys.settrace(self._trace)
            return
        MONITORING.use_tool_id(MONITORING.DEBUGGER_ID, "trueup crash")
        MONITORING.register_callback(MONITORING.DEBUGGER_ID, MONITORING.events.LINE, self._line)
        MONITORING.set_events(MONITORING.DEBUGGER_ID, MONITORING.events.LINE)

    def end(self) -> None:
        """Stop counting."""
        if MONITORING is None:
            sys.settrace(None)
            threading.settrace(None)
            return
        MONITORING.set_events(MONITORING.DEBUGGER_ID, 0)
        MONITORING.free_tool_id(MONITORING.DEBUGGER_ID)

    def _wanted(self, file: str) -> bool:
        if file not in self._known:
            self._known[file] = any(part in file for part in COUNTED) and not file.endswith(NOT_COUNTED)
        return self._known[file]

    def _one(self) -> None:
        self.count += 1
        if self.count == self._point:
            os.kill(os.getpid(), signal.SIGKILL)

    def _line(self, code: Any, line: int) -> Any:
        if not self._wanted(code.co_filename):
            return MONITORING.DISABLE
        self._one()
        return None

    def _trace(self, frame: Any, event: str, _: Any) -> Any:
        if not self._wanted(frame.f_code.co_filename):
            return None
        if event == "line":
            self._one()
        return self._trace


def serve(subject: Subject, orders: TextIO) -> None:
    """Fork a child for each order, a line `point name`; say on standard output what was acknowledged and how it ended.

    Each trial ends with a line `end STATUS LINES`: the status of `waitpid`, and how many lines ran when nobody died.
    """
    for order in orders:
        point, name = order.split()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _trial(subject, int(point), name)
        _, status = os.waitpid(child, 0)
        _say(f"end {status}")


def _trial(subject: Subject, point: int, name: str) -> None:
    """Be the child: work, and die at the point or at the end. Never returns."""
    code = 1
    try:
        subject.open()
        lines = Lines(point)
        lines.begin()
        subject.act(name, lambda word: _say(f"ack {word}"))
        lines.end()
        _say(f"lines {lines.count}")
        code = 0
    except BaseException as fault:
        _say(f"fault {type(fault).__name__}: {str(fault)[:300]}".replace("\n", " "))
    finally:
        os._exit(code)


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


@dataclass(slots=True)
class Trial:
    """How one child ended.

    lines  how many it ran, when it was not killed
    """

    acknowledged: list[str] = field(default_factory=list)
    killed: bool = False
    lines: int = 0
    fault: str = ""


class Template:
    """The warm process, and its trials."""

    def __init__(self, command: Sequence[str]) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def trial(self, point: int, name: str) -> Trial:
        """Run one trial.

        Raises    Broken when the child failed for a reason of its own, or the template is gone.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{point} {name}\n")
        self._process.stdin.flush()
        found = Trial()
        for line in self._process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "ack":
                found.acknowledged.append(rest)
            elif word == "lines":
                found.lines = int(rest)
            elif word == "fault":
                found.fault = rest
            elif word == "end":
                found.killed = int(rest) == signal.SIGKILL
                if found.fault or not (found.killed or found.lines):
                    raise Broken(f"the trial at {point} broke off: {found.fault or rest}")
                return found
        raise Broken(f"the process that is forked ended with {self._process.wait(TRIAL_SECONDS)}")

    def close(self) -> None:
        """End the template; it ends by itself when nobody orders any more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(TRIAL_SECONDS)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._process.stdout.close()


@dataclass(slots=True)
class Enumeration:
    """What an enumeration found.

    lines    lines of an undisturbed run: as many crash points as there are
    points   trials in which the child died
    """

    handler: str
    lines: int = 0
    points: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


def enumerate_points(
    handler: str,
    template: Template,
    *,
    before: Callable[[str], None],
    after: Callable[[str, Trial], Iterable[str]],
    every: int = 1,
    most: int = 0,
) -> Enumeration:
    """Kill at every line, one after another.

    before   prepares a trial
    after    recovers from it, and says what is wrong
    every    take only each so-and-so-many-th line
    most     take about so many lines, evenly spread; 0 takes them all
    """
    began = time.monotonic()
    found = Enumeration(handler)

    def one(point: int, name: str) -> Trial:
        before(name)
        trial = template.trial(point, name)
        for word in trial.acknowledged:
            found.acknowledged[word] = point
        found.problems += [f"killed at line {point}: {wrong}" for wrong in after(name, trial)]
        return trial

    found.lines = max(one(0, f"{handler}-warm-{number}").lines for number in range(2))
    for point in range(1, found.lines + 1, max(every, -(-found.lines // most) if most else 1)):
        found.points += one(point, f"{handler}-{point}").killed
    found.seconds = time.monotonic() - began
    return found
