"""Every failure as one message in the form that OpenAI's clients read: `{"error": {"message", "type", "code"}}`."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ilm.errors import LookupFailed, UnknownName
from ilm.serve.api.batching import Overloaded, TooLate
from ilm.serve.api.schemas import ProblemResponse
from ilm.serve.api.served import NotReady, NotServed

_log = logging.getLogger("ilm.serve")

_STATUS: dict[type[Exception], tuple[int, str]] = {
    UnknownName: (404, "not_found"),
    LookupFailed: (422, "invalid_request_error"),
    NotServed: (404, "model_not_found"),
    NotReady: (503, "not_ready"),
    Overloaded: (429, "overloaded"),
    TooLate: (504, "timeout"),
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": ProblemResponse, "description": what}
    for code, what in {
        400: "The body is no JSON, or not as HTTP wants it.",
        401: "The API key is missing or wrong.",
        404: "A user, an item or a model is not known.",
        413: "The body is too large.",
        422: "The request is not as it should be.",
        429: "Too many wait; try again.",
        503: "No model is loaded yet.",
        504: "The answer took too long.",
    }.items()
}
"""For the OpenAPI description."""


def problem(code: int, type_: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A failure as an answer."""
    return JSONResponse({"error": {"message": message, "type": type_, "code": code}}, code, headers)


def public_message(error: Exception) -> str:
    """What a stranger may read of a mistake."""
    return error.message if isinstance(error, UnknownName) else str(error)


def install(application: FastAPI) -> None:
    """Give every failure this form; a defect is logged with its traceback and told without."""
    for kind in (*_STATUS, Exception, HTTPException, RequestValidationError):
        application.add_exception_handler(kind, _handled)


async def _handled(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RequestValidationError):
        return problem(*_invalid(error))
    if isinstance(error, HTTPException):
        return problem(error.status_code, "invalid_request_error", str(error.detail), dict(error.headers or {}))
    for kind, (code, type_) in _STATUS.items():
        if isinstance(error, kind):
            return problem(code, type_, public_message(error), {"Retry-After": "1"} if code == 429 else None)
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "server_error", "This is a defect of the server; its log tells more.")


def _invalid(error: RequestValidationError) -> tuple[int, str, str]:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return 400, "invalid_request_error", "the body is not valid JSON."
    said = [f"{'.'.join(str(part) for part in one['loc'][1:]) or 'body'}: {one['msg']}" for one in found[:5]]
    return 422, "invalid_request_error", f"{'; '.join(said)}."
