"""One request loop for all vendors: signing in, limits, and errors named by what has to happen next."""

import hashlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import httpx2
import msgspec

from trueup.connectors.sdk.auth import ApiKey, Auth, Bearer
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.wire import Answer, Connection, Notice, Page, Raw, Receipt, Record
from trueup.kernel.errors import Broken, Busy, Refused, Unsettled

_ENCODER = msgspec.json.Encoder(decimal_format="number")
MAX_ANSWER_BYTES = 50_000_000
LONGEST_READ_WAIT = 2.0
DEFAULT_USE = ("master", "")
RENEWED_SECONDS = 300.0
"""A token as young as this that the vendor calls invalid is no reason to sign in again."""
LONGEST_OVERLOAD = 900.0
"""Calls refused at fresh tokens for as long as this, without one that went well, are no overload any more."""
USED_TOKEN = "x-trueup-used"
"""Not the vendor's: tells which token an answer refused."""
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Budget(Protocol):
    """What all workers together may ask of one vendor account."""

    def begin(self, lane: str, entity: str) -> object:
        """Wait for our turn and return a permit for one call.

        Raises    Busy when the vendor wants everybody to stay away, or others use up the account for too long.
        """

    def end(self, permit: Any) -> None:
        """Give the permit back: the call has ended."""

    def told(self, retry_after: float | None, *, overload: bool) -> float:
        """Keep everybody away, as the vendor said or as we guess; return for how long, seconds."""

    def answered(self) -> None:
        """Note that a call was answered as it should be: a refusal after it stands alone."""

    def batch(self, most: int, seconds: float) -> int:
        """Return how many calls it is wise to begin together: what the pace allows in so many seconds."""

    def may_sign_in(self, mark: str) -> None:
        """Wait until nobody else signs in.

        Raises    Busy when signing in now could lock the account, or a person has to look first.
        """

    def signed_in(self) -> None:
        """Note that the vendor accepted us."""

    def gave_up_sign_in(self) -> None:
        """Note that signing in met silence."""

    def sign_in_refused(self, reason: str) -> Busy:
        """Note that the vendor refused us; return what to raise."""


class Pace:
    """Keeps calls to one account polite: a token bucket and a counter of calls under way, for one process.

    With `shared` the account's budget decides instead, for all workers together; `using` says whose call it is.
    """

    def __init__(self, per_second: float, concurrency: int) -> None:
        self.shared: Budget | None = None
        self._gap = 1 / per_second
        self._next = 0.0
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(concurrency)
        self._here = threading.local()

    @contextmanager
    def using(self, lane: str, entity: str = "") -> Iterator[None]:
        """Say for which lane and legal entity this thread calls, inside the block."""
        before = getattr(self._here, "whose", DEFAULT_USE)
        self._here.whose = (lane, entity)
        try:
            yield
        finally:
            self._here.whose = before

    def batch(self, most: int, seconds: float) -> int:
        """Return how many calls it is wise to begin together, at most `most`."""
        return most if self.shared is None else self.shared.batch(most, seconds)

    def __enter__(self) -> None:
        """Wait for a slot, then for our turn."""
        if self.shared is not None:
            self._here.permit = self.shared.begin(*getattr(self._here, "whose", DEFAULT_USE))
            return
        self._slots.acquire()
        with self._lock:
            now = time.monotonic()
            wait = max(0.0, self._next - now)
            self._next = max(now, self._next) + self._gap
        if wait:
            time.sleep(wait)

    def __exit__(self, *_: object) -> None:
        """Give the slot back."""
        if self.shared is not None:
            self.shared.end(self._here.permit)
            return
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
        self._renewing = threading.Lock()
        self._renewed_at = 0.0
        self._disguised_since = 0.0
        self._accepted = False
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

    def part(self, object: str, external_id: str, body: Raw) -> None:
        """Change what the body names of a record, and add its lines to those that are there."""
        raise self._lacks("part")

    def whole(self, object: str, key: str) -> tuple[Receipt, Raw] | None:
        """Return the record that carries our key with all its lines, as our bodies have it; None when there is none."""
        raise self._lacks("whole")

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
        if isinstance(self.auth, ApiKey | Bearer) and self.pace.shared is not None and 401 not in allow:
            answer = self._with_key(self.pace.shared, method, path, params, json, headers)
        else:
            answer = self._signed(method, path, params, json, headers)
        if answer.status == 401 and 401 not in allow and self._renew(answer):
            answer = self._signed(method, path, params, json, headers)
        if answer.status == 401 and 401 not in allow and self._overloaded(answer):
            raise self._told(Busy(f"{self.manifest.title} refuses a fresh sign-in: it has too many calls at a time"))
        if 200 <= answer.status < 300 or answer.status in allow:
            self._disguised_since = 0.0
            if self.pace.shared is not None:
                self.pace.shared.answered()
            return answer
        trouble = self.trouble(method, answer)
        if isinstance(trouble, Busy) and answer.status in (429, 503):
            raise self._told(trouble, overload=answer.status == 429)
        raise trouble

    def _with_key(
        self,
        shared: Budget,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        json: Any,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        """Call with a key that is sent each time: the first call is the sign-in, and one refused is not repeated."""
        first = not self._accepted
        if first:
            shared.may_sign_in(_mark(self.connection.credentials, self.connection.system))
        try:
            answer = self._signed(method, path, params, json, headers)
        except BaseException:
            if first:
                shared.gave_up_sign_in()
            raise
        if answer.status == 401:
            self._accepted = False
            said = answer.raw[:200].decode("utf-8", "replace")
            raise shared.sign_in_refused(f"{self.manifest.title} does not take our key (401): {said}")
        if first:
            self._accepted = True
            shared.signed_in()
        return answer

    def _renew(self, answer: Answer) -> bool:
        """Sign in anew, once for all threads that met the same old token; not when the token was fresh anyway."""
        looks_so = bool(self.manifest.limits.overload_looks_like)
        with self._renewing:
            used = answer.headers.get(USED_TOKEN, "")
            if used and used != _mark({"": self.auth.header(self._post_form).get("Authorization", "")}):
                return True  # somebody has renewed it meanwhile
            if looks_so and self._renewed_at and time.monotonic() - self._renewed_at < RENEWED_SECONDS:
                return False
            self.auth.forget()
            self.auth.header(self._post_form)
            self._renewed_at = time.monotonic()
            return True

    def _overloaded(self, answer: Answer) -> bool:
        """Say whether a refused login is an overload in disguise: the vendor has given us a token just now."""
        if self.refusal(answer)[0] not in self.manifest.limits.overload_looks_like:
            return False
        self._disguised_since = self._disguised_since or time.monotonic()
        return time.monotonic() - self._disguised_since < LONGEST_OVERLOAD

    def _told(self, busy: Busy, *, overload: bool = True) -> Busy:
        """Keep all workers away from the account, and say for how long."""
        if self.pace.shared is None:
            return busy
        return Busy(str(busy), self.pace.shared.told(busy.retry_after, overload=overload))

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
            answer = self._exchange(method, url, params=params, content=content, headers=signed)
        if answer.status == 401:
            answer = Answer(
                answer.status, {**answer.headers, USED_TOKEN: _mark({"": signed.get("Authorization", "")})}, answer.raw
            )
        return answer

    def _post_form(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Ask for a token: one worker at a time, and never so often that the vendor locks the account."""
        shared = self.pace.shared
        if shared is None:
            return self._ask_for_token(url, form, headers)
        shared.may_sign_in(_mark(self.connection.credentials, self.connection.system))
        try:
            answer = self._ask_for_token(url, form, headers)
        except BaseException:
            shared.gave_up_sign_in()
            raise
        if answer.status == 200:
            shared.signed_in()
            return answer
        said = answer.raw[:200].decode("utf-8", "replace")
        raise shared.sign_in_refused(f"{self.manifest.title} answered {answer.status} to our sign-in: {said}")

    def _ask_for_token(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
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


def _mark(secret: Mapping[str, str], salt: str = "") -> str:
    """Tell credentials or tokens apart: 32 bits of a digest, far too few to find them again."""
    text = salt + "".join(f"\x1f{name}\x1e{value}" for name, value in sorted(secret.items()) if value)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def retry_after(answer: Answer) -> float | None:
    """Read Retry-After, seconds or an HTTP date, kept between one second and fifteen minutes; None when it is neither."""
    text = answer.headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 1.0), 900.0) if seconds == seconds else None
