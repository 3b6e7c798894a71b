"""A JupyterHub on this machine alone, to rehearse a class before renting a server for it.

    HUB_PASSWORD=... HUB_USERS="ada ben" python -m jupyterhub -f hosting/jupyterhub_config.py

Everybody's server runs with your own rights, and everybody has the same password: this is no hub
for a class. The tests start it, and so does `python -m benchmarks hub_users`.
"""

import os
import shutil
import sys
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ.get("HUB_FOLDER", COURSE / "build" / "hub"))  # all that it writes
PORT, HUB_PORT, PROXY_PORT = map(int, os.environ.get("HUB_PORTS", "8000 8081 8001").split())


def hand_out_lessons(spawner) -> None:
    """Give a user the notebooks at their first start; later starts leave their work alone."""
    home = Path(spawner.home_dir)
    if not (home / "notebooks").exists():
        shutil.copytree(COURSE / "notebooks", home / "notebooks")


FOLDER.mkdir(parents=True, exist_ok=True)
c = get_config()  # noqa: F821 (JupyterHub defines it)

# --- who may come in ---
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = os.environ["HUB_PASSWORD"]
c.Authenticator.allowed_users = set(os.environ.get("HUB_USERS", "ada ben").split())

# --- where it listens: on this machine alone ---
c.JupyterHub.bind_url = f"http://127.0.0.1:{PORT}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{HUB_PORT}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{PROXY_PORT}"
c.ConfigurableHTTPProxy.command = [str(Path(sys.executable).parent / "configurable-http-proxy")]

# --- what it keeps ---
c.JupyterHub.db_url = f"sqlite:///{FOLDER / 'hub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(FOLDER / "cookie_secret")
c.ConfigurableHTTPProxy.pid_file = str(FOLDER / "proxy.pid")

# --- each user's server ---
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(FOLDER / "homes" / "{username}")
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = [f"--LabApp.app_settings_dir={COURSE / 'course_lib/commands/lab_settings'}"]
if hasattr(os, "geteuid") and os.geteuid() == 0:  # a container; the server refuses otherwise
    c.Spawner.args.append("--allow-root")
c.Spawner.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
c.Spawner.pre_spawn_hook = hand_out_lessons
c.Spawner.environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(COURSE)}
# A class starts all at once: on few cores that takes longer than the defaults allow.
c.Spawner.start_timeout = c.Spawner.http_timeout = 300
