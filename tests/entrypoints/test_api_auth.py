"""Tokens and scopes: who may call, with what, and how refusals look."""

import time

import pytest
from wire import call

from trueup.entrypoints.api.auth import KNOWN_SECONDS
from trueup.store import access


def problem(answer, status, code):
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"/docs/errors/{code}")
    assert set(body) >= {"title", "detail", "instance", "retryable", "trace_id"}
    return body


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer guess"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer " + "x" * 5000},
        {"Authorization": "Bearer t\xfcken"},
        {"Cookie": "trueup_token=guess"},
    ],
    ids=["nothing", "empty", "no token", "blank token", "unknown", "basic", "endless", "not ascii", "a cookie"],
)
def test_without_a_living_token_nobody_is_served(base, headers):
    answer = call(base, "GET", "/v1/customers", headers=headers)
    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_token_in_the_address_is_refused_even_when_it_is_right(base, api):
    token = api("objects:read").token
    for name in ("access_token", "token", "api_key"):
        problem(call(base, "GET", f"/v1/customers?{name}={token}"), 400, "token_in_query")


def test_two_authorization_headers_are_refused(base, api):
    token = api("objects:read").token
    headers = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    problem(call(base, "GET", "/v1/customers", headers=headers), 400, "two_tokens")


def test_an_expired_token_is_dead(base, house):
    with house.database.transaction() as tx:
        token = access.issue(tx, "old", ["objects:read"], days=-1)
    problem(call(base, "GET", "/v1/customers", headers={"Authorization": f"Bearer {token}"}), 401, "unauthorized")


def test_a_revoked_token_is_dead_seconds_later(house, api):
    caller = api("objects:read")
    assert caller.get("/v1/customers").status == 200
    with house.database.transaction() as tx:
        tx.run("update tokens set revoked_at = now() where name = 'caller objects:read'")
    time.sleep(KNOWN_SECONDS + 0.2)
    problem(caller.get("/v1/customers"), 401, "unauthorized")


ROUTES = {
    "/v1/customers": "objects:read",
    "/v1/invoices": "money:read",
    "/v1/billing-events": "money:read",
    "/v1/events": "events:read",
    "/v1/events/types": "events:read",
    "/v1/work": "ops:read",
    "/v1/flows": "ops:read",
    "/v1/holds": "money:read",
    "/v1/metrics": "money:read",
    "/v1/operations/x": "ops:read",
}


@pytest.mark.parametrize(("path", "scope"), ROUTES.items())
def test_every_route_wants_its_scope(api, path, scope):
    others = sorted({*ROUTES.values(), "objects:write", "process:run", "cost:read"} - {scope})
    body = problem(api(*others).get(path), 403, "forbidden")
    assert body["missing_scopes"] == [scope]
    assert api(scope).get(path).status in (200, 404)
    assert api("admin").get(path).status in (200, 404)


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/v1/processes/billing-runs", "process:run"),
        ("/v1/processes/month-ends", "process:run"),
        ("/v1/processes/reconciliations", "process:run"),
        ("/v1/holds/1/release", "ops:act"),
        ("/v1/plans", "ops:act"),
        ("/v1/plans/1/apply", "ops:act"),
        ("/v1/plans/1/cancel", "ops:act"),
    ],
)
def test_every_command_wants_its_scope(api, path, scope):
    body = problem(api("objects:read", "ops:read", "money:read").post(path, {}), 403, "forbidden")
    assert body["missing_scopes"] == [scope]
    assert api(scope).post(path, {"unknown": 1}).status == 422


def test_scopes_are_checked_before_the_body_is_read(api):
    answer = api("objects:read").send("PUT", "/v1/customers/x:1", b"\xff\xff", headers={"Content-Type": "text/plain"})
    problem(answer, 403, "forbidden")


def test_every_route_of_the_description_is_closed_to_strangers(base):
    document = call(base, "GET", "/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"]
            assert operation["security"], path
            answer = call(
                base, method.upper(), path.replace("{number}", "1"), b"", {"Content-Type": "application/json"}
            )
            problem(answer, 401, "unauthorized")


def test_the_type_of_a_problem_leads_to_a_page(base):
    kind = call(base, "GET", "/v1/customers").json()["type"]
    answer = call(base, "GET", kind)
    assert answer.status == 200
    assert b"Not signed in" in answer.body
    assert call(base, "GET", "/docs/errors/nothing").status == 404


def test_the_trace_id_is_the_callers_own_when_it_has_one(base):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    assert call(base, "GET", "/v1/customers", headers=headers).json()["trace_id"] == trace
    assert call(base, "GET", "/v1/customers", headers={"traceparent": "x"}).json()["trace_id"] != trace


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("DELETE", "/v1/customers/x", 405, "method_not_allowed"),
        ("TRACE", "/v1/customers", 405, "method_not_allowed"),
        ("GET", "/v1/customers?cursor=%00", 400, "bad_request"),
        ("GET", "/v1/customers/%00", 400, "bad_request"),
    ],
)
def test_what_is_not_there_is_a_problem_too(base, method, path, status, code):
    problem(call(base, method, path), status, code)


def test_a_method_cannot_be_overridden(api):
    answer = api("objects:read").get("/v1/customers", {"X-HTTP-Method-Override": "PUT"})
    assert answer.status == 200
