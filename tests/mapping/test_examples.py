"""Every example in every mapping file is a test."""

import pytest

from trueup.connectors.sdk import registry
from trueup.mapping import lock
from trueup.mapping.examples import failures
from trueup.mapping.file import load

FILES = [
    (name, file, text)
    for name in registry.folders()
    for file, text in (
        (path.name, path.read_text("utf-8")) for path in sorted((registry.folders()[name] / "mappings").glob("*.yaml"))
    )
]


@pytest.mark.parametrize(("connector", "file", "text"), FILES, ids=[f"{name}/{file}" for name, file, _ in FILES])
def test_the_examples_of_a_mapping_hold(connector, file, text):
    mapping = load(text, registry.load(connector).verbs)
    assert mapping.system == connector
    assert failures(mapping) == []


def test_no_mapping_changed_without_a_new_version():
    mappings = {f"{name}/{file}": load(text, registry.load(name).verbs) for name, file, text in FILES}
    locked = lock.read((registry.BUILT_IN / "mappings.lock").read_text("utf-8"))
    assert lock.problems(mappings, locked) == []


def test_a_silent_change_is_refused():
    name, _, text = FILES[0]
    verbs = registry.load(name).verbs
    locked = lock.read(lock.write({"a/b": load(text, verbs)}))
    field = next(iter(load(text, verbs).text.fields))
    changed = text.replace(f"  {field}:", f"  {field}_changed:", 1)
    assert lock.problems({"a/b": load(changed, verbs)}, locked) == [
        "a/b changed without a new version; raise `version: 1` and lock it again"
    ]
