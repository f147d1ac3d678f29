"""A mapping that changes gets a new version: the lock knows what each version says and refuses a silent change."""

from collections.abc import Mapping

from trueup.kernel.strict_json import digest
from trueup.mapping.file import MappingFile

Lock = dict[str, tuple[int, str]]
"""`system/file` -> (version, digest of what it does)"""


def meaning(mapping: MappingFile) -> str:
    """Return the digest of what a mapping does; its examples and its reason may change freely."""
    text = mapping.text.model_dump(mode="json", exclude={"examples", "why"}, by_alias=True)
    return digest({key: _plain(value) for key, value in text.items()})


def _plain(value: object) -> object:
    """Write floats in files as text: only their spelling counts here."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def read(text: str) -> Lock:
    """Read a lock file: one line a mapping, `system/file version digest`."""
    lock: Lock = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, version, mark = line.split()
            lock[name] = (int(version), mark)
    return lock


def write(mappings: Mapping[str, MappingFile]) -> str:
    """Return the lock file of these mappings, named `system/file`."""
    head = "# What each version of each mapping does. Made by `trueup mapping lock`; a change needs a new version.\n"
    return head + "".join(f"{name} {m.version} {meaning(m)}\n" for name, m in sorted(mappings.items()))


def problems(mappings: Mapping[str, MappingFile], lock: Lock) -> list[str]:
    """Return what does not fit the lock, one sentence each."""
    found = []
    for name, mapping in sorted(mappings.items()):
        if name not in lock:
            found.append(f"{name} is not locked; run `trueup mapping lock`")
            continue
        version, mark = lock[name]
        if mapping.version < version:
            found.append(f"{name} went back from version {version} to {mapping.version}")
        elif mapping.version == version and meaning(mapping) != mark:
            found.append(f"{name} changed without a new version; raise `version: {version}` and lock it again")
        elif mapping.version > version:
            found.append(f"{name} has version {mapping.version}, the lock knows {version}; run `trueup mapping lock`")
    found += [f"{name} is locked and does not exist" for name in sorted(set(lock) - set(mappings))]
    return found
