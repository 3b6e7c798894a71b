"""`python -m course_lib doctor`: what works on this machine, what does not, and the mend.

Standard library only, so that it also runs where nothing has been installed yet.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from course_lib.commands import bootstrap, chromium
from course_lib.commands.bootstrap import GB, ROOT, VENV, SetupError, normalise, pins, requirements

MARKS = {"ok": "✓", "warn": "!", "fail": "✗"}
KERNEL_GB = 1.5  # the budget of one notebook's kernel
AVX512_BF16, AVX2, ARM = "AVX512_BF16", "AVX2", "NEON"


class Check(NamedTuple):
    """One line of the report."""

    name: str
    value: str  # what was found
    status: str  # "ok", "warn": works, but; "fail": something will not work
    mend: str = ""  # what to do about it


def checks() -> list[Check]:
    """Look at this machine and this interpreter."""
    return [
        _python(),
        _environment(),
        _cores(),
        _memory(),
        _disk(),
        _torch(),
        _cpu_features(),
        _chromium(),
        _packages(),
        _models(),
        _language_model(),
        _library(),
        _sandbox(),
    ]


def report() -> int:
    """Print the checks as a table; return how many say that something will not work."""
    rows = checks()
    width = max(len(row.name) for row in rows)
    for row in rows:
        print(f"{MARKS[row.status]} {row.name:{width}}  {row.value}")
        if row.mend:
            print(f"  {'':{width}}  -> {row.mend}")
    failed = sum(row.status == "fail" for row in rows)
    print(
        f"{failed} of {len(rows)} need mending." if failed else "Everything the lessons need works."
    )
    return failed


def parse(argv: Sequence[str]) -> None:
    """Refuse options: doctor has none of its own."""
    if argv:
        raise SetupError(f"doctor takes no options but --here, got {' '.join(argv)}")


def main(argv: Sequence[str]) -> int:
    """Print the report; 1 if something will not work."""
    parse(argv)
    return 1 if report() else 0


def _python() -> Check:
    value = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    mend = bootstrap.no_build("torch") if bootstrap.INTEL_MAC else ""
    if bootstrap.PYTHON not in bootstrap.TESTED:
        mend = bootstrap.no_build("Perhaps a package")
    return Check("Python", value, "warn" if mend else "ok", mend)


def _environment() -> Check:
    if Path(sys.prefix).resolve() == VENV.resolve():
        return Check("Environment", ".venv of this course", "ok")
    if _version("jupyterlab"):
        return Check("Environment", f"{sys.prefix} (used as it is)", "ok")
    return Check("Environment", "not made yet", "fail", "`python -m course_lib lab` makes it.")


def _cores() -> Check:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS")
    used = f"; each notebook uses {threads}" if threads else ""
    return Check("Cores", f"{count}{used}", "ok")


def _memory() -> Check:
    limit, free = memory_limit(), _free_memory()
    if limit is None or free is None:
        return Check("Memory", "unknown on this system", "ok")
    value = f"{free / GB:.1f} GB free of {limit / GB:.1f} GB"
    if free < KERNEL_GB * GB:
        mend = f"A notebook may need {KERNEL_GB} GB: close other programs or other kernels."
        return Check("Memory", value, "warn", mend)
    return Check("Memory", value, "ok")


def memory_limit() -> float | None:
    """Bytes that this process may use: the machine's memory, or less inside a container."""
    limits = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))] if _posix() else []
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(float(Path(path).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min(limits) if limits else _psutil("total")


def _free_memory() -> float | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return min(float(line.split()[1]) * 1024, memory_limit() or float("inf"))
    except OSError:
        pass
    return _psutil("available")


def _posix() -> bool:
    return hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names


def _psutil(field: str) -> float | None:
    try:
        import psutil
    except ModuleNotFoundError:
        return None
    return float(getattr(psutil.virtual_memory(), field))


def _disk() -> Check:
    free = shutil.disk_usage(ROOT).free
    if free < GB:
        return Check("Disk", f"{free / GB:.1f} GB free", "warn", "Make room: results need space.")
    return Check("Disk", f"{free / GB:.0f} GB free", "ok")


def _torch() -> Check:
    version = _version("torch")
    if not version:
        return Check("torch", "not installed", "fail", "`python -m course_lib lab` installs it.")
    try:
        import torch
    except (ImportError, OSError) as error:
        mend = "Make the environment anew: `python -m course_lib lab --fresh`."
        return Check("torch", f"{version} does not load: {error}", "fail", mend)
    cuda = torch.version.cuda
    build = f"CUDA {cuda} build (a CPU build is enough)" if cuda else "CPU build"
    return Check("torch", f"{torch.__version__}, {build}", "ok")


def _cpu_features() -> Check:
    features = cpu_features()
    if AVX512_BF16 in features:
        return Check("Processor", "AVX512_BF16: bfloat16 is fast", "ok")
    if AVX2 in features or ARM in features:
        name = AVX2 if AVX2 in features else ARM
        return Check("Processor", f"{name}; bfloat16 works, but float32 may be faster", "ok")
    if not features:
        return Check("Processor", f"{platform.processor() or platform.machine()}", "ok")
    return Check("Processor", "no AVX2", "warn", "Training works, several times slower.")


def cpu_features() -> set[str]:
    """The features that decide which number format is fast; empty where nobody tells."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return {ARM}
    try:
        flags = Path("/proc/cpuinfo").read_text().lower().split()
    except OSError:
        if "torch" not in sys.modules:
            return set()
        flags = sys.modules["torch"].backends.cpu.get_cpu_capability().lower().split()
    return {"CPU"} | {f for f in (AVX512_BF16, AVX2) if f.lower() in flags}


def _chromium() -> Check:
    path = chromium.find()
    if path:
        return Check("Chromium", path, "ok")
    return Check(
        "Chromium",
        "not found",
        "warn",
        "Only the slides' PDF and the browser tests need it. Install Chromium, Chrome or Edge.",
    )


def _packages() -> Check:
    tested = pins(ROOT / "constraints.txt")
    wanted = {normalise(r.split("[")[0].split(">")[0].split("=")[0]) for r in requirements()}
    if missing := _missing("Packages", wanted):
        return missing
    off = [
        f"{name} {_version(name)} (tested: {tested[name]})"
        for name in sorted(wanted & tested.keys())
        if _version(name).split("+")[0] != tested[name]
    ]
    if off:
        mend = "They may well work. `python -m course_lib lab --fresh` brings the tested versions."
        return Check("Packages", f"off the tested versions: {', '.join(off)}", "warn", mend)
    return Check("Packages", f"all {len(wanted)} at their tested versions", "ok")


def _models() -> Check:
    wanted = pins(ROOT / "requirements-models.txt")
    here = Check("Games, models", f"all {len(wanted)} packages are here", "ok")
    return _missing("Games, models", wanted) or here


def _missing(name: str, wanted: Iterable[str]) -> Check | None:
    if missing := sorted(package for package in wanted if not _version(package)):
        mend = "`python -m course_lib lab` installs them."
        return Check(name, f"missing: {', '.join(missing)}", "fail", mend)
    return None


def _language_model() -> Check:
    """Whether SmolLM2 lies unpacked in this environment."""
    name = "SmolLM2"
    try:
        from course_lib.worlds import pretrained

        folder = pretrained.prepared()
    except (ImportError, OSError) as error:  # no torch yet, or no package that holds the model
        mend = "`python -m course_lib lab` installs what it needs."
        return Check(name, str(error).split(":")[0], "fail", mend)
    if folder is None:
        mend = "Its first use unpacks it, in about 10 s and 0.3 GB of disk."
        return Check(name, "not unpacked yet", "warn", mend)
    return Check(name, "unpacked", "ok")


def _library() -> Check:
    """Whether notebooks and the grader, which start elsewhere, get the library of this copy."""
    look = "import course_lib; print(course_lib.__file__)"
    command = [sys.executable, "-I", "-c", look]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT.parent, check=False)
    where = Path(run.stdout.strip() or ".").parent.resolve()
    if run.returncode:
        return Check("Library", "not installed", "fail", "`python -m course_lib lab` installs it.")
    if where != ROOT / "course_lib":
        mend = "`python -m course_lib lab --fresh` in this copy makes an environment of its own."
        return Check("Library", f"notebooks get that of another copy, {where}", "fail", mend)
    return Check("Library", "notebooks get the one of this copy", "ok")


def _sandbox() -> Check:
    """What `grade` needs to run other people's code; nobody else needs it."""
    if sys.platform != "linux":
        mend = "`grade` confines what it runs on Linux only; elsewhere it asks for --trusted."
        return Check("Grading", "no confinement on this system", "warn", mend)
    if not shutil.which("bwrap"):
        mend = "Only `grade` needs it: install the package bubblewrap."
        return Check("Grading", "bubblewrap not found", "warn", mend)
    try:
        from course_lib.classroom.grade import sandbox
    except ImportError:
        return Check("Grading", "bubblewrap is here", "ok")
    if not sandbox.available():
        mend = "This machine forbids it to make namespaces; `grade` would ask for --trusted."
        return Check("Grading", "bubblewrap is here, but does not work", "warn", mend)
    return Check("Grading", "bubblewrap works", "ok")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
