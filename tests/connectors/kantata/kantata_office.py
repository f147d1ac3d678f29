"""One simulated account behind the sandbox's real HTTP: a project, two people, a phase and a milestone."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request

from trueup.connectors.sdk import registry
from trueup.connectors.sdk.client import Pace
from trueup.connectors.sdk.wire import Connection
from trueup.mapping.file import load
from trueup.mapping.translate import translate

KEY = "prj_01h2xcejqtf2nbrexx3vqjhp41"


class Office:
    """The simulator, what its people do, and ways to reach it over HTTP."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.simulator = sandbox.simulator("kantata")
        self.connection = sandbox.connection("kantata")
        self.clients = []
        self.consultant = self.do("create", "roles", {"name": "Consultant"})
        self.maren = self.person("Maren Lindholm")
        self.ines = self.person("Ines Roth")
        self.project = self.do("create", "workspaces", {"title": "D07-US01 Claims", "currency": "USD", "price": 184000})
        self.phase = self.story("Discovery", story_type="deliverable")
        self.milestone = self.story("D07-M1 Blueprint", story_type="milestone")

    def person(self, name):
        mail = f"{name.lower().replace(' ', '.')}@nordlys.example"
        return self.do("create", "users", {"full_name": name, "email_address": mail})

    def story(self, title, **more):
        return self.do("create", "stories", {"title": title, "workspace_id": self.project["id"], **more})

    def hour(self, day="2026-08-27", person=None, **more):
        return {
            "workspace_id": self.project["id"],
            "story_id": self.phase["id"],
            "user_id": (person or self.maren)["id"],
            "role_id": self.consultant["id"],
            "date_performed": day,
            "time_in_minutes": 60,
            "sheet": "P001-2026-W35",
        } | more

    def book(self, *rows, approve=False):
        return self.do("log_time", list(rows), approve=approve)

    def do(self, method, *arguments, **named):
        with self.simulator.lock:
            done = getattr(self.simulator, method)(*arguments, **named)
            self.simulator.store.flush()
            return done

    def row(self, table, id):
        return dict(self.simulator.account.table(table)[id])

    def backdate(self, table, seconds):
        """Make rows look as if they were changed a while ago."""
        with self.simulator.lock:
            for id, row in list(self.simulator.store.table(table).items()):
                self.simulator.store.put(table, id, row | {"updated_at": self.ago(seconds)})

    def ago(self, seconds):
        return time.strftime("%Y-%m-%dT%H:%M:%S-07:00", time.gmtime(time.time() - seconds - 7 * 3600))

    def client(self, **options):
        connector = registry.load("kantata")
        given = {name: getattr(self.connection, name) for name in self.connection.__dataclass_fields__}
        made = connector.client(connector.manifest, Connection(**(given | {"options": options})))
        made.pace = Pace(10_000, 8)
        self.clients.append(made)
        return made

    def call(self, method, path, body=None, token=None, **params):
        """Call the API by hand; return (status, body, headers)."""
        url = f"{self.connection.base_url}{path}"
        if params:
            url += "?" + urllib.parse.urlencode(params)
        token = self.connection.credentials["access_token"] if token is None else token
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                raw = answer.read()
                return answer.status, json.loads(raw) if raw else None, dict(answer.headers)
        except urllib.error.HTTPError as no:
            raw = no.read()
            html = no.headers["content-type"].startswith("text/html")
            return no.code, raw.decode() if html else json.loads(raw), dict(no.headers)

    def list(self, path, **params):
        status, body, _ = self.call("GET", path, **params)
        assert status == 200, body
        return body

    def ids(self, path, **params):
        return [place["id"] for place in self.list(path, **params)["results"]]


def read_all(client, object, cursor=None):
    """Read to the end of what there is now; return (records, cursor)."""
    records = []
    while True:
        page = client.changes(object, cursor)
        records += page.records
        cursor = page.cursor
        if not page.more:
            return records, cursor


def read_until_quiet(client, object, cursor):
    """Read until a poll shows nothing: the last second has to be over, on the vendor's clock; return the cursor."""
    for _ in range(8):
        records, cursor = read_all(client, object, cursor)
        if not records:
            return cursor
        time.sleep(0.6)
    raise AssertionError("the same rows are read again and again")


def meaning(record):
    """Return what a record means by the connector's own mapping."""
    connector = registry.load("kantata")
    mapping = load(connector.mappings[f"{record.object}.in.yaml"], connector.verbs)
    [said] = translate(mapping, json.loads(record.raw))
    assert said.problems == (), said.problems
    return said


def until_the_second_is_over():
    time.sleep(1.05 - time.time() % 1)
