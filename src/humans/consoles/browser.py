"""A console in the browser: one person controls, others may watch.

python src/train.py experiment=lunarlander human=browser
"""

import asyncio
import io
import json
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mile.humans.controls import Controls
from mile.humans.person import Command

try:
    import uvicorn
    from fastapi import FastAPI, WebSocket, WebSocketDisconnect
    from fastapi.responses import HTMLResponse, PlainTextResponse, Response
    from pydantic import BaseModel, Field, ValidationError
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}; the browser console needs more packages: pip install '.[console]' in the checkout's folder"
    ) from None

SILENCE = 0.5  # s without a message from the page, which sends ten a second: its person is away
LONGEST = 65_536  # bytes of a message

Name = Annotated[str, Field(max_length=64)]
Text = Annotated[str, Field(max_length=2000)]
Axis = Annotated[float, Field(ge=-1, le=1)]


class Message(BaseModel, extra="forbid"):
    """What the page sends: the state of its controls, and perhaps a command."""

    pressed: Annotated[frozenset[Name], Field(max_length=32)] = frozenset()
    axes: Annotated[tuple[Axis, ...], Field(max_length=8)] = ()
    command: Command | None = None
    answers: Annotated[dict[Name, int | Text], Field(max_length=32)] | None = None


class Viewer:
    """One connection."""

    def __init__(self) -> None:
        self.news = asyncio.Event()


class Browser:
    """Serves the page on a port of this machine, from a thread of its own; see `mile.humans.person.Console`.

    The address has a token in it, without which nobody gets in; a page of another origin is refused. Who presses a
    button is in control until they leave or fall silent, and others watch. Only the newest picture is sent: who reads
    slowly misses some.

    Args:
        host: "127.0.0.1": from this machine alone, or through an SSH tunnel; "0.0.0.0": from everywhere.
        port: 0: any free one.
        viewers: connections at most, the one in control included.

    Attributes:
        url: to be opened.

    Raises:
        ValueError: the port cannot be used.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 8765, viewers: int = 16) -> None:
        self.token = secrets.token_urlsafe(16)
        self.page = Path(__file__).with_name("browser.html").read_text(encoding="utf-8")
        self.viewers: set[Viewer] = set()
        self.most = viewers
        self.controller: Viewer | None = None
        self.heard = 0.0
        self.news: tuple[dict[str, Any], bytes] = {"phase": "preparing"}, b""
        self.lock = threading.Lock()
        self.state, self.pressed, self.commanded = Controls(), frozenset(), []
        self.answered: dict[str, int | str] | None = None
        try:
            listening = socket.create_server((host, port))
        except OSError as error:
            raise ValueError(f"{host}:{port} cannot be listened on ({error}); choose another human.port") from None
        reached = socket.gethostname() if host == "0.0.0.0" else host
        self.url = f"http://{reached}:{listening.getsockname()[1]}/?token={self.token}"
        config = uvicorn.Config(
            self._app(), ws_max_size=LONGEST, ws_ping_interval=5, ws_ping_timeout=5, log_level="error"
        )
        self.server = uvicorn.Server(config)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._serve, args=(listening,), daemon=True)
        self.thread.start()
        print(f"Open {self.url}", flush=True)

    def show(self, status: dict[str, Any], frame: NDArray[np.uint8] | None = None) -> None:
        """Send what goes on to all that look; without a frame the last one stays."""
        picture = self.news[1]
        if frame is not None:
            file = io.BytesIO()
            Image.fromarray(frame).save(file, "JPEG", quality=80)
            picture = file.getvalue()
        self.news = status, picture
        self.loop.call_soon_threadsafe(self._wake)

    def controls(self) -> Controls:
        """Return what is pressed now, or was since the last call."""
        with self.lock:
            pressed, self.pressed = self.pressed | self.state.pressed, frozenset()
            return Controls(pressed, self.state.axes)

    def commands(self) -> list[Command]:
        """Return what was commanded since the last call."""
        with self.lock:
            commanded, self.commanded = self.commanded, []
            return commanded

    def present(self) -> bool:
        """Return whether somebody is in control."""
        return self.controller is not None and time.monotonic() - self.heard < SILENCE

    def answers(self) -> dict[str, int | str] | None:
        """Return what was answered since the last call."""
        with self.lock:
            answered, self.answered = self.answered, None
            return answered

    def close(self) -> None:
        """Stop serving, once the last news had time to arrive."""
        time.sleep(0.3)
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(5)

    def _serve(self, listening: socket.socket) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.server.serve([listening]))

    def _wake(self) -> None:
        for viewer in self.viewers:
            viewer.news.set()

    def _app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)

        @app.get("/")
        def page(token: str = "") -> Response:
            if not self._known(token):
                return PlainTextResponse("Open the whole address that the program printed, token included.", 403)
            return HTMLResponse(self.page, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})

        @app.websocket("/ws")
        async def connect(socket: WebSocket, token: str = "") -> None:
            same = urlsplit(socket.headers.get("origin", "")).netloc == socket.headers.get("host")
            if not same or not self._known(token) or len(self.viewers) >= self.most:
                await socket.close(1008)
                return
            await socket.accept()
            await self._attend(socket)

        return app

    def _known(self, token: str) -> bool:
        return secrets.compare_digest(token.encode(), self.token.encode())

    async def _attend(self, socket: WebSocket) -> None:
        """Serve one connection to its end."""
        viewer = Viewer()
        self.viewers.add(viewer)
        viewer.news.set()
        sending = asyncio.create_task(self._send(socket, viewer))
        try:
            while True:
                self._take(viewer, Message.model_validate_json(await socket.receive_text()))
        except WebSocketDisconnect:
            pass
        except (ValidationError, KeyError):  # malformed; or bytes, which Starlette has no text of
            await socket.close(1003)
        finally:
            sending.cancel()
            self.viewers.discard(viewer)
            if self.controller is viewer:
                self.controller = None

    async def _send(self, socket: WebSocket, viewer: Viewer) -> None:
        shown = b""
        while True:
            await viewer.news.wait()
            viewer.news.clear()
            status, picture = self.news
            try:
                await socket.send_text(
                    json.dumps({**status, "controlling": self.controller is viewer, "taken": self.present()})
                )
                if picture is not shown:
                    await socket.send_bytes(picture)
            except (WebSocketDisconnect, RuntimeError):  # it is gone
                return
            shown = picture

    def _take(self, viewer: Viewer, message: Message) -> None:
        with self.lock:
            if self.controller is not viewer:
                if (message.command is None and message.answers is None) or self.present():
                    return
                self.controller = viewer
                self._wake()
            self.heard = time.monotonic()
            self.state = Controls(message.pressed, message.axes)
            self.pressed |= message.pressed
            if message.command:
                self.commanded.append(message.command)
            if message.answers is not None:
                self.answered = message.answers
