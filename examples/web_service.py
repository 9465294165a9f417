"""A web service: every WebSocket connection has a stream of its own, a JSON list in is one step, a JSON object out.

pip install starlette 'uvicorn[standard]'
EDGESEQ_MODEL=lstm.onnx uvicorn web_service:app

One model serves all connections. A step takes microseconds, so it is done in the event loop: no thread costs less.
"""

import json
import os
from typing import Any

import numpy as np
from edgeseq_runtime import Model, load
from edgeseq_runtime.errors import InputError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


def application(model: Model) -> Starlette:
    """The service of one streamable model: /stream, and /health, which proves the file by its own test vectors."""

    async def serve(socket: WebSocket) -> None:
        stream = model.stream()
        await socket.accept()
        try:
            while True:
                await socket.send_json(answer(stream.step, await socket.receive_text()))
        except WebSocketDisconnect:
            pass  # the stream goes with the connection

    def health(_: Request) -> JSONResponse:
        passed = model.verify().passed
        return JSONResponse({"model": model.name, "passed": passed}, 200 if passed else 503)

    return Starlette(routes=[WebSocketRoute("/stream", serve), Route("/health", health)])


def answer(step: Any, text: str) -> dict[str, Any]:
    """What a step says as lists by output name; {"error": …} for a frame that cannot be used, the state as before."""
    try:
        return {name: array.tolist() for name, array in step(np.asarray(parse(text), np.float32)).items()}
    except (InputError, ValueError, TypeError, OverflowError, RecursionError) as error:
        return {"error": str(error)}


def parse(text: str) -> list[float]:
    """A JSON list of numbers."""
    frame = json.loads(text)
    if not isinstance(frame, list):
        raise ValueError(f"a step is a list of numbers, but a {type(frame).__name__} was given")
    return frame


def __getattr__(name: str) -> Any:
    """Load the model when a server first asks for `app` (PEP 562), not on import."""
    if name != "app":
        raise AttributeError(name)
    return application(load(os.environ["EDGESEQ_MODEL"]))
