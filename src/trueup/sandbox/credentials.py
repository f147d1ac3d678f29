"""Makes what every system needs to be signed in to: once, on the first start, readable by the owner only."""

import json
import os
import secrets
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.wire import Connection
from trueup.kernel.errors import Broken


def keep_credentials(path: Path, url: str, seed: int, manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    """Return the sandbox's credentials, making those that do not exist yet, with addresses under `url`.

    Returns   {url, seed, control_token, systems: {name: {connector, base_url, token_url, credentials, webhook_secret}}}
    Raises    Broken when the folder belongs to another seed.
    """
    kept: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if kept and kept["seed"] != seed:
        raise Broken(f"{path.parent} was made with seed {kept['seed']}; use that seed or another folder")
    systems = dict(kept.get("systems", {}))
    for name, manifest in manifests.items():
        known = systems.get(name) or {"credentials": _credentials(manifest), "webhook_secret": secrets.token_hex(32)}
        systems[name] = known | {"connector": name} | _addresses(f"{url}/{name}", manifest)
    kept = {
        "url": url,
        "seed": seed,
        "control_token": kept.get("control_token") or secrets.token_urlsafe(32),
        "systems": systems,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(kept, file, indent=1)
    fresh.replace(path)
    return kept


def connection(kept: Mapping[str, Any], system: str) -> Connection:
    """Return the connection to one system of a credentials file."""
    entry = kept["systems"][system]
    return Connection(
        system=system,
        base_url=entry["base_url"],
        credentials=entry["credentials"],
        token_url=entry["token_url"],
        webhook_secret=entry["webhook_secret"],
    )


def _addresses(root: str, manifest: Manifest) -> dict[str, str]:
    """Return base and token address: the vendor's own paths behind the system's prefix."""
    base_url = root + urlsplit(manifest.base_url).path.rstrip("/")
    token_url = ""
    if manifest.auth.get("token_url"):
        token_url = root + urlsplit(manifest.auth["token_url"]).path
    elif manifest.auth.get("token_path"):
        token_url = base_url + manifest.auth["token_path"]
    return {"base_url": base_url, "token_url": token_url}


def _credentials(manifest: Manifest) -> dict[str, str]:
    """Make one of everything a sign-in may ask for; a private key only where tokens are asked for with a JWT."""
    made = {
        "client_id": uuid.uuid4().hex,
        "client_secret": secrets.token_urlsafe(32),
        "refresh_token": secrets.token_urlsafe(32),
        "access_token": secrets.token_urlsafe(32),
        "api_key": secrets.token_hex(20),
        "username": "integration@nordlys.example",
        "password": secrets.token_urlsafe(16),
        "key_id": secrets.token_urlsafe(12),
        "company_id": uuid.uuid4().hex,
    }
    facts = " ".join(manifest.auth.values())
    if "jwt" in facts.lower():
        curve = any(word.startswith("ES") for word in manifest.auth.values())
        key = ec.generate_private_key(ec.SECP256R1()) if curve else rsa.generate_private_key(65537, 2048)
        made["private_key"] = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        made["public_key"] = (
            key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )
    return made
