"""Every mapping carries its examples; this runs them."""

from decimal import Decimal
from typing import Any

from trueup.kernel.strict_json import plain
from trueup.mapping.file import Example, MappingFile
from trueup.mapping.outward import outward
from trueup.mapping.translate import translate
from trueup.mapping.verbs import Ref


def failures(mapping: MappingFile) -> list[str]:
    """Return what the examples say and the mapping does not do, one sentence each."""
    return [
        f"{mapping.name} v{mapping.version}, example {example.label!r}: {wrong}"
        for example in mapping.text.examples
        for wrong in (_outward(mapping, example) if mapping.outward else _inward(mapping, example))
    ]


def _inward(mapping: MappingFile, example: Example) -> list[str]:
    found = translate(mapping, _decimals(example.input))
    problems = [f"{p.field} {p.code}" for one in found for p in one.problems]
    wrong = []
    if sorted(problems) != sorted(example.problems):
        wrong.append(f"expected problems {example.problems}, got {problems}")
    ignored = next((one.ignored for one in found if one.ignored), None)
    if ignored != example.ignored:
        wrong.append(f"expected ignored {example.ignored}, got {ignored}")
    if example.out is not None:
        wanted = example.out if isinstance(example.out, list) else [example.out]
        wrong += _differences([_shown(one.values) for one in found], [_shown(one) for one in wanted])
    return wrong


def _outward(mapping: MappingFile, example: Example) -> list[str]:
    made = outward(mapping, _decimals(example.input), lambda gid, kind: f"{kind}/{gid}")
    problems = [f"{p.field} {p.code}" for p in made.problems]
    wrong = [] if sorted(problems) == sorted(example.problems) else [f"expected {example.problems}, got {problems}"]
    if example.out is not None:
        wrong += _differences([_shown(made.body)], [_shown(example.out)])
    return wrong


def _differences(found: list[Any], wanted: list[Any]) -> list[str]:
    if len(found) != len(wanted):
        return [f"expected {len(wanted)} objects, got {len(found)}"]
    return [
        f"{key}: expected {want.get(key)!r}, got {got.get(key)!r}"
        for got, want in zip(found, wanted, strict=True)
        for key in sorted(set(got) | set(want))
        if got.get(key) != want.get(key)
    ]


def _decimals(value: Any) -> Any:
    """Read the example's numbers as the wire reader would: exact."""
    if isinstance(value, dict):
        return {str(key): _decimals(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decimals(item) for item in value]
    if isinstance(value, float):
        return Decimal(str(value))
    return value.isoformat() if hasattr(value, "isoformat") else value


def _shown(value: Any) -> Any:
    """Write values the way an example writes them: numbers and decimals alike, references as ref:Object/id."""
    if isinstance(value, Ref):
        return f"ref:{value.object}/{value.external_id}"
    if isinstance(value, dict):
        return {str(key): _shown(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    text = str(plain(value) if not isinstance(value, float) else value)
    try:
        return format(Decimal(text).normalize(), "f") if text.replace(".", "", 1).lstrip("-").isdigit() else text
    except ArithmeticError:
        return text
