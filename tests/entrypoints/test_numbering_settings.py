"""Who numbers invoices is said in two files of the workspace: they have to say the same, in patterns that can work."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from trueup.entrypoints import bootstrap
from trueup.entrypoints.bootstrap import default_ownership
from trueup.kernel.errors import Broken
from trueup.settings import EntitySettings, load

ENTITY = {"code": "DE01", "name": "Nord GmbH", "country": "DE", "currency": "EUR", "sells_to": ["DE"]}


@pytest.mark.parametrize(
    ("prefixes", "why"),
    [
        ({"invoice": "{entity}-"}, "needs {year}"),
        ({"invoice": "{entity}-{year}-{month}-"}, "nothing else in braces"),
        ({"invoice": "{year}-", "credit": "{year}-"}, "numbers would meet"),
        ({"receipt": "{year}-"}, "invoice"),
    ],
)
def test_a_prefix_that_would_give_a_number_twice_is_refused(prefixes, why):
    with pytest.raises(ValidationError, match=why):
        EntitySettings(**ENTITY, numbering="hub", number_prefixes=prefixes)


def test_an_item_nobody_knows_cannot_block():
    with pytest.raises(ValidationError, match="close_blocks"):
        EntitySettings(**ENTITY, close_blocks=["everything"])


def test_entities_and_ownership_have_to_agree_on_who_numbers(sandbox, house, database_url):
    settings = replace(load(sandbox.host.folder.parent / "workspace", {}), database=database_url)
    by_hub = {
        code: entity.model_copy(update={"numbering": "hub", "number_prefixes": {"invoice": "R{year}-"}})
        for code, entity in settings.entities.items()
    }
    with pytest.raises(Broken, match=r"invoice\.number"):
        bootstrap.build(replace(settings, entities=by_hub), house.database)
    owned = default_ownership().replace("      number: erp\n      balance", "      number: hub\n      balance")
    built = bootstrap.build(replace(settings, entities=by_hub, ownership=owned), house.database)
    numbering = next(iter(built.firm.entities.values())).numbering
    assert numbering.prefixes == {"invoice": "R{year}-", "credit": "{entity}-CN-{year}-"}
    one = next(iter(by_hub))
    mixed = {**settings.entities, one: by_hub[one]}
    with pytest.raises(Broken, match="every entity"):
        bootstrap.build(replace(settings, entities=mixed, ownership=owned), house.database)
