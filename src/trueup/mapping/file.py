"""The shape of a mapping file: loads, checks, compiles and hashes it."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from trueup.kernel.errors import Broken
from trueup.kernel.problems import Problem, RowsWrong, Wrong
from trueup.mapping.paths import Getter, getter
from trueup.mapping.verbs import VERBS, WHOLE_RECORD, Convert, Line, Maker

_HEAD = re.compile(r"^(?:([a-z0-9_]+)\.)?([A-Za-z0-9_]+) -> (?:([a-z0-9_]+)\.)?([A-Za-z0-9_]+)$")
OPTIONS = frozenset({"optional", "default"})
MAX_TEXT = 200_000
MAX_NODES = 100_000


class Ignore(BaseModel):
    """Records that are not ours: kept, and settled as ignored under a rule's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    when: dict[str, Any]
    rule: str
    why: str


class Example(BaseModel):
    """What a record becomes; runs as a test."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    label: str = Field(alias="is")
    input: dict[str, Any] = Field(alias="in")
    out: dict[str, Any] | list[dict[str, Any]] | None = None
    problems: list[str] = []
    ignored: str | None = None


class Text(BaseModel):
    """A mapping file as written."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    mapping: str
    version: int = Field(ge=1)
    why: str
    key: str | list[str] | None = None
    stamp: str | None = None
    own: str | None = None
    match: dict[str, str] = {}
    rows: str | None = None
    ignore: list[Ignore] = []
    fields: dict[str, dict[str, Any]]
    tables: dict[str, dict[str, Any]] = {}
    examples: list[Example] = Field(min_length=1)


Cell = Callable[[Any, Any], Any]
Fill = Callable[[Any, Any, list[Problem]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A mapping, ready to run.

    system, object  the vendor's side: connector name and vendor object
    kind            the canonical kind on our side
    outward         ours to theirs
    digest          SHA-256 of the file's text: what a stored change points back to
    """

    name: str
    version: int
    digest: str
    text: Text
    source: str
    system: str
    object: str
    kind: str
    outward: bool
    key: tuple[Getter, ...]
    stamp: Getter | None
    own: Getter | None
    match: tuple[tuple[str, Getter], ...]
    rows: Getter | None
    fill: Fill


def load(source: str, extra_verbs: Mapping[str, Maker] | None = None) -> MappingFile:
    """Load, check and compile a mapping file.

    source        the file's text
    extra_verbs   pure verbs of a workspace or a connector
    Raises        Broken naming the line that is wrong.
    """
    if len(source) > MAX_TEXT:
        raise Broken("the mapping file is too large")
    try:
        plain = YAML(typ="safe", pure=True).load(source)
        if _weight(plain, {}) > MAX_NODES:
            raise Broken("the mapping file is too large once its aliases are written out")
        text = Text.model_validate(plain)
    except (ValidationError, YAMLError, RecursionError) as wrong:
        raise Broken(f"mapping file: {wrong}") from wrong
    head = _HEAD.match(text.mapping)
    if head is None or bool(head[1]) == bool(head[3]):
        raise Broken(f"{text.mapping!r}: write `vendor.Object -> kind` or `kind -> vendor.object`")
    outward = bool(head[3])
    if not outward and not text.key:
        raise Broken(f"{text.mapping}: an inward mapping needs `key`")
    verbs = VERBS | dict(extra_verbs or {})
    keys = [text.key] if isinstance(text.key, str) else list(text.key or ())
    return MappingFile(
        name=text.mapping,
        version=text.version,
        digest=hashlib.sha256(source.encode()).hexdigest(),
        text=text,
        source=source,
        system=head[3] if outward else head[1],
        object=head[4] if outward else head[2],
        kind=head[2] if outward else head[4],
        outward=outward,
        key=tuple(getter(path) for path in keys),
        stamp=getter(text.stamp) if text.stamp else None,
        own=getter(text.own) if text.own else None,
        match=tuple((field, getter(path)) for field, path in text.match.items()),
        rows=getter(text.rows) if text.rows else None,
        fill=_compile_fields(text, text.fields, verbs, outward),
    )


def _weight(value: Any, known: dict[int, int]) -> int:
    """Count the values of a document as if its aliases were written out, each place once; a circle has no end."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = MAX_NODES  # until we are through: what contains itself is too large
        inside = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_weight(item, known) for item in inside)
    return known[id(value)]


class _Options(Mapping[str, Any]):
    """A line's options, and which of them its verb has asked for."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self._asked.add(name)
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def unasked(self) -> list[str]:
        """Return the options nobody has asked for."""
        return sorted(set(self._given) - self._asked)


def _compile_fields(text: Text, fields: Mapping[str, Any], verbs: Mapping[str, Maker], outward: bool) -> Fill:
    inside = [(one, other) for one in fields for other in fields if outward and other.startswith(f"{one}.")]
    if inside:
        raise Broken(f"{text.mapping}: {inside[0][1]} would stand in the place of {inside[0][0]}")
    cells = [(name, _compile_line(text, name, line, verbs, outward)) for name, line in fields.items()]

    def fill(row: Any, record: Any, problems: list[Problem]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, cell in cells:
            try:
                values[name] = cell(row, record)
            except Wrong as wrong:
                problems.append(Problem(name, wrong.code, str(wrong)))
            except RowsWrong as rows:
                problems.extend(Problem(f"{name}.{p.field}", p.code, p.message) for p in rows.problems)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as odd:
                # A verb, perhaps a workspace's own, met what it did not expect: one record is bad, not the hub.
                problems.append(Problem(name, "invalid", f"the value cannot be used ({type(odd).__name__}: {odd})"))
        return values

    return fill


def _compile_line(text: Text, name: str, line: Any, verbs: Mapping[str, Maker], outward: bool) -> Cell:
    where = f"{text.mapping}, field {name}"
    if not isinstance(line, dict) or not line:
        raise Broken(f"{where}: a line is written {{verb: path}}")
    (word, path), *rest = line.items()
    if word not in verbs:
        raise Broken(f"{where}: there is no verb {word!r}; there are {', '.join(sorted(verbs))}")
    options = dict(rest)

    def compile_rows(nested: Mapping[str, Any]) -> Cell:
        fill = _compile_fields(text, nested, verbs, outward)

        def row_of(row: Any, record: Any) -> dict[str, Any]:
            found: list[Problem] = []
            values = fill(row, record, found)
            if found:
                raise RowsWrong(found)
            return values

        return row_of

    given = _Options({key: item for key, item in options.items() if key not in OPTIONS})
    try:
        convert = verbs[word](Line(word, path, given, text.tables, compile_rows, outward))
    except (ValueError, TypeError, KeyError, AttributeError) as wrong:
        raise Broken(f"{where}: {wrong}") from wrong
    if given.unasked():
        raise Broken(f"{where}: the verb {word} knows no option {', '.join(given.unasked())}")
    excused = bool(options.get("optional")) or word == "yes" or (outward and word in ("first", "pick"))
    return _cell(word, path, convert, options, excused)


def _cell(word: str, path: Any, convert: Convert, options: Mapping[str, Any], excused: bool) -> Cell:
    """Return what one line does with a row; `excused`: it may come to nothing."""
    has_default, default = "default" in options, options.get("default")
    get = None if word in WHOLE_RECORD else getter(str(path))

    def cell(row: Any, record: Any) -> Any:
        value = None
        if get is None:
            value = convert(None, row, record)
        else:
            found = get(row, record)
            if found == "":
                found = None
            if found is not None or word == "yes":
                value = convert(found, row, record)
        if value is None:
            if has_default:
                return default
            if not excused:
                raise Wrong("missing", f"{path} is missing; the record cannot be used without it")
        return value

    return cell
