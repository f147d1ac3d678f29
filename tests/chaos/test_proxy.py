"""The proxy breaks connections where it is told to, after the request has gone through."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from trueup.sandbox.rigs.proxy import Proxy


@pytest.fixture
def server():
    """A server that counts what reaches it."""
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            """Say nothing."""

    made = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made.server_port, heard
    made.shutdown()
    thread.join()
    made.server_close()


def post(port, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", "/", body)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_fair_weather_lets_everything_through(server):
    port, heard = server
    proxy = Proxy("127.0.0.1", port, 1).start()
    try:
        assert post(proxy.port, b"one") == b"ok"
        assert heard == [b"one"]
    finally:
        proxy.stop()


def test_an_answer_is_swallowed_after_the_request_has_gone_through(server):
    port, heard = server
    proxy = Proxy("127.0.0.1", port, 1).start()
    proxy.weather.swallow = 1.0
    try:
        with pytest.raises((OSError, http.client.HTTPException)):
            post(proxy.port, b"two")
        assert heard == [b"two"]
        assert proxy.weather.met["swallow"] == 1
    finally:
        proxy.stop()


def test_a_reset_connection_reaches_nobody(server):
    port, heard = server
    proxy = Proxy("127.0.0.1", port, 1).start()
    proxy.weather.reset = 1.0
    try:
        with pytest.raises((OSError, http.client.HTTPException)):
            post(proxy.port, b"three")
        assert heard == []
    finally:
        proxy.stop()
