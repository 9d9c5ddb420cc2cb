"""What the page asks of the server: about the net, a drawing, a picture."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from mnist_mlp.data.pictures import load_picture
from mnist_mlp.errors import UserError
from mnist_mlp.inference.nets import Committee, Net
from mnist_mlp.inference.pictures import prepare
from mnist_mlp.inference.predictions import classify

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_MOST_BYTES = 30_000_000  # of a picture
_LARGEST = 1024  # sides of a drawing, pixels
# The browser, too, is told to ask nobody else.
_POLICY = "default-src 'self'; img-src 'self' data: blob:"


class Page:
  """The page of a net or a committee."""

  def __init__(self, net: Net | Committee):
    """Takes a net of digits, and asks it once, so that its program is compiled."""
    self._net = net
    height, width, _ = net.image_shape
    self._answer(Image.fromarray(np.eye(height, width, dtype=np.uint8) * 255))

  def app(self, hosts: tuple[str, ...] = LOOPBACK) -> Starlette:
    """Returns the application; it answers to these names of hosts alone ('*': to all)."""
    routes = [
      Route("/net", self.about),
      Route("/drawing", self.drawing, methods=["POST"]),
      Route("/picture", self.picture, methods=["POST"]),
      Mount("/", _Files(directory=Path(__file__).parent, html=True)),
    ]
    # Pages of others that a browser shows cannot ask under a name that they made up.
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    return Starlette(
      routes=routes, middleware=[trusted], exception_handlers={ClientDisconnect: _gone}
    )

  async def about(self, request: Request) -> Response:
    """Answers with the names of the classes, and a sentence on the net."""
    del request
    members, name = len(self._net.members), self._net.facts["name"]
    kind = "a net" if members == 1 else f"a committee of {members} nets"
    about = f"{kind} trained on {name}: {', '.join(str(m.folder.path) for m in self._net.members)}"
    return JSONResponse({"class_names": self._net.class_names, "members": members, "about": about})

  async def drawing(self, request: Request) -> Response:
    """Answers to a drawing: a square of bytes, 0 for paper and 255 for ink."""
    try:
      width = int(request.query_params.get("width", ""))
    except ValueError:
      width = 0
    body = await _body(request, _LARGEST**2)
    if not 0 < width <= _LARGEST or body is None or len(body) != width**2:
      return _refusal(f"a drawing is width x width bytes, and width {_LARGEST} at most")
    ink = np.frombuffer(body, np.uint8).reshape(width, width)
    return await self._respond(lambda: Image.fromarray(255 - ink))

  async def picture(self, request: Request) -> Response:
    """Answers to a file that holds a picture."""
    body = await _body(request, _MOST_BYTES)
    if body is None:
      return _refusal(f"a picture may have {_MOST_BYTES // 1_000_000} MB at most")
    return await self._respond(lambda: load_picture(io.BytesIO(body), "the picture"))

  async def _respond(self, load: Callable[[], Image.Image]) -> Response:
    try:
      return JSONResponse(await run_in_threadpool(lambda: self._answer(load())))
    except UserError as error:
      return _refusal(str(error))

  def _answer(self, image: Image.Image) -> dict[str, Any]:
    prepared, members = prepare(image), self._net.members
    [prediction] = classify(self._net, [prepared])
    if prepared.pixels is None:
      return {"label": None, "note": prediction.note}
    return {
      "label": prediction.label,
      "note": prediction.note,
      "pixels": base64.b64encode(prepared.pixels.tobytes()).decode(),
      "probabilities": list(prediction.probabilities.values()),
      # A lone net is not asked twice: the bars follow the pen.
      "members": [_of_member(net, prepared.pixels) for net in members if len(members) > 1],
    }


def _of_member(net: Net, pixels: np.ndarray) -> list[float]:
  return net.probabilities(net.logits(pixels[None]))[0].tolist()


class _Files(StaticFiles):
  """The files of the page, with the rule that nothing comes from elsewhere."""

  async def get_response(self, path: str, scope: Any) -> Response:
    if path.endswith(".py") or "__pycache__" in path:
      return Response(status_code=404)
    response = await super().get_response(path, scope)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response


async def _body(request: Request, most: int) -> bytes | None:
  """Returns the body of a request, or None if it has more bytes."""
  body = bytearray()
  async for part in request.stream():
    body += part
    if len(body) > most:
      return None
  return bytes(body)


async def _gone(request: Request, error: Exception) -> Response:
  """Answers, to nobody, a request whose sender has gone: that is no error of the server."""
  del request, error
  return Response(status_code=400)


def _refusal(sentence: str) -> JSONResponse:
  return JSONResponse({"error": sentence}, status_code=400)
