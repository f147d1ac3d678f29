"""Lines are counted the same way twice, and a process ends at the line it is given."""

import json
import signal
import subprocess
import sys

PROGRAM = """
import sys
from trueup.kernel.ids import derive
from trueup.sandbox.rigs.crash import Lines
lines = Lines(int(sys.argv[1]))
lines.begin()
for _ in range(3):
    derive("customer", "a", "b")
lines.end()
print(lines.count, sorted({count for times in lines.times.values() for count in times}))
"""


def run(point):
    return subprocess.run([sys.executable, "-c", PROGRAM, str(point)], capture_output=True, text=True, check=False)


def test_lines_are_counted_again_and_again_not_once_for_each_place():
    first, second = run(0), run(0)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    count = int(first.stdout.split()[0])
    assert count > 15
    assert count % 3 == 0


def test_each_line_of_code_has_a_first_and_a_last_time():
    count, ends = run(0).stdout.split(" ", 1)
    ends = json.loads(ends)
    assert (ends[0], ends[-1]) == (1, int(count))
    assert 2 < len(ends) < int(count) / 3, "what runs between the first and the last time is left out"


def test_a_process_dies_at_its_line_and_not_behind_the_last():
    lines = int(run(0).stdout.split()[0])
    assert run(1).returncode == -signal.SIGKILL
    assert run(lines).returncode == -signal.SIGKILL
    assert run(lines + 1).returncode == 0
