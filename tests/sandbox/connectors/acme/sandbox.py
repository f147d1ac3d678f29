"""A small vendor: things have ids of its own, may carry our key, and each change is announced."""

import secrets
from typing import Any, ClassVar

from trueup.connectors.sdk.simulate import Reject, Request, Response, Simulator, route


class AcmeSimulator(Simulator):
    vendor: ClassVar[str] = "acme"
    tokens: ClassVar[set[str]] = set()

    @route("POST", "/api/token", public=True)
    def token(self, request: Request) -> Response:
        form = request.form()
        if any(form.get(name) != self.credentials[name] for name in ("client_id", "client_secret")):
            return Response(401, {"code": "sign_in", "message": "unknown client"})
        self.tokens.add(made := secrets.token_hex(8))
        return Response(200, {"access_token": made, "expires_in": 3600})

    def authorize(self, request: Request) -> None:
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            raise Reject(Response(401, {"code": "who", "message": "who are you?"}))

    @route("GET", "/api/things")
    def things(self, request: Request) -> Response:
        rows = sorted(self.store.table("things").values(), key=lambda row: row["stamp"])
        if request.param("key"):
            return Response(200, {"things": [row for row in rows if row.get("key") == request.param("key")]})
        rows = [row for row in rows if row["stamp"] > request.param("after")]
        limit = int(request.param("limit", "100"))
        return Response(200, {"things": rows[:limit], "more": len(rows) > limit})

    @route("POST", "/api/things")
    def make(self, request: Request) -> Response:
        return Response(201, self._save(f"a{self.store.next_number('thing')}", request))

    @route("PUT", "/api/things/{key}")
    def put(self, request: Request, key: str) -> Response:
        self._save(key, request)
        return Response(204)

    @route("GET", "/api/things/{key}")
    def get(self, request: Request, key: str) -> Response:
        row = self.store.table("things").get(key)
        return Response(200, row) if row else self.missing(request)

    def create(self, table: str, row: dict[str, Any]) -> dict[str, Any]:
        row = {**row, "stamp": self.store.stamp().isoformat()}
        self.store.put(table, row["id"], row)
        self.announce({"id": row["id"]})
        return row

    def _save(self, id: str, request: Request) -> dict[str, Any]:
        body = request.json()
        if not body.get("name"):
            raise Reject(Response(422, {"code": "bad_name", "message": "a thing needs a name"}))
        return self.create("things", {"id": id, **body})
