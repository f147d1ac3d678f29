"""The examples in docstrings are true."""

import doctest

import pytest

from trueup.entrypoints.web import spreadsheet, visitor, wording
from trueup.reporting import amounts, close


@pytest.mark.parametrize("module", [amounts, close, spreadsheet, visitor, wording], ids=lambda module: module.__name__)
def test_examples_hold(module):
    tried = doctest.testmod(module)
    assert (tried.failed, tried.attempted > 0) == (0, True)
