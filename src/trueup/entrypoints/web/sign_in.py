"""Signing in and out: a token goes into a cookie that scripts cannot read and other sites cannot send."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from trueup.entrypoints.web.rendering import show_bare
from trueup.entrypoints.web.visitor import COOKIE, SECONDS, house_of, local_path, own_form, visitor_of
from trueup.store import access

router = APIRouter()


@router.get("/sign-in")
def sign_in_page(request: Request, next: str = "/") -> Response:
    """Show the sign-in form."""
    found = visitor_of(request)
    return show_bare(
        "sign_in.html", title="Sign in", next=local_path(next), refused=False, name=found.name if found else ""
    )


@router.post("/sign-in", dependencies=[Depends(own_form)])
def sign_in(
    request: Request, token: Annotated[str, Form(max_length=400)], next: Annotated[str, Form()] = "/"
) -> Response:
    """Take a token, keep it in a cookie, and go on."""
    with house_of(request).database.transaction() as tx:
        found = access.holder(tx, token.strip())
    if found is None:
        return show_bare("sign_in.html", title="Sign in", status=403, next=local_path(next), refused=True, name="")
    answer = RedirectResponse(local_path(next), 303)
    answer.set_cookie(
        COOKIE,
        token.strip(),
        max_age=SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/sign-out", dependencies=[Depends(own_form)])
def sign_out() -> Response:
    """Forget the token."""
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
