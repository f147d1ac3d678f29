"""Whole runs of the demo that several scenarios look at, and hubs over simulators; whatever was started is ended."""

import fcntl
import json
import os
from contextlib import ExitStack
from dataclasses import asdict, replace

import pytest
from firms import Finished, Firm
from hubs import Site

from trueup.sandbox import host


@pytest.fixture(scope="session")
def firm_in(tmp_path_factory):
    """Make demo firms; whatever still runs for them ends with the session."""
    with ExitStack() as made:

        def make(name: str, *options: str) -> Firm:
            firm = Firm(tmp_path_factory.mktemp(name) / "firm", *options)
            made.callback(firm.close)
            return firm

        yield make


@pytest.fixture(scope="session")
def undisturbed(firm_in, tmp_path_factory):
    """The firm of seed 1, from the first deal to the last payment, with nothing in its way; one run for all workers."""
    place = tmp_path_factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place
    kept = place / "undisturbed.json"
    with (place / "undisturbed.lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if not kept.exists():
            firm = firm_in("undisturbed", "--seed", "1", "--keep")
            try:
                kept.write_text(json.dumps(asdict(replace(firm.run(), done=firm.done()))), "utf-8")
            finally:
                firm.close()
    return Finished(**json.loads(kept.read_text("utf-8")))


@pytest.fixture(scope="module")
def site(tmp_path_factory, database_url):
    """The five simulators of the demo firm, with its workspace and an empty database; no hub yet."""
    folder = tmp_path_factory.mktemp("site")
    with host.running(folder / "sandbox", seed=1) as sandbox:
        made = Site(folder, sandbox, database_url)
        try:
            yield made
        finally:
            made.close()
