"""Every example in a docstring of the room is true."""

import doctest
import importlib
import pkgutil

import pytest

import trueup.billing


@pytest.mark.parametrize("module", [found.name for found in pkgutil.iter_modules(trueup.billing.__path__)])
def test_the_examples_hold(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"trueup.billing.{module}")).failed == 0
