"""A person at the browser console: real Chromium, a real run in a process of its own."""

import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import create_connection
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from mile.datamodules import InterventionBuffer
from mile.humans.consoles.browser import Browser
from mile.transitions import NO_ACTION

ROOT = Path(__file__).parents[3]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@contextmanager
def running(folder, *overrides):
    """Start a run that waits for a person; yield its process and the address to open."""
    command = [sys.executable, ROOT / "src" / "train.py", "experiment=lunarlander", "human=browser", "human.port=0"]
    command += ["debug=smoke", "callbacks.deployment.episodes_per_round=2", f"hydra.run.dir={folder}", *overrides]
    with (folder.parent / "log.txt").open("w+") as log:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "SDL_VIDEODRIVER": "dummy"}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            yield process, wait_for(lambda: address(Path(log.name)), 120)
        finally:
            process.kill()
            process.wait()


def address(log):
    match = re.search(r"Open (http://\S+)", log.read_text())
    return match and match[1]


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.01)
    return value


class Page:
    """The page in Chromium, with every status that the run sent."""

    def __init__(self, browser, url, script=""):
        self.news = []
        self.page = browser.new_page()
        self.page.add_init_script(script)
        self.page.on("websocket", lambda socket: socket.on("framereceived", self.hear))
        self.page.goto(url)

    def hear(self, payload):
        if isinstance(payload, str):
            self.news.append(json.loads(payload))

    def until(self, condition, seconds=60.0):
        """Wait until the newest status meets a condition."""
        end = time.monotonic() + seconds
        while not (self.news and condition(self.news[-1])):
            assert time.monotonic() < end, self.news[-1:]
            self.page.wait_for_timeout(5)
        return self.news[-1]

    def play(self, place, *commands):
        """Start an episode; press and release keys at some steps, at last a key that ends the episode."""
        self.until(lambda status: status["phase"] == "waiting" and (status["round"], status["episode"]) == place)
        self.page.keyboard.press("Enter")
        for step, act, key in commands:
            self.until(lambda status, step=step: status["phase"] == "playing" and status["step"] >= step)
            getattr(self.page.keyboard, act)(key)


def see_what_was_learnt(page):
    """Watch the learnt policy beside the initial one, twice, and go on to the next round."""
    news = page.until(lambda status: status["phase"] == "showing" and status["over"])
    assert [len(news["history"]), news["history"][0]["success"], news["last"]] == [1, 0.5, False]
    assert page.page.inner_text("#words").startswith("On its own, the robot now succeeds in ")
    assert page.page.inner_text("#captions").startswith("before you taught it: ")
    assert page.page.inner_text("#start").startswith("Next round")
    assert not page.page.is_visible("[data-command=another]")
    assert "1" in page.page.inner_text("#rounds")
    page.page.keyboard.press("KeyT")  # there are rounds to come
    page.page.keyboard.press("KeyR")
    page.until(lambda status: status["phase"] == "showing" and not status["over"])  # once more
    page.page.keyboard.press("Enter")


def teach_one_more_round(page):
    """Ask for one more round than was planned, play its two episodes, and finish."""
    page.until(lambda status: status["phase"] == "showing" and status["last"])
    page.page.click("[data-command=another]")
    page.play((3, 1), (5, "press", "KeyY"))
    page.play((3, 2), (5, "press", "KeyY"))
    page.until(lambda status: status["phase"] == "showing" and status["last"])
    page.page.click("#start")


@needs_chromium
def test_a_person_takes_over_and_the_buffer_holds_exactly_that(tmp_path):
    from playwright.sync_api import sync_playwright

    with running(tmp_path / "run") as (process, url), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = Page(browser, url)
        page.play((1, 1), (10, "down", "ArrowUp"), (25, "up", "ArrowUp"), (35, "press", "KeyY"))
        page.play(
            (1, 2), (8, "down", "ArrowLeft"), (9, "down", "ArrowUp"), (20, "up", "ArrowUp"), (30, "press", "KeyN")
        )
        page.page.keyboard.up("ArrowLeft")
        page.until(lambda status: status["phase"] == "learning")
        see_what_was_learnt(page)
        page.play((2, 1), (5, "press", "Backspace"))  # once more
        page.play((2, 1), (5, "press", "KeyP"))
        page.until(lambda status: status["phase"] == "paused")
        page.page.keyboard.press("Enter")
        page.until(lambda status: status["phase"] == "playing" and status["step"] >= 8)
        page.page.screenshot(path=tmp_path / "playing.png")
        page.page.keyboard.press("KeyY")
        page.play((2, 2), (5, "press", "KeyY"))
        teach_one_more_round(page)
        page.until(lambda status: status["phase"] == "done")
        assert page.page.inner_text("#words").startswith("On its own")
        browser.close()
        assert process.wait(120) == 0, (tmp_path / "log.txt").read_text()

    assert list(json.loads((tmp_path / "run" / "deployment.json").read_text())) == ["0", "1", "2"]
    steps = InterventionBuffer(tmp_path / "run" / "buffer", "lunarlander").steps
    status_after = {}  # by round, episode and step
    for status in page.news:
        if status["phase"] == "playing" and status["step"]:
            number = status["round"] - 1
            status_after[number, status["episode"] - 1 + 2 * number, status["step"] - 1] = status
    checked = 0
    for row in range(len(steps)):
        where = tuple(int(steps[key][row]) for key in ("round", "episode", "step"))
        if where in status_after:
            checked += 1
            assert status_after[where]["person"] == bool(steps["intervened"][row]), where
    assert checked > 0.9 * len(steps) - 4  # all but those that the network merged, and the last step of an episode
    first = steps[(steps["round"] == 0) & (steps["episode"] == 0)]
    taken_over = first["intervened"].nonzero().squeeze(-1)
    assert torch.equal(taken_over, torch.arange(int(taken_over[0]), int(taken_over[-1]) + 1))  # one takeover
    assert 10 <= taken_over[0] <= 14
    assert 25 <= taken_over[-1] + 1 <= 29
    assert (first["human_action"][taken_over] == 2).all()
    assert (first["executed_action"][taken_over] == 2).all()
    assert (first["human_action"][~first["intervened"]] == NO_ACTION).all()
    assert first["next", "success"][-1]
    assert first["next", "terminated"][-1]
    second = steps[(steps["round"] == 0) & (steps["episode"] == 1)]
    assert not second["next", "success"].any()
    assert second["next", "terminated"][-1]
    assert set(second["human_action"][second["intervened"]].tolist()) == {1, 2}
    assert ((steps["intervention_prob"] > 0) & (steps["intervention_prob"] < 1)).all()  # the model's


@needs_chromium
def test_a_participant_goes_through_the_whole_study(tmp_path):
    from playwright.sync_api import sync_playwright

    study = ["experiment=user_study_single", "participant=2", "human.rate=200"]
    with running(tmp_path / "run", *study) as (process, url), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, titles = Page(browser, url), []
        while (news := page.until(lambda status: status["phase"] in ("waiting", "form", "done")))["phase"] != "done":
            if news["phase"] == "waiting":
                page.page.keyboard.press("Enter")
                page.until(lambda status: status["phase"] != "waiting")
                continue
            title = news["form"]["title"]
            titles.append(title)
            page.page.wait_for_selector("#form fieldset")
            for field in news["form"]["fields"]:
                if field["kind"] == "text":
                    page.page.fill(f"[name={field['name']}]", "it sways")
                else:
                    page.page.check(
                        f"[name={field['name']}][value='{field['options'][0] if 'options' in field else 5}']"
                    )
            page.page.screenshot(path=tmp_path / f"{len(titles)}.png")
            page.page.click("#form button")
            page.until(lambda status, title=title: status["phase"] != "form" or status["form"]["title"] != title)
        browser.close()
        assert process.wait(120) == 0, (tmp_path / "log.txt").read_text()
    answers = [json.loads(line) for line in (tmp_path / "run" / "answers.jsonl").read_text().splitlines()]
    forms = {line["form"]: line["answers"] for line in answers}
    assert list(forms) == ["consent", "practice", "round 1", "round 2", "final", "initial", *titles[-2:]]
    assert titles[3:5] == ["Robot A", "Robot B"]
    assert forms["Looking back"] == {
        **dict.fromkeys(("satisfaction", "improvement", "effectiveness", "adaptation"), 5),
        "remarks": "it sways",
    }
    assert len(InterventionBuffer(tmp_path / "run" / "buffer", "lunarlander").episodes) == 4


@needs_chromium
def test_nothing_is_lost_when_the_person_vanishes_or_stops(tmp_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with running(tmp_path / "run") as (process, url):
            page = Page(browser, url)
            page.play((1, 1), (10, "down", "ArrowUp"), (20, "up", "ArrowUp"), (25, "down", "ArrowLeft"))
            page.page.close()  # with a key held down
            time.sleep(2)
            page = Page(browser, url)
            step = page.until(lambda status: status["phase"] == "away")["step"]
            assert step < 25 + 30  # a second's steps, and some
            page.page.keyboard.press("Enter")
            page.until(lambda status: status["step"] >= step + 10 or status["episode"] == 2)  # it may land by itself
            page.page.keyboard.press("KeyY")
            page.page.on("dialog", lambda dialog: dialog.accept())
            page.play((1, 2), (5, "press", "Escape"))
            assert process.wait(60) == 1
            assert "ckpt_path=last" in (tmp_path / "log.txt").read_text()
        first = InterventionBuffer(tmp_path / "run" / "buffer", "lunarlander")
        assert [episode.episode for episode in first.episodes] == [0]
        recorded = first.steps.clone()
        assert torch.equal(recorded["step"], torch.arange(len(recorded)))
        assert not recorded["intervened"][step:].any()
        with running(tmp_path / "run") as (_, url):  # the same command continues the run
            Page(browser, url).until(
                lambda status: status["phase"] == "waiting" and (status["round"], status["episode"]) == (1, 2)
            )
        again = InterventionBuffer(tmp_path / "run" / "buffer", "lunarlander").steps
        assert torch.equal(again["observation"], recorded["observation"])
        browser.close()


@pytest.fixture
def console():
    console = Browser(port=0, viewers=20)
    yield console
    console.close()


def socket_of(console, **more):
    place = urlsplit(console.url)
    options = {"origin": f"http://{place.netloc}", "token": console.token, **more}
    return connect(f"ws://{place.netloc}/ws?token={options['token']}", origin=options["origin"], open_timeout=20)


@contextmanager
def unread(console):
    """A connection whose messages pile up: a bare socket that makes the handshake and then never reads."""
    place = urlsplit(console.url)
    with create_connection((place.hostname, place.port)) as bare:
        key = b64encode(os.urandom(16)).decode()
        bare.sendall(
            f"GET /ws?token={console.token} HTTP/1.1\r\nHost: {place.netloc}\r\nOrigin: http://{place.netloc}\r\n"
            f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        assert b"101" in bare.recv(64)
        yield


def read_to_the_end(socket):
    while True:
        socket.recv(timeout=10)


def take_control(console, socket):
    socket.send(json.dumps({"command": "start"}))
    wait_for(console.present)


def test_the_page_needs_the_token(console):
    assert "<canvas" in urlopen(console.url).read().decode()
    for url in (console.url[:-1], console.url.partition("?")[0]):
        with pytest.raises(HTTPError, match="403"):
            urlopen(url)


@pytest.mark.parametrize(
    "wrong", [{"token": "guess"}, {"token": "ü"}, {"origin": "http://evil.example"}, {"origin": None}]
)
def test_strangers_are_refused(console, wrong):
    with pytest.raises(InvalidStatus, match="403"):
        socket_of(console, **wrong)
    assert not console.viewers


def test_onlookers_see_everything_and_control_nothing(console):
    token = console.watch_url.partition("token=")[2]
    assert "<canvas" in urlopen(console.watch_url).read().decode()
    with socket_of(console, token=token) as onlooker:
        for message in ({"command": "start"}, {"command": "stop"}, {"answers": {"a": "b"}}, {"pressed": ["Space"]}):
            onlooker.send(json.dumps(message))
        console.show({"phase": "playing"}, np.zeros((8, 8, 3), np.uint8))
        status = json.loads(onlooker.recv(timeout=10))
        while status["phase"] != "playing":
            status = json.loads(onlooker.recv(timeout=10))
        assert (status["watcher"], status["controlling"]) == (True, False)
        assert onlooker.recv(timeout=10)[:2] == b"\xff\xd8"  # a JPEG
        assert not console.present()
        assert (console.commands(), console.answers(), console.controls().pressed) == ([], None, frozenset())


def test_a_picture_that_is_long_gone_stops_nothing(console):
    with socket_of(console) as person:
        take_control(console, person)
        for number in (99_999, 0):
            console.show({"phase": "playing"}, np.zeros((8, 8, 3), np.uint8))
            person.send(json.dumps({"picture": number}))
            wait_for(lambda number=number: console.controller.picture == number)
        console.show({"phase": "done"})
        status = {}
        while status.get("phase") != "done":
            message = person.recv(timeout=10)
            status = json.loads(message) if isinstance(message, str) else status
        assert status["latency"] is None


def test_onlookers_leave_a_place_to_who_controls(console):
    token = console.watch_url.partition("token=")[2]
    with ExitStack() as stack:
        for _ in range(console.max_viewers - 1):
            stack.enter_context(socket_of(console, token=token))
        wait_for(lambda: len(console.viewers) == console.max_viewers - 1)
        with pytest.raises(InvalidStatus, match="403"):
            socket_of(console, token=token)
        with socket_of(console) as person:
            take_control(console, person)


def test_movements_in_front_of_an_old_picture_do_not_count(console):
    picture = np.zeros((8, 8, 3), np.uint8)
    with socket_of(console) as person:
        take_control(console, person)
        console.show({"phase": "playing"}, picture)
        person.send(json.dumps({"pressed": ["ArrowUp"], "axes": [0.5], "picture": 1}))
        wait_for(lambda: console.controls().held(["ArrowUp"]))

        # the next picture has not arrived
        console.show({"phase": "playing"}, picture)
        console.pictures.made[1] -= 10
        person.send(json.dumps({"pressed": ["ArrowUp", "ArrowLeft", "Space"], "axes": [1.0], "command": "pause"}))
        wait_for(lambda: console.state.held(["ArrowLeft"]))
        state = console.controls()
        assert (state.pressed, state.axes) == ({"ArrowUp", "Space"}, (0.5,))
        assert console.commands() == ["start", "pause"]
        person.send(json.dumps({"pressed": [], "axes": [-1.0]}))
        wait_for(lambda: not console.state.pressed)
        console.controls()  # what was pressed until now
        state = console.controls()
        assert (state.pressed, state.axes) == (frozenset(), (0.0,))

        # now it has
        person.send(json.dumps({"pressed": ["ArrowLeft"], "axes": [-1.0], "picture": 2}))
        wait_for(lambda: console.controls().axes == (-1.0,))
        assert console.controls().held(["ArrowLeft"])


@needs_chromium
def test_a_page_marks_a_picture_that_is_too_old(console):
    from playwright.sync_api import sync_playwright

    picture = np.full((40, 60, 3), 200, np.uint8)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = Page(browser, console.url)
        page.until(lambda status: status["phase"] == "preparing")
        for step in range(5):
            console.show({"phase": "playing", "step": step, "person": False, "ratio": 0.0}, picture)
            page.page.wait_for_timeout(100)
        assert not page.page.is_visible("#stale")
        assert re.fullmatch(r"picture \d+ ms old", page.page.inner_text("#latency"))
        page.page.wait_for_timeout(800)
        assert page.page.inner_text("#stale").startswith("This picture is ")
        console.show({"phase": "playing", "step": 5, "person": False, "ratio": 0.0}, picture)
        page.page.wait_for_selector("#stale", state="hidden")
        browser.close()


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        '{"pressed": 3}',
        '{"axes": [2.0]}',
        '{"axes": [NaN]}',
        '{"command": "rm"}',
        '{"more": 1}',
        b"\x00\x01",
    ],
)
def test_a_malformed_message_ends_its_connection_alone(console, message):
    with socket_of(console) as good, socket_of(console) as bad:
        take_control(console, good)
        bad.send(message)
        with pytest.raises(ConnectionClosed):
            read_to_the_end(bad)
        good.send(json.dumps({"pressed": ["KeyA"]}))
        wait_for(lambda: console.controls().held(["KeyA"]))


def test_an_oversized_message_ends_its_connection(console):
    with socket_of(console) as bad:
        bad.send(json.dumps({"pressed": ["x" * 100_000]}))
        with pytest.raises(ConnectionClosed):
            read_to_the_end(bad)
    assert not console.present()


def test_one_is_in_control_until_they_leave(console):
    with socket_of(console) as second:
        with socket_of(console) as first:
            take_control(console, first)
            second.send(json.dumps({"pressed": ["KeyB"], "command": "stop"}))
            first.send(json.dumps({"pressed": ["KeyA"]}))
            wait_for(lambda: console.controls().held(["KeyA"]))
            assert not console.controls().held(["KeyB"])
            assert "stop" not in console.commands()
        wait_for(lambda: not console.present())
        take_control(console, second)
    wait_for(lambda: not console.present())


def test_a_person_whose_page_sends_nothing_is_away(console):
    with socket_of(console) as person:
        take_control(console, person)
        wait_for(lambda: not console.present(), 5)
        person.send(json.dumps({}))
        assert wait_for(console.present)


def test_a_short_press_between_two_reads_is_returned_once(console):
    with socket_of(console) as person:
        take_control(console, person)
        for pressed in (["Space"], []):
            person.send(json.dumps({"pressed": pressed}))
        wait_for(lambda: console.pressed_since == {"Space"} and not console.state.pressed)
        assert console.controls().held(["Space"])
        assert not console.controls().held(["Space"])


def test_fifty_connections_and_one_that_never_reads_do_not_stop_the_console(console):
    frame = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    with ExitStack() as stack:
        person = stack.enter_context(socket_of(console))
        take_control(console, person)
        stack.enter_context(unread(console))
        refused = 0
        for _ in range(50):
            try:
                stack.enter_context(socket_of(console))
            except InvalidStatus:
                refused += 1
        assert refused == 52 - 20
        began = time.monotonic()
        for number in range(100):
            console.show({"phase": "playing", "number": number}, frame)
        assert time.monotonic() - began < 30
        status = {}
        while status.get("number") != 99:
            payload = person.recv(timeout=20)
            if isinstance(payload, str):
                status = json.loads(payload)


def test_a_port_in_use_is_named(console):
    port = urlsplit(console.url).port
    with pytest.raises(ValueError, match=rf"{port} cannot be listened on .*choose another human\.port"):
        Browser(port=port)


@needs_chromium
def test_a_form_is_filled_in(console):
    from playwright.sync_api import sync_playwright

    form = {
        "title": "How was it?",
        "text": "One.\n\nTwo.",
        "fields": [
            {"name": "agree", "label": "Agreed?", "kind": "choice", "options": ["yes", "no"]},
            {"name": "liked", "label": "Liked it?", "kind": "scale", "low": 1, "high": 7, "ends": ["no", "yes"]},
            {"name": "tlx", "label": "Hard?", "kind": "scale", "low": 0, "high": 100, "step": 5},
            {"name": "words", "label": "More?", "kind": "text"},
        ],
    }
    with sync_playwright() as playwright:
        page = Page(playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]), console.url)
        console.show({"phase": "form", "form": form})
        page.until(lambda status: status["phase"] == "form")
        page.page.get_by_label("no", exact=True).check()
        page.page.get_by_label("6", exact=True).check()
        page.page.get_by_role("button", name="Continue").click()
        page.page.wait_for_timeout(300)
        assert console.answers() is None  # one is missing
        page.page.get_by_label("85", exact=True).check()
        page.page.get_by_role("textbox").fill("Höher! <b>")
        page.page.keyboard.press("Space")
        page.page.get_by_role("button", name="Continue").click()
        assert wait_for(console.answers) == {"agree": "no", "liked": 6, "tlx": 85, "words": "Höher! <b> "}


PADS = "window.pads = []; navigator.getGamepads = () => window.pads"


@contextmanager
def in_control(console):
    """Yield a page whose person is in control, and whose only pads are those of `plug`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        console.show({"phase": "waiting", "title": "The test"})
        page = Page(browser, console.url, PADS)
        page.until(lambda news: news["phase"] == "waiting")
        page.page.keyboard.press("Enter")
        wait_for(console.present)
        yield page.page
        browser.close()


def pad(index, pressed=(), axes=(0, 0, 0, 0), mapping="standard"):
    buttons = [{"pressed": number in pressed} for number in range(17)]
    name = f"Pad {index} (Vendor: 0079)"
    return {"index": index, "id": name, "connected": True, "mapping": mapping, "buttons": buttons, "axes": axes}


def plug(page, *pads):
    """Replace the page's pads, and wait until it has read them."""
    look = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    page.evaluate(f"pads => {{ window.pads = pads; return {look} }}", pads)


def mark(console, page):
    """Wait for the page's messages so far; return what was pressed since the last `console.controls()`."""
    page.keyboard.press("KeyZ")
    wait_for(lambda: "KeyZ" in console.pressed_since and "KeyZ" not in console.state.pressed)
    return console.controls().pressed - {"KeyZ"}


@needs_chromium
@pytest.mark.parametrize("event", ["Meta goes up", "Meta goes down", "a key goes down with Meta"])
def test_meta_releases_all_keys(console, event):
    with in_control(console) as page:
        page.keyboard.down("ArrowUp")
        page.keyboard.down("KeyA")
        wait_for(lambda: console.state.pressed == {"ArrowUp", "KeyA"})
        if event == "Meta goes up":
            page.keyboard.up("Meta")
        elif event == "Meta goes down":
            page.keyboard.down("Meta")
        else:  # Meta went down where the page could not see it
            key = {"type": "keyDown", "modifiers": 4, "code": "KeyC", "key": "c"}
            page.context.new_cdp_session(page).send("Input.dispatchKeyEvent", key)
        wait_for(lambda: not console.state.pressed, 5)
        page.keyboard.up("Meta")
        page.keyboard.down("ArrowLeft")
        wait_for(lambda: console.state.pressed == {"ArrowLeft"}, 5)


@needs_chromium
@pytest.mark.parametrize("modifier", ["Control", "Alt", "Meta"])
def test_keys_pressed_with_a_modifier_are_no_controls(console, modifier):
    with in_control(console) as page:
        mark(console, page)
        page.keyboard.down(modifier)
        page.keyboard.press("ArrowLeft")
        page.keyboard.up(modifier)
        assert not mark(console, page)


@needs_chromium
def test_the_pad_that_moved_last_is_read(console):
    with in_control(console) as page:
        idle = pad(0, axes=(0.06, 0, 0, 0))
        plug(page, idle, pad(1))
        plug(page, idle, pad(1, [0], (0, -1, 0, 0)))
        wait_for(lambda: console.state == ({"Pad0"}, (0, -1, 0, 0), None, 0), 5)

        # noise of the other is no movement
        for value in (0.1, -0.08, 0.02):
            plug(page, pad(0, axes=(value, value, 0, 0)), pad(1, [0], (0, -1, 0, 0)))
        mark(console, page)
        assert console.state == ({"Pad0"}, (0, -1, 0, 0), None, 0)

        # a stick of the other is, and a button that stays down is none
        plug(page, pad(0, axes=(0.5, 0, 0, 0)), pad(1, [0], (0, -1, 0, 0)))
        wait_for(lambda: console.state == (set(), (0.5, 0, 0, 0), None, 0), 5)
        plug(page, pad(0), pad(1, [0, 5], (0, -1, 0, 0)))
        wait_for(lambda: console.state.pressed == {"Pad0", "Pad5"}, 5)


@needs_chromium
def test_a_pad_that_cannot_be_read_is_named(console, tmp_path):
    with in_control(console) as page:
        line = page.get_by_text(
            "This gamepad cannot be read: Pad 0 (Vendor: 0079). The browser has no standard mapping"
        )
        assert line.count() == 0
        plug(page, pad(0, [0], (0, -1, 0, 0), mapping=""), None, pad(2, [1]))
        wait_for(lambda: console.state.pressed == {"Pad1"}, 5)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=tmp_path / f"{scheme}.png")
        assert line.is_visible()
        plug(page, None, None, pad(2))
        assert line.count() == 0


@needs_chromium
def test_a_pad_that_vanishes_is_released(console):
    with in_control(console) as page:
        plug(page, pad(0), pad(1, [2], (1, 0, 0, 0)))
        wait_for(lambda: console.state.pressed == {"Pad2"}, 5)
        plug(page, pad(0), None)
        wait_for(lambda: console.state == (set(), (), None, 0), 5)
        plug(page, pad(0), pad(1))
        mark(console, page)
        assert console.state == (set(), (), None, 0)


def test_the_page_is_read_where_the_locale_is_ascii(monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(io, "text_encoding", lambda encoding, stacklevel=2: encoding or "ascii")
        console = Browser(port=0)
    console.close()
    assert "Connecting …" in console.page


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(ModuleNotFoundError, match=r"fastapi.*pip install '\.\[console\]' in the checkout's folder"):
        runpy.run_path(str(ROOT / "src" / "humans" / "consoles" / "browser.py"))
