"""The ownership matrix: loads it, checks that it is total and has no loops, answers who owns a field."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from trueup.kernel.errors import Broken
from trueup.model.kinds import KINDS

ROLES = frozenset({"crm", "psa", "erp", "hris", "expense", "hub"})
NOBODY = "nobody"


class Entry(BaseModel):
    """One kind of object in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    create: list[str]
    owner: str
    fields: dict[str, str | dict[str, str]] = {}


class Matrix(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: int
    objects: dict[str, Entry]


@dataclass(frozen=True)
class Ownership:
    """Who may set what. Ask `owner`; it always answers."""

    version: int
    objects: Mapping[str, Entry]
    _cache: dict[tuple[str, str, str], str] = field(default_factory=dict, compare=False)

    def owner(self, kind: str, name: str, status: str | None) -> str:
        """Return the role that owns a field while the object is in a status: a role, `hub` or `nobody`."""
        key = (kind, name, status or "")
        if key not in self._cache:
            entry = self.objects[kind]
            said = entry.fields.get(name, entry.owner)
            self._cache[key] = said if isinstance(said, str) else said.get(status or "", said.get("*", NOBODY))
        return self._cache[key]

    def may_create(self, kind: str, role: str) -> bool:
        """Say whether a role may bring an object of this kind into being."""
        return role in self.objects[kind].create

    def rows(self) -> list[dict[str, str]]:
        """Return the matrix flat, for the page and the reference: kind, field, status, owner."""
        out = []
        for kind, entry in self.objects.items():
            out.append({"kind": kind, "field": "*", "status": "*", "owner": entry.owner})
            for name, said in entry.fields.items():
                per_status = {"*": said} if isinstance(said, str) else said
                out += [{"kind": kind, "field": name, "status": s, "owner": o} for s, o in per_status.items()]
        return out


def load(text: str) -> Ownership:
    """Load and check an ownership file.

    Raises    Broken with everything that is wrong with it.
    """
    try:
        matrix = Matrix.model_validate(YAML(typ="safe", pure=True).load(text))
    except (ValidationError, YAMLError, RecursionError) as unreadable:
        raise Broken(f"ownership.yaml: {unreadable}") from unreadable
    wrong = [sentence for kind in KINDS for sentence in _check(kind, matrix.objects.get(kind))]
    wrong += [f"{kind} is no kind of object" for kind in matrix.objects if kind not in KINDS]
    if wrong:
        raise Broken("ownership.yaml: " + "; ".join(wrong))
    return Ownership(matrix.version, matrix.objects)


def _check(kind: str, entry: Entry | None) -> list[str]:
    if entry is None:
        return [f"nobody owns {kind}"]
    cls = KINDS[kind]
    wrong = [f"{kind}: {role} is no role" for role in (*entry.create, entry.owner) if role not in ROLES]
    for name, said in entry.fields.items():
        if name not in cls.model_fields:
            wrong.append(f"{kind} has no field {name}")
        for status, role in ({"*": said} if isinstance(said, str) else said).items():
            if role not in ROLES | {NOBODY}:
                wrong.append(f"{kind}.{name}: {role} is no role")
            if status != "*" and status not in cls.lifecycle.statuses:
                wrong.append(f"{kind}.{name}: {status} is no status of {kind}")
    return wrong


def check_flows(
    ownership: Ownership, heard: Mapping[str, Mapping[str, set[str]]], told: Mapping[str, Mapping[str, set[str]]]
) -> list[str]:
    """Return what could run in a circle or never arrive, one sentence each.

    heard   kind -> role -> fields its inward mappings fill
    told    kind -> role -> fields its outward mappings read

    A circle needs a field that a system both owns and is told by us while somebody else may also set it: we refuse
    to tell a system a field it owns in every status.
    """
    problems = []
    for kind, roles in told.items():
        statuses: list[Any] = [*KINDS[kind].lifecycle.statuses]
        for role, fields in roles.items():
            for name in sorted(fields & set(KINDS[kind].model_fields) - {"status"}):
                if all(ownership.owner(kind, name, status) == role for status in statuses):
                    creators = ownership.objects[kind].create
                    if "hub" not in creators:
                        problems.append(f"{kind}.{name} is owned by {role} and also written to {role}: a circle")
    for kind, entry in ownership.objects.items():
        for name in entry.fields:
            owners = {ownership.owner(kind, name, status) for status in KINDS[kind].lifecycle.statuses}
            for role in owners - {"hub", NOBODY}:
                if role in heard.get(kind, {}) and name not in heard[kind][role]:
                    problems.append(f"{kind}.{name} is owned by {role}, but no mapping of {role} fills it")
    return problems
