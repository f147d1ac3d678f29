"""The vendor that calls all the time is believed, and each of its calls is about a record of its own."""

import time

from trueup.connectors.sdk import registry
from trueup.connectors.sdk.webhook import refuse
from trueup.sandbox.rigs import caller


def test_its_calls_are_believed_and_name_their_record():
    connector = registry.load(caller.SYSTEM)
    one, two = caller.call("secret", 1), caller.call("secret", 2)
    headers = {name.lower(): value for name, value in one.headers.items()}
    assert refuse(connector.manifest.webhook, "secret", headers, one.body, time.time()) is None
    assert one.record != two.record
    assert one.record.encode() in one.body
    assert one.record.startswith(caller.MARK)
