"""`trueup einvoice`: judge an e-invoice file, also one we did not make; needs neither workspace nor database."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.entrypoints.cli.output import DIFFERS, USAGE, answers, leave, say, show, table

einvoice = typer.Typer(help="E-invoices: UBL, CII and Factur-X.", no_args_is_help=True)


@einvoice.callback()
def about() -> None:
    """E-invoices: UBL, CII and Factur-X."""


@einvoice.command("check")
def check(file: Path, as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False) -> None:
    """Check a UBL or CII file, or a PDF with one inside: official rules, and every amount worked out again.

    Exit 0 clean, 1 findings, 2 unreadable.
    """
    with answers(as_json):
        from trueup.documents.check import MAX_PDF
        from trueup.documents.check import check as judge

        try:
            with file.open("rb") as given:
                raw = given.read(MAX_PDF + 1)
        except OSError as wrong:
            leave(USAGE, f"{file.name} cannot be read: {wrong.strerror}", as_json)
        report = judge(raw)

        def human(found: dict[str, Any]) -> None:
            for stage in found["stages"]:
                say(f"{'✓' if stage['made'] else '–'} {stage['name']}: {stage['sentence']}")
            if found["findings"]:
                table(
                    f"{found['number'] or file.name}: {len(found['findings'])} findings",
                    ["", "rule", "what", "stated#", "exact#", "difference#"],
                    [
                        [one["severity"], one["rule"], one["sentence"], one["stated"], one["exact"], one["difference"]]
                        for one in found["findings"]
                    ],
                )
            else:
                say("clean")

        show(report, as_json, human)
        if not report.clean:
            raise typer.Exit(DIFFERS if report.readable else USAGE)
