"""Every connector folder passes the suite, over real HTTP, against its own simulator."""

from collections.abc import Mapping
from typing import Any

import pytest

from trueup.connectors.sdk import contract, registry
from trueup.mapping.examples import failures
from trueup.mapping.file import load
from trueup.mapping.translate import translate
from trueup.sandbox import host


class MappingRoom:
    """The mapping room, as the suite wants it."""

    def failures(self, source: str, verbs: Mapping[str, Any]) -> list[str]:
        return failures(load(source, verbs))

    def meaning(self, source: str, verbs: Mapping[str, Any], record: Any) -> Any:
        return translate(load(source, verbs), record)


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """One running simulator per connector, started when its first check comes."""
    running: dict[str, tuple[host.Running, contract.Trial]] = {}

    def trial(name: str) -> contract.Trial:
        if name not in running:
            sandbox = host.start(tmp_path_factory.mktemp(name), systems=[name])
            running[name] = sandbox, contract.Trial(registry.load(name), sandbox.stage(name), MappingRoom())
        return running[name][1]

    yield trial
    for sandbox, _ in running.values():
        sandbox.stop()


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", sorted(registry.folders()))
def test_a_connector(name, check, trials):
    outcome = contract.try_one(check, trials(name))
    if outcome.state == "skipped":
        pytest.skip(outcome.reason)
    assert outcome.state == "passed", outcome.reason
