"""`trueup connector` and `trueup mapping`: check what a vendor's folder promises."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.entrypoints.cli.output import DIFFERS, answers, say, show, table, workspace_folder
from trueup.kernel.errors import Broken

connector = typer.Typer(help="Vendors' folders, built in and of the workspace.", no_args_is_help=True)
mapping = typer.Typer(help="What becomes what.", no_args_is_help=True)
Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def extra(workspace: Path | None) -> list[Path]:
    """Return the workspace's own connectors folder, when it has one."""
    folder = workspace_folder(workspace) / "connectors"
    return [folder] if folder.is_dir() else []


@connector.command("list")
def list_connectors(workspace: Workspace = None, as_json: Json = False) -> None:
    """List every connector with its role and tier."""
    with answers(as_json):
        from trueup.connectors.sdk import registry

        rows = []
        for name in registry.folders(extra(workspace)):
            manifest = registry.load(name, extra(workspace)).manifest
            rows.append(
                {
                    "connector": name,
                    "title": manifest.title,
                    "role": manifest.role,
                    "tier": manifest.tier,
                    "reads": list(manifest.reads),
                    "writes": list(manifest.writes),
                }
            )
        show(
            rows,
            as_json,
            lambda data: table(
                "Connectors",
                ["connector", "role", "tier", "reads", "writes"],
                [[r["connector"], r["role"], r["tier"], ", ".join(r["reads"]), ", ".join(r["writes"])] for r in data],
            ),
        )


class MappingRoom:
    """The mapping room, handed to the suite, because connectors may not know it."""

    def failures(self, source: str, verbs: Mapping[str, Any]) -> list[str]:
        """Return the examples that do not hold."""
        from trueup.mapping.examples import failures
        from trueup.mapping.file import load as load_mapping

        return failures(load_mapping(source, verbs))

    def meaning(self, source: str, verbs: Mapping[str, Any], record: Any) -> Any:
        """Return what a record means."""
        from trueup.mapping.file import load as load_mapping
        from trueup.mapping.translate import translate

        return translate(load_mapping(source, verbs), record)


@connector.command("check")
def check(name: str, workspace: Workspace = None, as_json: Json = False) -> None:
    """Run the suite every connector inherits against its simulator; exit 1 when a check fails."""
    with answers(as_json):
        from trueup.connectors.sdk import contract, registry
        from trueup.sandbox import host

        found = registry.load(name, extra(workspace))
        if found.simulator is None:
            raise Broken(f"connector {name} has no simulator (sandbox.py)")
        say(f"starting the simulator of {name}")
        with tempfile.TemporaryDirectory() as folder:
            with host.running(Path(folder), systems=[found.name], extra=extra(workspace)) as sandbox:
                outcomes = contract.try_all(found, sandbox.stage(found.name), MappingRoom())
        rows = [{"check": one.check, "state": one.state, "reason": one.reason} for one in outcomes]
        show(
            rows,
            as_json,
            lambda data: table(
                f"{name}, tier {found.manifest.tier}",
                ["", "check", "reason"],
                [[{"passed": "ok", "failed": "FAILED"}.get(r["state"], "-"), r["check"], r["reason"]] for r in data],
            ),
        )
        if any(one.state == "failed" for one in outcomes):
            raise typer.Exit(DIFFERS)


@mapping.command("test")
def run_examples(
    name: Annotated[str, typer.Argument(help="Connector; all when not given.")] = "",
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Run the examples in mapping files; a workspace's overlays count in place of ours. Exit 1 when one fails."""
    with answers(as_json):
        from trueup.connectors.sdk import registry
        from trueup.mapping.examples import failures
        from trueup.mapping.file import load as load_mapping

        overlays = workspace_folder(workspace) / "mappings"
        rows = []
        for one in [name] if name else list(registry.folders(extra(workspace))):
            found = registry.load(one, extra(workspace))
            for file, text in found.mappings.items():
                overlay = overlays / found.name / file
                used = overlay.read_text("utf-8") if overlay.is_file() else text
                loaded = load_mapping(used, found.verbs)
                wrong = failures(loaded)
                rows.append(
                    {
                        "connector": one,
                        "file": file,
                        "mapping": loaded.name,
                        "version": loaded.version,
                        "overlay": overlay.is_file(),
                        "examples": len(loaded.text.examples),
                        "failures": wrong,
                    }
                )
        show(
            rows,
            as_json,
            lambda data: table(
                "Mappings",
                ["", "mapping", "version#", "examples#", "failures"],
                [
                    [
                        "FAILED" if r["failures"] else "ok",
                        r["mapping"],
                        r["version"],
                        r["examples"],
                        "; ".join(r["failures"]),
                    ]
                    for r in data
                ],
            ),
        )
        if any(row["failures"] for row in rows):
            raise typer.Exit(DIFFERS)


@mapping.command("lock")
def lock(
    check_only: Annotated[bool, typer.Option("--check", help="Only say what does not fit the lock.")] = False,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Write down what each version of each mapping does; --check refuses a mapping that changed without a new version."""
    with answers(as_json):
        from trueup.connectors.sdk import registry
        from trueup.mapping import lock as locks
        from trueup.mapping.file import load as load_mapping

        built_in = registry.BUILT_IN / "mappings.lock"
        places = {built_in: registry.folders()}
        own = extra(workspace)
        if own:
            places[own[0] / "mappings.lock"] = {
                name: folder for name, folder in registry.folders(own).items() if folder.parent == own[0]
            }
        found: list[str] = []
        for path, folders in places.items():
            mappings = {
                f"{name}/{file}": load_mapping(text, registry.load(name, own).verbs)
                for name in folders
                for file, text in registry.load(name, own).mappings.items()
            }
            known = locks.read(path.read_text("utf-8")) if path.exists() else {}
            wrong = locks.problems(mappings, known)
            found += [one for one in wrong if check_only or "without a new version" in one or "went back" in one]
            if not check_only and not found:
                path.write_text(locks.write(mappings), "utf-8")
        show({"problems": found}, as_json, lambda data: say("\n".join(data["problems"]) or "every mapping is locked"))
        if found:
            raise typer.Exit(DIFFERS)
