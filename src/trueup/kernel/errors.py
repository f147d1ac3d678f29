"""Five exceptions, named by what has to happen next."""


class Trouble(Exception):
    """Something went wrong; the subclass says what has to happen next."""


class Busy(Trouble):
    """Not now, and nothing happened: try again later.

    retry_after  seconds the other side asked us to wait, or None when it did not say
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(Trouble):
    """They said no: the same call will be refused again until a person changes something.

    code    the vendor's own code, or the HTTP status as text
    status  HTTP status, 0 when the refusal came from inside a successful answer
    path    where in the body, when the vendor says so
    """

    def __init__(self, message: str, code: str = "", status: int = 0, path: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.path = path


class Unsettled(Trouble):
    """Silence after a write: it may have landed. Look before sending again."""


class Held(Trouble):
    """A rule wants a person.

    code  the hold's code
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Broken(Trouble):
    """Our bug or a missing setting: stop and tell somebody."""
