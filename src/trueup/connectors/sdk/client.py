"""One request loop for all vendors: signing in, limits, and errors named by what has to happen next."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx2
import msgspec

from trueup.connectors.sdk.auth import Auth
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.wire import Answer, Connection, Notice, Page, Raw, Receipt, Record
from trueup.kernel.errors import Broken, Busy, Refused, Unsettled

_ENCODER = msgspec.json.Encoder(decimal_format="number")
MAX_ANSWER_BYTES = 50_000_000
LONGEST_READ_WAIT = 2.0
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Pace:
    """A token bucket and a counter of calls under way, for one process.

    The account's budget is shared by all workers through the database; this keeps one process polite.
    """

    def __init__(self, per_second: float, concurrency: int) -> None:
        self._gap = 1 / per_second
        self._next = 0.0
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(concurrency)

    def __enter__(self) -> None:
        """Wait for a slot, then for our turn."""
        self._slots.acquire()
        with self._lock:
            now = time.monotonic()
            wait = max(0.0, self._next - now)
            self._next = max(now, self._next) + self._gap
        if wait:
            time.sleep(wait)

    def __exit__(self, *_: object) -> None:
        """Give the slot back."""
        self._slots.release()


class VendorClient:
    """The verbs the pipeline uses; a connector's `client.py` fills in what its vendor needs.

    A subclass sets `auth` and implements `changes`, `get`, `find`, `send` for the objects in its manifest,
    `post` and `outcome` where the vendor takes writes as jobs.
    """

    auth: Auth
    read_tries: int = 4
    """How often one read is tried before the trouble is passed on; 1 passes every single answer on."""

    def __init__(self, manifest: Manifest, connection: Connection) -> None:
        self.manifest = manifest
        self.connection = connection
        self.base_url = (connection.base_url or manifest.base_url).rstrip("/")
        self.pace = Pace(manifest.limits.per_second, manifest.limits.concurrency)
        self._http = httpx2.Client(
            timeout=manifest.limits.timeout_seconds,
            follow_redirects=False,
            trust_env=False,
            limits=httpx2.Limits(max_connections=manifest.limits.concurrency + 2),
        )

    # --- the verbs -----------------------------------------------------------------------------------------------

    def changes(self, object: str, cursor: str | None) -> Page:
        """Return one page of records changed since the cursor; None reads from the beginning."""
        raise self._lacks("changes")

    def get(self, object: str, external_id: str) -> Record | None:
        """Return the record as it is now, or None when the vendor does not have it."""
        raise self._lacks("get")

    def fetch(self, object: str, external_ids: Sequence[str]) -> list[Record]:
        """Return the records as they are now; those the vendor does not have are left out."""
        found = (self.get(object, external_id) for external_id in external_ids)
        return [record for record in found if record is not None]

    def find(self, object: str, key: str) -> Receipt | None:
        """Look for the record that carries our key: what makes a silence harmless."""
        raise self._lacks("find")

    def send(self, object: str, key: str, body: Raw, external_id: str | None) -> Receipt:
        """Create or update the record that carries our key; `external_id` when it is known already."""
        raise self._lacks("send")

    def post(self, object: str, key: str, body: Raw, external_id: str | None, once: str) -> Receipt:
        """Send, by the vendor's way to take one call once where it has one; what the pipeline calls.

        once     the idempotency key: the same for every repetition of this call, and for nothing else
        Returns  a receipt with a `job` when the vendor works on it and has to be asked again
        """
        return self.send(object, key, body, external_id)

    def outcome(self, object: str, key: str, body: Raw, job: str) -> Receipt | None:
        """Say what became of a job: its receipt, or None while the vendor works on it.

        Raises    Refused when the job ended in a no, Unsettled when the vendor does not know it any more.
        """
        raise self._lacks("outcome")

    def standing(self, object: str, external_id: str, body: Raw) -> Any:
        """Return what stands in a record now, in the shape of the bodies we write; None when it is gone.

        body  what we wrote: the fields that matter
        """
        record = self.get(object, external_id)
        return None if record is None else Answer(200, {}, record.raw).json()

    def settle(self, object: str, records: Sequence[Record]) -> None:
        """Tell the vendor that these records are kept, where its contract has such a handshake."""

    @staticmethod
    def notices(body: Raw) -> list[Notice]:
        """Read a webhook's body: which records changed."""
        raise Broken("this connector reads no webhooks: its manifest must not promise any")

    def _lacks(self, verb: str) -> Broken:
        return Broken(f"the connector {type(self).__name__} has no {verb}, and something in its manifest needs it")

    # --- the loop ------------------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        allow: Iterable[int] = (),
    ) -> Answer:
        """Make one call and return its answer when the status is 2xx or in `allow`.

        Raises    Busy when nothing happened and it may work later, Refused when they said no, Unsettled when a
                  write met silence and may have landed.
        """
        for tries in range(self.read_tries):
            try:
                return self._once(method, path, params, json, headers, frozenset(allow))
            except Busy as away:
                # A page of records may take many reads: one that stumbles is repeated here, or a vendor that
                # refuses one call in ten would never let a page through. Writes are the ledger's to repeat.
                wait = away.retry_after or 0.1 * 2**tries
                if method not in ("GET", "HEAD") or tries == self.read_tries - 1 or wait > LONGEST_READ_WAIT:
                    raise
                time.sleep(wait)
        raise Busy(f"{self.manifest.title} does not answer")

    def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        json: Any,
        headers: Mapping[str, str] | None,
        allow: frozenset[int],
    ) -> Answer:
        answer = self._signed(method, path, params, json, headers)
        if answer.status == 401 and 401 not in allow:
            self.auth.forget()
            answer = self._signed(method, path, params, json, headers)
        if 200 <= answer.status < 300 or answer.status in allow:
            return answer
        raise self.trouble(method, answer)

    def trouble(self, method: str, answer: Answer) -> Exception:
        """Name a bad answer by what has to happen next."""
        writes = method not in ("GET", "HEAD")
        if answer.status in (429, 503):
            return Busy(f"{self.manifest.title} asks us to wait ({answer.status})", retry_after(answer))
        if answer.status >= 500:
            text = f"{self.manifest.title} answered {answer.status}"
            return Unsettled(f"{text}; the write may have landed") if writes else Busy(text)
        code, message, path = self.refusal(answer)
        return Refused(message or f"{self.manifest.title} answered {answer.status}", code, answer.status, path)

    def refusal(self, answer: Answer) -> tuple[str, str, str]:
        """Read the vendor's error body: (code, message, path in our body)."""
        return str(answer.status), answer.raw[:300].decode("utf-8", "replace"), ""

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _signed(
        self, method: str, path: str, params: Mapping[str, str] | None, json: Any, headers: Mapping[str, str] | None
    ) -> Answer:
        signed = dict(self.auth.header(self._post_form)) | dict(headers or {})
        content = None
        if json is not None:
            content = _ENCODER.encode(json)
            signed.setdefault("Content-Type", "application/json")
        url = path if path.startswith("http") else f"{self.base_url}{path}"
        with self.pace:
            return self._exchange(method, url, params=params, content=content, headers=signed)

    def _post_form(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        try:
            answer = self._exchange("POST", url, data=dict(form), headers=dict(headers))
        except Unsettled as silence:  # asking for a token twice does no harm
            raise Busy(str(silence)) from silence
        if answer.status == 429 or answer.status >= 500:
            raise Busy(f"{self.manifest.title} cannot sign us in now ({answer.status})", retry_after(answer))
        return answer

    def _exchange(self, method: str, url: str, **request: Any) -> Answer:
        try:
            response = self._http.request(method, url, **request)
        except NOT_SENT as away:
            raise Busy(f"{self.manifest.title} cannot be reached") from away
        except httpx2.TransportError as silence:
            text = f"{self.manifest.title} did not answer ({type(silence).__name__})"
            raise (Busy(text) if method == "GET" else Unsettled(text)) from silence
        if len(response.content) > MAX_ANSWER_BYTES:
            raise Refused(f"{self.manifest.title} sent more than {MAX_ANSWER_BYTES} bytes", "too_large")
        return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, response.content)


def retry_after(answer: Answer) -> float | None:
    """Read Retry-After in seconds, kept between one second and fifteen minutes; None when it is absent or no number."""
    text = answer.headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(max(seconds, 1.0), 900.0) if seconds == seconds else None
