"""Who gets a token, for how long, and what for."""

import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc.jwk import import_key
from netsuite_bodies import Web, ask_for_token, proof, refused

from trueup.connectors.netsuite.client import NetSuite
from trueup.connectors.netsuite.sandbox import NetSuiteAccount
from trueup.connectors.sdk import registry
from trueup.connectors.sdk.simulate import Request, Store
from trueup.connectors.sdk.wire import Connection
from trueup.kernel.errors import Refused


def pem(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def test_a_signed_request_token_gets_an_access_token_for_an_hour(web):
    answer = ask_for_token(web.connection, proof(web.connection))
    assert answer.status_code == 200
    body = answer.json()
    assert body["expires_in"] == "3600"
    assert body["token_type"] == "bearer"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://other.suitetalk.api.netsuite.com/services/rest/auth/oauth2/v1/token"},
        {"iss": "somebody else"},
        {"exp": -5},  # numbers are seconds from the call on: a list of tests is made long before they run
        {"exp": 2 * 3600},
        {"iat": 600},
        {"exp": None},
    ],
    ids=["another audience", "another client", "expired", "too long", "from the future", "no end"],
)
def test_a_wrong_claim_gets_nothing(web, claims):
    now = int(time.time())
    wrong = {name: now + value if isinstance(value, int) else value for name, value in claims.items()}
    answer = ask_for_token(web.connection, proof(web.connection, **wrong))
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_request"})


def test_the_certificate_id_and_the_key_must_be_the_mapped_ones(web):
    stranger = import_key(pem(rsa.generate_private_key(65537, 2048)), "RSA")
    for assertion in (proof(web.connection, kid="another"), proof(web.connection, key=stranger), "not.a.jwt", ""):
        assert ask_for_token(web.connection, assertion).status_code == 400


def test_an_algorithm_outside_the_documented_six_is_refused(web):
    for algorithm in ("RS256", "RS512"):
        assert ask_for_token(web.connection, proof(web.connection, algorithm=algorithm)).status_code == 400
    for algorithm in ("PS256", "PS384", "PS512"):
        assert ask_for_token(web.connection, proof(web.connection, algorithm=algorithm)).status_code == 200


def test_other_grants_and_scopes_are_refused(web):
    good = proof(web.connection)
    assert ask_for_token(web.connection, good, grant_type="password").json() == {"error": "unsupported_grant_type"}
    assert ask_for_token(web.connection, good, client_assertion_type="saml").json() == {"error": "invalid_request"}
    assert ask_for_token(web.connection, proof(web.connection, scope="admin")).json() == {"error": "invalid_scope"}


def test_a_token_for_restlets_opens_no_records(sandbox, web):
    token = ask_for_token(web.connection, proof(web.connection, scope="restlets")).json()["access_token"]
    answer = web.call("GET", "/record/v1/customer", Authorization=f"Bearer {token}")
    assert refused(answer)[:2] == (401, "INVALID_LOGIN")


def test_a_token_ends_after_an_hour_and_the_client_gets_another(account, web, client):
    client.changes("customer", None)
    account.clock = lambda: time.time() + 3601
    assert refused(web.call("GET", "/record/v1/customer"))[:2] == (401, "INVALID_LOGIN")
    with pytest.raises(Refused):  # its fresh assertion is an hour old for an account whose clock is ahead
        client.changes("customer", None)
    account.clock = time.time
    assert client.changes("customer", None).records == ()


def test_a_revoked_token_costs_the_client_one_more_call(account, client):
    client.changes("customer", None)
    account.sign_in.revoke()
    assert client.changes("customer", None).records == ()


def test_calls_without_a_token_are_refused(web):
    for path in ("/record/v1/customer", "/record/v1/customer/1", "/async/v1/job/1", "/nowhere"):
        assert refused(web.call("GET", path, Authorization="Bearer wrong"))[:2] == (401, "INVALID_LOGIN")


def test_an_elliptic_curve_key_signs_as_well():
    key = ec.generate_private_key(ec.SECP256R1())
    secrets = {"client_id": "c", "key_id": "k", "private_key": pem(key), "algorithm": "ES256"}
    manifest = registry.load("netsuite").manifest
    there = NetSuiteAccount(manifest, Store(), secrets, "secret")
    client = NetSuite(manifest, Connection("erp", "http://erp.example/services/rest", secrets))

    def post(url, form, headers):
        raw = "&".join(f"{name}={value}" for name, value in form.items()).encode()
        path = url.removeprefix("http://erp.example")
        answer = there.handle(Request("POST", path, {}, {"host": "erp.example"}, raw))
        return type("Answer", (), {"status": answer.status, "json": lambda self: answer.body})()

    assert client.auth.header(post)["Authorization"].startswith("Bearer ")
    client.close()


def test_the_web_caller_works(web):
    assert isinstance(web, Web)
    assert web.call("GET", "/record/v1/customer").status_code == 200
