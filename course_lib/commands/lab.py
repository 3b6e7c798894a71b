"""`python -m course_lib lab`: open JupyterLab on the first notebook."""

import argparse
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from course_lib.commands.bootstrap import ROOT, SetupError, complaint

FIRST = "notebooks/00_start_here.ipynb"
PORT = 8888
SETTINGS = Path(__file__).parent / "lab_settings"  # no question about news at the first start


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read lab's options; raise SetupError for an unknown one or an occupied port."""
    parser = argparse.ArgumentParser(prog="python -m course_lib lab", description=__doc__)
    parser.error = complaint("lab knows --port N, --no-browser, --fresh and --here.")
    parser.add_argument("--port", type=int, default=PORT, help="port of the server")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    options = parser.parse_args(argv)
    if not 0 < options.port < 65536:
        raise SetupError(f"--port must lie in [1, 65535], got {options.port}.")
    if not _is_free(options.port):
        free = next((p for p in range(8889, 8989) if _is_free(p)), 9999)
        raise SetupError(
            f"Port {options.port} is in use, perhaps by a JupyterLab that still runs. Close that "
            f"one, or take another port: python -m course_lib lab --port {free}"
        )
    return options


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if os.name != "nt":  # there, this option would let two servers share a port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def main(argv: Sequence[str]) -> int:
    """Run JupyterLab in this process until it is stopped."""
    options = parse(argv)
    # One thread per kernel: with a busy neighbour, more of them are many times slower.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from jupyterlab.labapp import LabApp

    _send_widget_messages_at_once()
    LabApp.launch_instance(server_arguments(options))
    return 0


def server_arguments(options: argparse.Namespace) -> list[str]:
    """Return JupyterLab's own command line for these options."""
    arguments = [
        f"--ServerApp.root_dir={ROOT}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={options.port}",
        "--ServerApp.port_retries=0",
        f"--LabApp.default_url=/lab/tree/{FIRST}",
        f"--LabApp.app_settings_dir={SETTINGS}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        # What is exported or printed leaves out the source of a quiz, which names the answer.
        "--TagRemovePreprocessor.enabled=True",
        "--TagRemovePreprocessor.remove_input_tags=remove-input",
    ]
    if options.no_browser:
        arguments.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # a container; the server refuses otherwise
        arguments.append("--allow-root")
    return arguments


def _send_widget_messages_at_once() -> None:
    """Set TCP_NODELAY on the kernel's websocket: 22 ms per key press instead of 53.

    Without it, each small message waits about 40 ms for the acknowledgement of the last.
    """
    from jupyter_server.services.kernels.websocket import KernelWebsocketHandler

    original = KernelWebsocketHandler.open

    async def open_without_delay(self, kernel_id):
        self.set_nodelay(True)
        return await original(self, kernel_id)

    KernelWebsocketHandler.open = open_without_delay
