"""Turns "this object belongs in the systems of that role" into commands for the effect ledger."""

from collections.abc import Mapping, Sequence
from typing import Any

from trueup.kernel.strict_json import digest
from trueup.pipeline.house import House
from trueup.store.deliveries import Command


def commands(
    house: House,
    role: str,
    kind: str,
    gid: str,
    purpose: str,
    *,
    source: Mapping[str, Any] | None = None,
    depends_on: Sequence[str] = (),
    priority: int = 50,
    process: str | None = None,
    latest: bool = False,
    amount: int | None = None,
    currency: str | None = None,
) -> list[Command]:
    """Return one command for each system of the role that has a mapping for the kind.

    purpose     part of the key: the same purpose for the same object is the same command
    source      what the mapping reads; None reads the object itself when it is sent
    latest      the newest takes the place of older ones not yet sent
    """
    return [
        Command(
            f"{system.name}/{vendor_object}/{gid}/{purpose}",
            system.name,
            vendor_object,
            gid,
            kind,
            purpose.partition("#")[0],
            dedupe,
            source=dict(source) if source is not None else None,
            depends_on=tuple(depends_on),
            priority=priority,
            process=process,
            latest=latest,
            amount=amount,
            currency=currency,
        )
        for system, vendor_object, dedupe in house.targets(kind, role)
    ]


def state_of(source: Mapping[str, Any]) -> str:
    """Return a short mark of a state: a purpose with it in its key is told once for each state."""
    return digest(dict(source))[:12]


def keys(asked: Sequence[Command]) -> tuple[str, ...]:
    """Return the keys of commands, for others to depend on."""
    return tuple(command.key for command in asked)
