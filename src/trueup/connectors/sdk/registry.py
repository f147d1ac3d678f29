"""Finds connectors, ours and a workspace's own, on equal terms."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Manifest, load_manifest
from trueup.connectors.sdk.simulate import Simulator
from trueup.kernel.errors import Broken

BUILT_IN = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Connector:
    """One vendor's folder, loaded.

    mappings  file name -> text, all of `mappings/`
    verbs     the folder's own mapping verbs (`verbs.py`, optional): name -> function
    """

    manifest: Manifest
    folder: Path
    client: type[VendorClient]
    simulator: type[Simulator] | None
    mappings: dict[str, str]
    verbs: dict[str, Any]

    @property
    def name(self) -> str:
        """The connector's name."""
        return self.manifest.connector


def folders(extra: Sequence[Path] = ()) -> dict[str, Path]:
    """Return every connector folder by name; a workspace's folder may not take a name that exists.

    extra  a workspace's `connectors/` folders
    """
    found: dict[str, Path] = {}
    for parent in (BUILT_IN, *extra):
        for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
            if (folder / "connector.yaml").is_file():
                if folder.name in found:
                    raise Broken(f"there are two connectors named {folder.name}; rename the workspace's folder")
                found[folder.name] = folder
    return found


def load(name: str, extra: Sequence[Path] = ()) -> Connector:
    """Load one connector by its name or an alias.

    Raises    Broken when it does not exist or its folder is incomplete.
    """
    known = folders(extra)
    if name not in known:
        for folder in known.values():
            if name in load_manifest(folder / "connector.yaml").aliases:
                return load(folder.name, extra)
        raise Broken(f"no connector named {name}; there are {', '.join(sorted(known))}")
    folder = known[name]
    manifest = load_manifest(folder / "connector.yaml")
    if manifest.connector != name:
        raise Broken(f"{name}/connector.yaml says connector: {manifest.connector}")
    client_module = _module(folder, "client")
    client = _one(client_module, VendorClient) if client_module else None
    if client is None:
        raise Broken(f"connector {name} has no VendorClient in client.py")
    sandbox = _module(folder, "sandbox")
    verbs = _module(folder, "verbs")
    return Connector(
        manifest,
        folder,
        client,
        _one(sandbox, Simulator) if sandbox else None,
        {path.name: path.read_text("utf-8") for path in sorted((folder / "mappings").glob("*.yaml"))},
        dict(getattr(verbs, "VERBS", {})) if verbs else {},
    )


def _module(folder: Path, stem: str) -> ModuleType | None:
    """Import a module of a connector's folder, as part of the package when it is ours."""
    path = folder / f"{stem}.py"
    if not path.is_file():
        return None
    if folder.parent == BUILT_IN:
        return importlib.import_module(f"trueup.connectors.{folder.name}.{stem}")
    name = f"trueup_workspace_{folder.name}_{stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Broken(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _one(module: ModuleType, kind: type[Any]) -> Any:
    """Return the subclass of `kind` that the module defines."""
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, kind) and value.__module__ == module.__name__:
            return value
    return None
