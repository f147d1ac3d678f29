"""Answers shaped as the vendor documents them, replayed through the client: the counterweight to our own simulator."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import pytest

from trueup.connectors.sdk import registry
from trueup.connectors.sdk.wire import Answer, Connection
from trueup.mapping.file import load
from trueup.mapping.translate import translate

CONNECTOR = registry.load("kantata")
CASES = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((CONNECTOR.folder / "cases").glob("*.json"))
    if not path.stem.startswith(("contract", "write_"))
}
LISTS = [name for name, case in CASES.items() if "answer" in case]


@pytest.fixture
def replayed():
    """A server that gives each path's documented answer, and an empty list for the rest."""
    answers = {}

    class Vendor(BaseHTTPRequestHandler):
        def do_GET(self):
            nothing = {"count": 0, "meta": {"count": 0, "page_count": 0, "page_number": 1}, "results": []}
            raw = json.dumps(answers.get(urlsplit(self.path).path, nothing)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Vendor)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = Connection("kantata", f"http://127.0.0.1:{server.server_port}", {"access_token": "a token of the case"})
    client = CONNECTOR.client(CONNECTOR.manifest, place)
    yield client, answers
    client.close()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", LISTS)
def test_a_documented_answer_means_what_the_case_says(name, replayed):
    client, answers = replayed
    case = CASES[name]
    answers[case["path"]] = case["answer"]
    page = client.changes(case["object"], None)
    mapping = load(CONNECTOR.mappings[f"{case['object']}.in.yaml"], CONNECTOR.verbs)
    assert len(page.records) == len(case["means"])
    for record, wanted in zip(page.records, case["means"], strict=True):
        [said] = translate(mapping, json.loads(record.raw))
        found = {"external_id": record.external_id, "stamp": record.stamp, "own": said.own, **said.values}
        found["problems"] = [f"{problem.field} {problem.code}" for problem in said.problems]
        assert {key: found[key] for key in wanted} == wanted
        assert found["problems"] == wanted.get("problems", [])


@pytest.mark.parametrize("error", CASES["errors"]["errors"], ids=lambda error: str(error["status"]))
def test_a_documented_error_has_a_code_with_advice(error, replayed):
    client, _ = replayed
    code, message, path = client.refusal(Answer(error["status"], {}, json.dumps(error["body"]).encode()))
    assert (code, path) == (error["code"], error["path"])
    assert message.startswith(error["body"]["errors"][0]["message"])
    assert code in CONNECTOR.manifest.refusals


def test_every_case_says_where_its_shape_is_from():
    assert all(case["source"] and case["date"] for case in CASES.values())
