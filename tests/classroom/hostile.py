"""Submitted notebooks for the tests of grading: right, wrong, and every kind of hostile."""

from __future__ import annotations

import inspect
import json
import textwrap
from pathlib import Path

from course_lib.lessons import exercises_of

LESSON = "start_here"
RATE, DISCOUNT = "start_here.success_rate", "start_here.discounted_return"
RIGHT = {
    RATE: "return float((returns >= goal).mean())",
    DISCOUNT: "return sum(gamma**t * r for t, r in enumerate(rewards))",
}


def cell(name: str, body: str, function: str | None = None, before: str = "") -> str:
    """An exercise cell whose function has this body."""
    reference = exercises_of(name.split(".")[0])[name.split(".")[1]].reference
    signature = ", ".join(inspect.signature(reference).parameters)
    lines = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    head = f'@exercise("{name}")\ndef {function or name.split(".")[1]}({signature}):'
    return f"{before}{head}\n{lines}\n"


def notebook(*sources: str) -> bytes:
    """A notebook of these code cells."""
    cells = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": s}
        for s in (
            "from course_lib.classroom import exercise, progress\nimport numpy as np",
            *sources,
        )
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def attack(body: str, before: str = "") -> bytes:
    """A notebook whose first exercise attacks and whose second is right."""
    return notebook(cell(RATE, body, before=before), cell(DISCOUNT, RIGHT[DISCOUNT]))


def good() -> bytes:
    """Everything right."""
    return notebook(*(cell(name, body) for name, body in RIGHT.items()))


def hostile(outside: Path, others: Path) -> dict[str, bytes]:
    """Attacks by name. ``outside`` must not be written to, ``others`` not be read."""
    steal = f"open({str(others)!r}).read(); return float((returns >= goal).mean())"
    write = f"open({str(outside / 'mark')!r}, 'w').write('x'); return 1.0"
    patch = (
        "import course_lib.classroom.check as c, course_lib.classroom.compare as d\n"
        "c.judge = c.check = lambda *a: c.Verdict('right')\n"
        "d.difference = lambda *a, **k: None\nc.difference = d.difference\n"
        "return 0.0"
    )
    forge = (
        "import gc, io, os\n"
        "for number in range(3, 64):\n"
        '    try:\n        os.write(number, b\'[{"value": ["float", "1.0"]}]\\ndone\\n\')\n'
        "    except OSError:\n        pass\n"
        "return 0.0"
    )
    lie = (
        "class Same(float):\n"
        "    def __eq__(self, other): return True\n"
        "    def __array__(self, *a, **k): import numpy; return numpy.nan\n"
        "return Same(0.5)"
    )
    forks = """
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
    """
    children = """
        import os
        for _ in range(20):
            if os.fork() == 0:
                x = bytearray(b"1") * 10**9
                while True:
                    pass
        while True:
            pass
    """
    swallows = """
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass
    """
    connect = "import socket\nsocket.create_connection(('127.0.0.1', 22), 2)\nreturn 0.0"
    expected = """
        import gc, sys
        found = [o for o in gc.get_objects() if type(o).__name__ in ("Case", "Exercise", "dict")]
        for each in found:
            value = each.get("expected") if type(each) is dict else getattr(each, "expected", None)
            if isinstance(value, float):
                return value
        frame = sys._getframe()
        while frame:
            for value in frame.f_locals.values():
                if type(value).__name__ == "Case" and value.expected is not None:
                    return value.expected
            frame = frame.f_back
        return 0.0
    """
    lingers = """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                line = b'[{"value": ["float", "1.0"]}]'
                for _ in range(2000):
                    for number in range(3, 64):
                        try:
                            os.write(number, b"answer " + line + b"\\nend \\n" + line + b"\\n")
                        except OSError:
                            pass
                    time.sleep(0.01)
            os._exit(0)
        return 0.0
    """
    kills = """
        import os, signal
        for target in (os.getppid(), -1, 1):
            try:
                os.kill(target, signal.SIGKILL)
            except OSError:
                pass
        return 0.0
    """
    one_value = """
        import dataclasses
        import course_lib.classroom.answer as a
        from course_lib.classroom.grade import codec
        dumps = codec.dumps
        codec.dumps = lambda rows: dumps([dataclasses.replace(r, value=1.0) for r in rows])
        return 0.0
    """
    memory_of_the_parent = """
        import os
        try:
            open(f"/proc/{os.getppid()}/mem", "r+b").write(b"x")
        except OSError:
            pass
        for number in os.listdir(f"/proc/{os.getppid()}/fd"):
            os.write(os.open(f"/proc/{os.getppid()}/fd/{number}", os.O_WRONLY), b"done\\n")
        return 1.0
    """
    doors = """
        import ctypes, mmap, os
        def opened():
            libc = ctypes.CDLL(None, use_errno=True)
            yield lambda: os.memfd_create("x")
            yield lambda: open("/dev/shm/x", "w")
            yield lambda: open("/dev/x", "w")
            yield lambda: open("/x", "w")
            yield lambda: open("/etc/x", "w")
            for flag in (0x10000000, 0x20000, 0x20000000):  # user, mount, process namespaces
                yield lambda: 1 / (libc.unshare(flag) == 0)
            yield lambda: 1 / (libc.shmget(1, 10**6, 0o1600) >= 0)
            yield lambda: 1 / (libc.ptrace(16, os.getppid(), 0, 0) == 0)
            yield lambda: 1 / (libc.mount(b"none", b"/tmp", b"tmpfs", 0, 0) == 0)
        for door in opened():
            try:
                door()
            except (OSError, ZeroDivisionError):
                continue
            return float((returns >= goal).mean())  # what is open shows as a pass
        return 0.123
    """
    shared = """
        import mmap, os
        blocks = []
        while True:
            blocks.append(mmap.mmap(-1, 10**8))
            blocks[-1].write(b"x" * 10**8)
    """
    lists = """
        import course_lib.classroom.grade.codec as codec
        line = b'[{"value": ["list", [' + b"[]," * 5_000_000 + b"[]]]}]"
        codec.dumps = lambda rows: line + bytes([10])
        return 0.0
    """
    fewer = (
        "import course_lib.classroom.grade.codec as codec\n"
        "real = codec.dumps\n"
        "codec.dumps = lambda rows: real(rows[:1])\n"
    )
    odd_error = (
        "import course_lib.classroom.grade.codec as codec\n"
        'line = b\'[{"value": ["none"], "gradients": ["none"], "error": ["x"]}]\\n\'\n'
        "codec.dumps = lambda rows: line\n"
    )
    return {
        "answers one case only": attack("codec\nreturn 1.0", before=fewer),
        "an error that is no text": attack("codec\nreturn 1.0", before=odd_error),
        "tries every door": attack(doors),
        "memory bomb of shared pages": attack(shared),
        "an answer of millions of lists": attack(lists),
        "a list of millions": attack("return [[]] * 5_000_000"),
        "reads what is expected": attack(expected),
        "a child that outlives it": attack(lingers),
        "kills whatever it can": attack(kills),
        "patches the way out": attack(one_value),
        "reaches for the worker": attack(memory_of_the_parent),
        "endless loop": attack("while True:\n    pass"),
        "endless loop that swallows": attack(swallows),
        "endless call into C": attack("import time\ntime.sleep(10**6)"),
        "fork bomb": attack(forks),
        "memory bomb": attack("x = []\nwhile True:\n    x.append(bytearray(10**8))"),
        "memory bomb by children": attack(children),
        "sys.exit": attack("import sys\nsys.exit(0)"),
        "os._exit": attack("import os\nos._exit(0)"),
        "exit at the top": attack("return HELPER", before="import os\nHELPER = os._exit(3)\n"),
        "200 MB of output": attack("for _ in range(200):\n    print('x' * 10**6)\nreturn 0.0"),
        "huge answer": attack("return np.ones(10**8)"),
        "patched checks": attack(patch),
        "forged answers": attack(forge),
        "lying type": attack(lie),
        "reads another submission": attack(steal),
        "writes outside": attack(write),
        "deep nesting": attack("x = []\nfor _ in range(10**5):\n    x = [x]\nreturn x"),
        "network": attack(connect),
        "broken JSON": good()[:-40],
        "no notebook": b"\x00\xff\x00 not a notebook",
        "no cells": b"{}",
        "syntax error": notebook(cell(RATE, "return ("), cell(DISCOUNT, RIGHT[DISCOUNT])),
        "deleted cells": notebook(cell(DISCOUNT, RIGHT[DISCOUNT])),
        "everything deleted": notebook("print('nothing here')"),
        "too large": b" " * 50_000_001,
    }
