"""A headless Chromium for tests of a page, driven through the Chrome DevTools protocol."""

import base64
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
PACKAGES = ("chromium", "fonts-dejavu-core")
SECONDS = 60


def find_browser():
    """Path of a Chromium; None if there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def require_browser():
    """Path of a Chromium, which CI installs on Debian; skips the test where there is none."""
    pytest.importorskip("websocket", reason="needs websocket-client, of the extra [test]")
    with (pathlib.Path(tempfile.gettempdir()) / "chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests may run in several processes
        return find_browser() or install_browser()


def install_browser():
    """Installs a Chromium in CI on Debian and returns its path; skips the test elsewhere."""
    if os.environ.get("CI") == "true" and shutil.which("apt-get") and os.geteuid() == 0:
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], install):
            subprocess.run(command, env=environment, check=True, capture_output=True, timeout=600)
        if path := find_browser():
            return path
        raise RuntimeError("apt-get installed chromium, but there is no program of this name")
    pytest.skip("needs Chromium: apt-get install chromium")


class Browser:
    """One tab. ``errors`` has the errors of the console and the exceptions of scripts."""

    def __init__(self, program):
        import websocket  # of the extra [test]

        self.errors, self.requests, self._count = [], [], 0
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [program, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={self._folder.name}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port, path = self._address()
            url = f"ws://127.0.0.1:{port}{path}"
            self._socket = websocket.create_connection(url, timeout=SECONDS, suppress_origin=True)
            self._session = None
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self._process.kill()
            raise

    def _address(self):
        file = pathlib.Path(self._folder.name) / "DevToolsActivePort"
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if file.exists() and len(lines := file.read_text().split("\n")) == 2:
                return lines
            time.sleep(0.05)
        raise TimeoutError(f"Chromium opened no port within {SECONDS} s")

    def call(self, method, **arguments):
        """Result of a command; events that come before it are noted."""
        self._count += 1
        command = {"id": self._count, "method": method, "params": arguments}
        session = {"sessionId": self._session} if self._session else {}
        self._socket.send(json.dumps(command | session))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._count:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, event, details):
        if event == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.errors.append(details["entry"]["text"])
        elif event == "Runtime.exceptionThrown":
            details_ = details["exceptionDetails"]
            self.errors.append(details_.get("exception", {}).get("description", details_["text"]))
        elif event == "Runtime.consoleAPICalled" and details["type"] in ("error", "assert"):
            self.errors.append(str(details["args"]))
        elif event == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])

    def open(self, path):
        """Opens a file and waits until it is loaded."""
        self.call("Page.navigate", url=pathlib.Path(path).absolute().as_uri())
        self.wait("location.protocol === 'file:' && document.readyState === 'complete'")

    def run(self, script):
        """Value of an expression; promises are awaited."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, condition):
        """Waits until an expression is true."""
        end = time.monotonic() + SECONDS
        while not self.run(condition):
            if time.monotonic() > end:
                raise TimeoutError(f"within {SECONDS} s it was never true that {condition}")
            time.sleep(0.05)

    def click(self, selector):
        """Scrolls to an element and clicks with the mouse."""
        x, y = self.run(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)});"
            "node.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const box = node.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key):
        """Presses a key: Enter or ArrowLeft, for example."""
        code = {"Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}[key]
        options = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **options, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **options)

    def resize(self, width, height=900):
        """Sets the size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scheme(self, name):
        """Sets the preferred color scheme, light or dark."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path):
        """Writes a PNG of the window."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))

    def close(self):
        """Ends the browser."""
        self._session = None
        try:
            self.call("Browser.close")
            self._socket.close()
            self._process.wait(SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._folder.cleanup()
