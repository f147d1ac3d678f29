"""A worker that carries out processes and nothing else: run as a program with a workspace and the URL of a database.

Says `ready`, works until its input ends.
"""

import sys
from pathlib import Path

from ground import close, open_house
from trueup import engine
from trueup.settings import load


def main(workspace: str, url: str) -> None:
    """Work until standard input ends."""
    house = open_house(load(Path(workspace), {}), url)
    running = engine.Engine(house.database)
    running.launch(house)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    running.stop()
    close(house)


if __name__ == "__main__":
    main(*sys.argv[1:])
