"""A console in the browser: one person is in control, others may watch.

python src/train.py experiment=lunarlander human=browser
"""

import asyncio
import io
import json
import math
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

from mile.humans.console import Command
from mile.humans.consoles.freshness import Pictures, no_more_than
from mile.humans.controls import Controls

try:
    import uvicorn
    from fastapi import FastAPI, WebSocket, WebSocketDisconnect
    from fastapi.responses import HTMLResponse, PlainTextResponse, Response
    from pydantic import BaseModel, Field, ValidationError
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}; the browser console needs more packages: pip install '.[console]' in the checkout's folder"
    ) from None

UNATTENDED_AFTER = 0.5  # s without a message from the page, which sends ten a second
MAX_MESSAGE_SIZE = 65_536  # bytes

Name = Annotated[str, Field(max_length=64)]
Text = Annotated[str, Field(max_length=2000)]
Axis = Annotated[float, Field(ge=-1, le=1)]


class Message(BaseModel, extra="forbid"):
    """Message from the page: the state of its controls, the picture it shows, perhaps a command or a form's answers."""

    pressed: Annotated[frozenset[Name], Field(max_length=32)] = frozenset()
    axes: Annotated[tuple[Axis, ...], Field(max_length=8)] = ()
    command: Command | None = None
    answers: Annotated[dict[Name, int | Text], Field(max_length=32)] | None = None
    picture: Annotated[int, Field(ge=0)] | None = None


class Viewer:
    """One connection; `news` is set while there is a status that was not sent yet.

    Args:
        may_control: Whether its address is the one that controls.

    Attributes:
        picture: Number of the picture that it shows; None: none yet.
        latency: Time from a picture's making to the message that it is shown, s; None: not known yet.
    """

    def __init__(self, may_control: bool) -> None:
        self.news = asyncio.Event()
        self.may_control = may_control
        self.picture: int | None = None
        self.latency: float | None = None


class Browser:
    """Serves the page on a port of this machine, from a thread of its own; see `mile.humans.person.Console`.

    The address contains a token; connections without it, or from a page of another origin, are refused. The first
    person who presses a button is in control until they leave or their page sends nothing for `UNATTENDED_AFTER`; the
    others watch. A second address, for onlookers, can never control, answer or stop. Only the newest picture is sent,
    so that a slow connection misses some.

    While the picture in front of the person in control is too old, controls that they did not hold before do not count;
    what they hold may be released, and taking over, giving back, pausing and stopping always count.

    Args:
        host: Address to listen on. "127.0.0.1": reached from this machine alone, or through an SSH tunnel; "0.0.0.0":
            reached from everywhere.
        port: Port to listen on; 0: any free port.
        viewers: Largest number of connections, including the person in control.

    Attributes:
        url: Address to open in the browser.
        watch_url: Address of a page that only watches.

    Raises:
        ValueError: The port cannot be used.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 8765, viewers: int = 16) -> None:
        # what is served, and to whom
        self.token, self.watch_token = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.page = Path(__file__).with_name("browser.html").read_text(encoding="utf-8")
        self.viewers: set[Viewer] = set()
        self.max_viewers = viewers
        self.news: tuple[dict[str, Any], bytes, int] = {"phase": "preparing"}, b"", 0  # status, picture, its number
        self.pictures = Pictures()

        # what comes from the person in control
        self.controller: Viewer | None = None
        self.last_message_at = 0.0  # s
        self.lock = threading.Lock()
        self.state = Controls()
        self.pressed_since: frozenset[str] = frozenset()  # the last call of `controls`
        self.counted = Controls()  # what that call returned
        self.pending_commands: list[Command] = []
        self.pending_answers: dict[str, int | str] | None = None

        # port and address
        try:
            listener = socket.create_server((host, port))
        except OSError as error:
            raise ValueError(f"{host}:{port} cannot be listened on ({error}); choose another human.port") from None
        public_host = socket.gethostname() if host == "0.0.0.0" else host
        address = f"http://{public_host}:{listener.getsockname()[1]}/?token="
        self.url, self.watch_url = address + self.token, address + self.watch_token

        # serve
        config = uvicorn.Config(
            self._app(), ws_max_size=MAX_MESSAGE_SIZE, ws_ping_interval=5, ws_ping_timeout=5, log_level="error"
        )
        self.server = uvicorn.Server(config)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        self.thread.start()
        print(f"Open {self.url}\nOnlookers, who cannot control: {self.watch_url}", flush=True)

    def show(self, status: dict[str, Any], frame: NDArray[np.uint8] | None = None) -> None:
        """Send the status and the frame to all viewers; without a frame the last one stays."""
        _, picture, number = self.news
        if frame is not None:
            file = io.BytesIO()
            Image.fromarray(frame).save(file, "JPEG", quality=80)
            picture = file.getvalue()
            number = self.pictures.add(time.monotonic(), status["phase"] == "playing")
        self.news = status, picture, number
        self.loop.call_soon_threadsafe(self._wake)

    def controls(self) -> Controls:
        """Return the controls that are pressed now or were pressed since the last call.

        In front of a picture that is too old, those alone that were pressed before, or that take over.
        """
        with self.lock:
            state = Controls(self.pressed_since | self.state.pressed, self.state.axes)
            self.pressed_since = frozenset()
            if self._is_blind():
                state = no_more_than(self.counted, state)
            self.counted = state
            return state

    def commands(self) -> list[Command]:
        """Return the commands since the last call, oldest first."""
        with self.lock:
            commands, self.pending_commands = self.pending_commands, []
            return commands

    def present(self) -> bool:
        """Return whether somebody is in control."""
        return self.controller is not None and time.monotonic() - self.last_message_at < UNATTENDED_AFTER

    def _is_blind(self) -> bool:
        """Return whether the picture in front of the person in control is too old."""
        controller = self.controller  # who may leave meanwhile
        if controller is None or self.news[0]["phase"] != "playing":
            return False
        return self.pictures.age(controller.picture, time.monotonic()) > self.pictures.limit()

    def answers(self) -> dict[str, int | str] | None:
        """Return the answers to a form since the last call; None: there are none."""
        with self.lock:
            answers, self.pending_answers = self.pending_answers, None
            return answers

    def close(self) -> None:
        """Stop serving, after the last status had time to arrive."""
        time.sleep(0.3)
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(5)

    def _serve(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.server.serve([listener]))

    def _wake(self) -> None:
        for viewer in self.viewers:
            viewer.news.set()

    def _app(self) -> FastAPI:
        """Return the application: the page at "/", the connection to it at "/ws"."""
        app = FastAPI(openapi_url=None)

        @app.get("/")
        def page(token: str = "") -> Response:
            if self._role(token) is None:
                return PlainTextResponse("Open the whole address that the program printed, token included.", 403)
            return HTMLResponse(self.page, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})

        @app.websocket("/ws")
        async def connect(socket: WebSocket, token: str = "") -> None:
            same_origin = urlsplit(socket.headers.get("origin", "")).netloc == socket.headers.get("host")
            may_control = self._role(token)
            places = self.max_viewers if may_control else self.max_viewers - 1  # onlookers leave one to who controls
            if not same_origin or may_control is None or len(self.viewers) >= places:
                await socket.close(1008)
                return
            await socket.accept()
            await self._serve_viewer(socket, may_control)

        return app

    def _role(self, token: str) -> bool | None:
        """Return whether a token lets its owner control; None: it does not even let them watch."""
        if secrets.compare_digest(token.encode(), self.token.encode()):
            return True
        return False if secrets.compare_digest(token.encode(), self.watch_token.encode()) else None

    async def _serve_viewer(self, socket: WebSocket, may_control: bool) -> None:
        """Serve one connection to its end."""
        viewer = Viewer(may_control)
        self.viewers.add(viewer)
        viewer.news.set()
        sending = asyncio.create_task(self._send(socket, viewer))
        try:
            while True:
                self._receive(viewer, Message.model_validate_json(await socket.receive_text()))
        except WebSocketDisconnect:
            pass
        except (ValidationError, KeyError):  # malformed; or bytes, for which Starlette has no text
            await socket.close(1003)
        finally:
            sending.cancel()
            self.viewers.discard(viewer)
            if self.controller is viewer:
                self.controller = None
                self._wake()  # others may take control

    async def _send(self, socket: WebSocket, viewer: Viewer) -> None:
        """Send each new status, and each new picture, until the viewer is gone."""
        sent_picture = b""
        while True:
            await viewer.news.wait()
            viewer.news.clear()
            status, picture, number = self.news

            # with what concerns this viewer
            status = {
                **status,
                "controlling": self.controller is viewer,
                "attended": self.present(),
                "watcher": not viewer.may_control,
                "picture": number,
                "stale_after": round(self.pictures.limit(), 2),
                "latency": None if viewer.latency is None else round(1000 * viewer.latency),
            }
            try:
                await socket.send_text(json.dumps(status))
                if picture is not sent_picture:
                    await socket.send_bytes(picture)
            except (WebSocketDisconnect, RuntimeError):  # the viewer is gone
                return
            sent_picture = picture

    def _receive(self, viewer: Viewer, message: Message) -> None:
        """Take in a message of the person in control; a command or answers take control where nobody has it."""
        with self.lock:
            if message.picture is not None and message.picture != viewer.picture:
                viewer.picture = message.picture
                age = self.pictures.age(message.picture, time.monotonic())
                viewer.latency = age if math.isfinite(age) else None  # of a picture that is long gone
            if not viewer.may_control:
                return
            if self.controller is not viewer:
                if (message.command is None and message.answers is None) or self.present():
                    return
                self.controller = viewer
                self._wake()

            self.last_message_at = time.monotonic()
            self.state = Controls(message.pressed, message.axes)
            self.pressed_since |= message.pressed
            if message.command:
                self.pending_commands.append(message.command)
            if message.answers is not None:
                self.pending_answers = message.answers
