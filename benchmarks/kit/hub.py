"""A real JupyterHub on loopback, and users who run notebooks through their own servers.

`started` runs the hub of hosting/jupyterhub_config.py. `User` does what JupyterLab does for
somebody who logs in, opens a notebook, and chooses Run All: it starts a server, reads the notebook
through it, starts a kernel, and sends one cell after another over the kernel's websocket.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT

CONFIG = ROOT / "hosting" / "jupyterhub_config.py"
PATIENCE = 300  # seconds for a server to start; a class starts all at once


def missing() -> str:
    """What a hub lacks here, as a sentence; "" where it can start."""
    if os.name == "nt":
        return "JupyterHub does not run on Windows."
    absent = [
        n for n in ("jupyterhub", "configurable_http_proxy") if not importlib.util.find_spec(n)
    ]
    if absent:
        return f"Not installed: {', '.join(absent)} (python -m pip install -e .[hub])."
    return ""


class Killed(Exception):
    """A kernel ended while it ran a cell."""


@dataclass(frozen=True)
class Hub:
    """A hub that runs: its address, its users' password, its process, what it writes."""

    address: str
    password: str
    pid: int
    folder: Path

    def log(self) -> str:
        return (self.folder / "hub.log").read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def started(names: Sequence[str], folder: Path) -> Iterator[Hub]:
    """Run a hub for these users; everything that it and they write stays in `folder`."""
    ports = _free_ports(3)
    password = secrets.token_urlsafe(16)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")},
        "HUB_FOLDER": str(folder),
        "HUB_PORTS": " ".join(map(str, ports)),
        "HUB_PASSWORD": password,
        "HUB_USERS": " ".join(names),
    }
    with (folder / "hub.log").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(CONFIG)],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    hub = Hub(f"http://127.0.0.1:{ports[0]}", password, process.pid, folder)
    try:
        _wait_until_it_answers(hub, process)
        yield hub
    finally:
        _stop(process)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


def _wait_until_it_answers(hub: Hub, process: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the hub ended while it started; it said:\n{hub.log()}")
        with contextlib.suppress(OSError):
            call(f"{hub.address}/hub/api")
            return
        time.sleep(0.2)
    raise TimeoutError(f"the hub did not answer within {PATIENCE} s; it said:\n{hub.log()}")


def _stop(process: subprocess.Popen) -> None:
    """End the hub and everything that it started."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
    process.wait()


def call(url: str, method: str = "GET", body: Any = None, token: str = "") -> Any:
    """One request to the hub or to a user's server; its JSON, None where the answer is empty."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"token {token}"
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read() or "null")


class User:
    """Somebody who is logged in and whose server runs."""

    def __init__(self, hub: Hub, name: str):
        self.hub, self.name = hub, name
        mine = f"{hub.address}/hub/api/users/{name}"
        auth = {"username": name, "password": hub.password}
        self.token = call(f"{mine}/tokens", "POST", {"auth": auth})["token"]
        call(f"{mine}/server", "POST", token=self.token)
        end = time.monotonic() + PATIENCE
        while not call(mine, token=self.token)["servers"].get("", {}).get("ready"):
            if time.monotonic() > end:
                raise TimeoutError(f"{name}'s server did not start; the hub said:\n{hub.log()}")
            time.sleep(0.3)
        self.server = f"{hub.address}/user/{name}"

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """A request to this user's own server."""
        return call(f"{self.server}/api/{path}", method, body, self.token)

    def open(self, path: str) -> Session:
        """Open a notebook of this user's home and start its kernel, as JupyterLab does."""
        return Session(self, path)


def _decoded(frame: str | bytes) -> dict:
    """A message of the kernel; one that carries bytes, such as a widget's picture, is binary."""
    from jupyter_server.services.kernels.connection.base import deserialize_binary_message

    return json.loads(frame) if isinstance(frame, str) else deserialize_binary_message(frame)


class Session:
    """An open notebook and its kernel."""

    def __init__(self, user: User, path: str):
        import nbformat
        import websocket

        self.user, self.path = user, path
        self.notebook = nbformat.from_dict(user.ask(f"contents/{path}")["content"])
        wanted = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
        self.session = user.ask("sessions", "POST", wanted)
        self.kernel = self.session["kernel"]["id"]
        address = user.server.replace("http", "ws", 1)
        self.socket = websocket.create_connection(
            f"{address}/api/kernels/{self.kernel}/channels?session_id={self.session['id']}",
            header=[f"Authorization: token {user.token}"],
            timeout=PATIENCE,
        )
        self.pid = self._find_process()

    def run(self, before: str = "") -> list[str]:
        """Run all cells, or those before the first that says `before`; return what went wrong.

        Like Run All, it stops at the first error. The notebook is saved with its outputs.
        """
        errors: list[str] = []
        for cell in self.notebook.cells:
            if before and before in cell.source:
                break
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            cell.outputs, cell.execution_count = self._execute(cell.source)
            errors += [
                f"{o.ename}: {o.evalue}" for o in cell.outputs if o["output_type"] == "error"
            ]
            if errors:
                break
        body = {"type": "notebook", "format": "json", "content": self.notebook}
        self.user.ask(f"contents/{self.path}", "PUT", body)
        return errors

    def _execute(self, code: str) -> tuple[list, int | None]:
        """Send one cell; its outputs and its number, once the kernel is idle again."""
        from nbformat.v4 import output_from_msg

        sent = self._send("execute_request", {"code": code, "silent": False, "allow_stdin": False})
        outputs, count, replied, idle = [], None, False, False
        while not (replied and idle):
            message = _decoded(self.socket.recv())
            kind, content = message["header"]["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != sent:
                if content.get("execution_state") in ("dead", "restarting"):
                    raise Killed(f"{self.user.name}'s kernel was killed while it ran a cell")
                continue
            if kind == "execute_reply":
                replied, count = True, content.get("execution_count")
            elif kind == "status":
                idle = content["execution_state"] == "idle"
            elif kind in ("stream", "display_data", "execute_result", "error"):
                outputs.append(output_from_msg(message))
        return outputs, count

    def _send(self, kind: str, content: dict) -> str:
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "session": self.session["id"]}
        header |= {"username": self.user.name, "version": "5.3", "date": ""}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self.socket.send(json.dumps({**message, "channel": "shell", "buffers": []}))
        return header["msg_id"]

    def alive(self) -> bool:
        """Say whether the kernel still is the process that was started."""
        with contextlib.suppress(ProcessLookupError):
            return self._find_process() == self.pid
        return False

    def _find_process(self) -> int:
        import psutil

        for process in psutil.Process(self.user.hub.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(self.kernel in part for part in process.cmdline()):
                    return process.pid
        raise ProcessLookupError(f"{self.user.name}'s kernel is gone")

    def close(self) -> None:
        self.socket.close()
        self.user.ask(f"sessions/{self.session['id']}", "DELETE")
