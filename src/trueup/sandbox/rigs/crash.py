"""SIGKILL at every line: a warm process is forked for each trial, and the child ends at the line we name.

The child counts the lines it runs in the hub's code and in the database driver, and kills itself at one of them: at each
line of code the first and the last time it runs (a loop's turns in between differ in nothing that outlives the process),
or each time. What it acknowledges goes into a pipe first: bytes in a pipe outlive the writer. Python 3.12 and later count by
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
    times  for each line of code, as file and number, when it ran first and last; counted only when nothing is ended
    """

    def __init__(self, point: int) -> None:
        self.count = 0
        self.times: dict[tuple[str, int], tuple[int, int]] = {}
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

    def _one(self, file: str, line: int) -> None:
        self.count += 1
        if self.count == self._point:
            _say(f"at {file}:{line}")
            os.kill(os.getpid(), signal.SIGKILL)
        if not self._point:
            place = (file, line)
            self.times[place] = (self.times.get(place, (self.count, 0))[0], self.count)

    def _line(self, code: Any, line: int) -> Any:
        if not self._wanted(code.co_filename):
            return MONITORING.DISABLE
        self._one(code.co_filename, line)
        return None

    def _trace(self, frame: Any, event: str, _: Any) -> Any:
        if not self._wanted(frame.f_code.co_filename):
            return None
        if event == "line":
            self._one(frame.f_code.co_filename, frame.f_lineno)
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
        ends = sorted({count for times in lines.times.values() for count in times})
        _say(f"lines {lines.count} {len(lines.times)} {' '.join(map(str, ends))}")
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

    at      the line of code it was killed at
    lines   how many it ran, when it was not killed
    places  how many lines of code they were
    ends    when each of these ran first and last
    """

    acknowledged: list[str] = field(default_factory=list)
    killed: bool = False
    at: str = ""
    lines: int = 0
    places: int = 0
    ends: list[int] = field(default_factory=list)
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
            elif word == "at":
                found.at = rest
            elif word == "lines":
                found.lines, found.places, *found.ends = map(int, rest.split())
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

    lines    lines of an undisturbed run, each time one runs
    places   lines of code they are
    points   trials in which the child died
    died_at  lines of code it died at
    """

    handler: str
    lines: int = 0
    places: int = 0
    points: int = 0
    died_at: set[str] = field(default_factory=set)
    acknowledged: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


def enumerate_points(
    handler: str,
    template: Template,
    *,
    before: Callable[[str], None],
    after: Callable[[str, Trial], Iterable[str]],
    each_time: bool = False,
    most: int = 0,
) -> Enumeration:
    """Kill at every line, one after another.

    before     prepares a trial
    after      recovers from it, and says what is wrong
    each_time  at each line each time it runs, not the first and the last time alone
    most       take about so many points, evenly spread; 0 takes them all
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

    _, calm = one(0, f"{handler}-warm-0"), one(0, f"{handler}-warm-1")  # the first warms the database up
    found.lines, found.places = calm.lines, calm.places
    points = range(1, calm.lines + 1) if each_time else calm.ends
    for point in points[:: -(-len(points) // most) if most else 1]:
        trial = one(point, f"{handler}-{point}")
        found.points += trial.killed
        found.died_at.add(trial.at)
    found.died_at.discard("")
    found.seconds = time.monotonic() - began
    return found
