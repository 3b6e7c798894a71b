"""The same cells get the same verdict in IPython and from the program that grading takes out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.classroom.check import check
from course_lib.classroom.exercise import find
from course_lib.classroom.grade import notebook
from course_lib.classroom.grade.worker import load
from tests.classroom import hostile

ROOT = Path(__file__).parents[2]
NAME = "dqn.epsilon_schedule"
HEAD = '@exercise("dqn.epsilon_schedule")\ndef epsilon_schedule(step, start, end, decay_steps):\n'
RIGHT = HEAD + "    return start + (end - start) * min(1.0, step / decay_steps)\n"
WRONG = HEAD + "    return start\n"
ONE = HEAD + "    return start + (end - start) * min(ONE, step / decay_steps)\n"
FIRST = HEAD + "    return start + (end - start) * min(ONE[0], step / decay_steps)\n"
SHARE = HEAD + "    return start + (end - start) * share(step / decay_steps)\n"
RATE = hostile.cell(hostile.RATE, hostile.RIGHT[hostile.RATE])
SHARE_DEF = "def share(x):\n    return min(1.0, x)\n"

FORMS = {  # what it shows: the cells of a notebook
    "line magic above": ["%precision 3\n" + RIGHT],
    "line magic in a block": ["if True:\n    %precision 3\n" + RIGHT],
    "operator at the start of a line": [
        HEAD
        + "    share = (\n        min(1.0, step / decay_steps)\n        % 9\n    )\n"
        + "    return start + (end - start) * share\n"
    ],
    "unequal at the start of a line": [
        HEAD
        + "    late = (\n        step\n        != min(decay_steps, step)\n    )\n"
        + "    return end if late else start + (end - start) * step / decay_steps\n"
    ],
    "magic inside a string": [
        'TEXT = """\n%time\n!ls\n%%bash\n"""\n' + RIGHT.replace("1.0", "TEXT.count('%%') + 0.0")
    ],
    "help behind": [RIGHT + "\nepsilon_schedule?"],
    "help before": ["?min\n" + RIGHT],
    "more help": [RIGHT + "\nmin??"],
    "shell line": ["!echo hello\n" + RIGHT],
    "shell line continued": ["!echo a \\\n    --b\n" + RIGHT],
    "shell output in a name": ["files = !echo a\n" + RIGHT],
    "shell output twice": ["!!echo a\n" + RIGHT],
    "shell inside the answer": [RIGHT.replace("    return", "    !echo hello\n    return")],
    "shell output inside the answer": [
        RIGHT.replace("    return", "    lines = !echo a\n    return")
    ],
    "display inside the answer": [RIGHT.replace("    return", "    display(step)\n    return")],
    "time above a cell": ["%%time\n" + RIGHT],
    "capture above a helper": ["%%capture\n" + SHARE_DEF, SHARE],
    "capture into a name": ["%%capture out\n" + SHARE_DEF, SHARE],
    "two magics above a cell": ["%%time\n%%capture\n" + SHARE_DEF, SHARE],
    "timeit above a cell": ["ONE = 1.0", "%%timeit -n 1 -r 1\nONE + 1", ONE],
    "time on a line": ["%time ONE = 1.0", ONE],
    "time on a line with a value": ["ONE = %time float(1)", ONE],
    "shell cell": ["ONE = 1.0", "%%bash\nONE=2", ONE],
    "cell of another kind": ["ONE = 1.0", "%%html\n<b>ONE = 3.0</b>", ONE],
    "indented cell": ["    ONE = 1.0\n    x = 2", ONE],
    "prompts copied along": [">>> ONE = 1.0\n>>> TWO = 2", ONE],
    "automatic call": [SHARE_DEF + "def fill():\n    global ONE\n    ONE = 1.0\n", "/fill", ONE],
    "await": ["import asyncio\nasync def one():\n    return 1.0\n", "ONE = await one()", ONE],
    "future import": [
        "from __future__ import annotations",
        RIGHT.replace("step,", "step: Nothing,"),
    ],
    "the notebook is the main module": ["if __name__ == '__main__':\n    ONE = 1.0\n", ONE],
    "dataclass with annotations as text": [
        "from dataclasses import dataclass\n@dataclass\nclass Part:\n    one: 'float' = 1.0\n",
        ONE.replace("ONE", "Part().one"),
    ],
    "carriage returns": ["ONE = 1.0\r\nx = 2\r\n", ONE.replace("\n", "\r\n")],
    # names that get their value in other ways than by an assignment
    "try": [
        "try:\n    import math as m\nexcept ImportError:\n    m = None\n",
        ONE.replace("ONE", "m.exp(0)"),
    ],
    "if": ["if 2 > 1:\n    ONE = 1.0\nelse:\n    ONE = 2.0\n", ONE],
    "with": ["import contextlib\nwith contextlib.suppress(KeyError):\n    ONE = 1.0\n", ONE],
    "for": ["for ONE in (3.0, 1.0):\n    pass\n", ONE],
    "while": ["ONE = 5.0\nwhile ONE > 1:\n    ONE -= 1\n", ONE],
    "walrus": ["print(ONE := 1.0)", ONE],
    "walrus in a comprehension": ["[ONE := x for x in (2.0, 1.0)]", ONE],
    "match": ["match [1.0]:\n    case [ONE]:\n        pass\n", ONE],
    "augmented": ["ONE = 0.5", "ONE += 0.5", ONE],
    "deleted": ["min = 3", "del min", RIGHT],
    "global": ["ONE = 2.0\ndef setup():\n    global ONE\n    ONE = 1.0\n", "setup()", ONE],
    "append": ["ONE = []", "ONE.append(1.0)", FIRST],
    "append in a loop": ["ONE = []\nfor k in range(3):\n    ONE.append(1.0)\n", FIRST],
    "append in a comprehension": ["ONE = []", "[ONE.append(1.0) for _ in range(2)]", FIRST],
    "subscript": ["ONE = {}", "ONE[0] = 1.0", FIRST],
    "attribute": ["class Box:\n    one = 3.0\n", "Box.one = 1.0", ONE.replace("ONE", "Box.one")],
    "filled by a function": ["ONE = []\ndef fill(x):\n    x += [1.0]\n", "fill(ONE)", FIRST],
    "filled from a function": ["ONE = []\ndef fill():\n    ONE.append(1.0)\n", "fill()", FIRST],
    "decorated helper": ["import functools\n@functools.cache\n" + SHARE_DEF, SHARE],
    "asynchronous helper": [
        "import asyncio\nasync def share(x):\n    return min(1.0, x)\n",
        SHARE.replace("share(step / decay_steps)", "run(share(step / decay_steps))"),
    ],
    "module setting": ["import numpy as np\nnp.seterr(all='raise')", RIGHT],
    # where the exercise stands, and what it is called
    "in an if": ["if True:\n    " + RIGHT.replace("\n", "\n    ")],
    "in a try": ["try:\n    " + RIGHT.replace("\n", "\n    ") + "\nexcept KeyError:\n    raise"],
    "in a with": [
        "import contextlib\nwith contextlib.suppress(KeyError):\n    "
        + RIGHT.replace("\n", "\n    ")
    ],
    "by another name": [
        "from course_lib.classroom import exercise as ex",
        RIGHT.replace("@exercise", "@ex"),
    ],
    "by keyword": [RIGHT.replace('("', '(name="')],
    # the same verdict, whichever it is
    "wrong": [WRONG],
    "wrong, through the package": ["import course_lib.classroom as kit", "@kit." + WRONG[1:]],
    "wrong, imported again": [
        "try:\n    from course_lib.classroom import exercise\nexcept ImportError:\n    raise\n",
        WRONG,
    ],
    "wrong, everything imported": ["from course_lib.classroom import *\n", WRONG],
    "helper that is wrong": ["def share(x):\n    return x\n", SHARE],
    "changed before": ["ONE = 1.0", "ONE = 2.0", ONE],
    "changed behind": ["ONE = 1.0", ONE, "ONE = 2.0"],
    "built-in changed behind": [RIGHT, "min = 3"],
    "untouched": [HEAD + "    ...\n"],
    "array filled by NumPy": ["import numpy as np\nONE = np.zeros(1)", "np.copyto(ONE, 1)", FIRST],
    "array filled by out=": [
        "import numpy as np\nONE = np.zeros(1)",
        "np.add(ONE, 1, out=ONE)",
        FIRST,
    ],
    "tensor filled by torch": [
        "import torch\nONE = torch.zeros(1)",
        "torch.nn.init.ones_(ONE)",
        FIRST.replace("ONE[0]", "float(ONE[0])"),
    ],
    "changed through another name": ["ONE = {}\nB = ONE\nB[0] = 1.0", FIRST],
    "rows changed in a loop": [
        "ONE = [[0.0]]\nfor row in ONE:\n    row[0] = 1.0",
        FIRST.replace("ONE[0]", "ONE[0][0]"),
    ],
    "changed through a row": [
        "ONE = [[0.0]]\nr = ONE[0]\nr[0] += 1",
        FIRST.replace("ONE[0]", "ONE[0][0]"),
    ],
    "sorted in place": ["import heapq\nONE = [2.0, 1.0]", "heapq.heapify(ONE)", FIRST],
    "a value taken out": ["ONE = [1.0, 2.0]", "last = ONE.pop(0)\nONE[0] /= 2", FIRST],
    "a value set and kept": ["ONE = {}", "x = ONE.setdefault(0, 1.0)", FIRST],
    "decorator that registers": [
        "ONE = []\ndef register(f):\n    ONE.append(1.0)\n    return f",
        "@register\ndef g():\n    pass",
        FIRST,
    ],
    "named by globals": ["globals()['ONE'] = 1.0", ONE],
    "named by exec": ["exec('ONE = 1.0')", ONE],
    "attribute set by name": [
        "class Box:\n    one = 3.0",
        "setattr(Box, 'one', 1.0)",
        ONE.replace("ONE", "Box.one"),
    ],
    "method that fills": [
        "class Bag:\n    def fill(self, x):\n        x.append(1.0)",
        "ONE = []\nBag().fill(ONE)",
        FIRST,
    ],
    "method that sets a global": [
        "class Bag:\n    def fill(self):\n        global ONE\n        ONE = 1.0",
        "Bag().fill()",
        ONE,
    ],
    "function whose value is kept": [
        "ONE = []\ndef fill():\n    ONE.append(1.0)\n    return 3",
        "x = fill()",
        FIRST,
    ],
    "function with another name inside": [
        "def setup(t):\n    u = t\n    u[0] = 1.0",
        "ONE = {}\nsetup(ONE)",
        FIRST,
    ],
    "lambda that fills": ["ONE = []\nfill = lambda: ONE.append(1.0)", "fill()", FIRST],
    "changed in a condition": ["ONE = []\nTrue and ONE.append(1.0)", FIRST],
    "changed in an assert": ["ONE = []\nassert ONE.append(1.0) is None", FIRST],
    "changed through another name, wrongly": ["ONE = [3.0]\nB = ONE\nB[0] = 0.5", FIRST],
    "decorator by another name": ["ex = exercise\n" + RIGHT.replace("exercise(", "ex(", 1)],
    "name with a type": [
        "NAME: str = 'dqn.epsilon_schedule'",
        RIGHT.replace('"dqn.epsilon_schedule"', "NAME"),
    ],
    "name in two parts": [
        "WHERE = 'dqn'",
        RIGHT.replace('"dqn.epsilon_schedule"', "WHERE + f'.{\"epsilon\"}_schedule'"),
    ],
    "star import below": [RIGHT.replace("min(1.0,", "min(float(1),"), "from numpy import *"],
    "draft that never runs": [
        RIGHT,
        "if False:  # first try\n    " + WRONG.replace("\n", "\n    "),
    ],
    "draft in a branch, under another name": [
        "if True:\n    "
        + RIGHT.replace("\n", "\n    ")
        + "\nelse:\n    "
        + WRONG.replace("\n", "\n    ").replace("def epsilon", "def slow_epsilon")
    ],
    "attempt in a branch that runs": [RIGHT, "if True:\n    " + WRONG.replace("\n", "\n    ")],
    "timeit above a helper": [SHARE_DEF, "%%timeit -n 1 -r 1\ndef share(x):\n    return 9", SHARE],
    "another exercise, with an argument more": [
        RATE.replace("goal)", "goal, scale=1.0)").replace("mean())", "mean() * scale)"),
        ONE.replace("ONE", "success_rate(ONES, 1.0, scale=1.0)"),
        "import numpy as np\nONES = np.ones(3)",
    ],
    "another exercise, in a type of its own": [
        RATE.replace("float(", "("),
        "import numpy as np\nONES = np.ones(3)",
        ONE.replace("ONE", "success_rate(ONES, 1.0).item()"),
    ],
    "comprehension over what its own name was": [
        "x = [1.0]",
        "ONE = [x for x in x]",
        FIRST,
    ],
    "cell above that fails": ["ONE = [1.0, 2.0]", "ONE[5] = 3.0", FIRST],
    "cell above that fails midway": [
        "ONE = [3.0]",
        "ONE[0] = 1.0\nONE[5] = 3.0\nONE[0] = 2.0",
        FIRST,
    ],
    "text of several lines in a cell above": [
        'if True:\n    TEXT = """\n1.0\n  two\n"""',
        ONE.replace("ONE", "float(TEXT.split()[0])"),
    ],
    "decorator that does the work": [
        "def full(f):\n    return lambda step, start, end, decay_steps: "
        "start + (end - start) * min(1.0, step / decay_steps)",
        HEAD.replace("\ndef", "\n@full\ndef") + "    ...\n",
    ],
}
FORMS["asynchronous helper"][0] += (
    "def run(coroutine):\n    try:\n        coroutine.send(None)\n"
    "    except StopIteration as end:\n        return end.value\n"
)

IN_IPYTHON = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
import course_lib.lessons
from course_lib.classroom import exercise as module
from course_lib.classroom.exercise import _seen

shell, verdicts = InteractiveShell.instance(), {}
fresh = dict(shell.user_ns)
for name, cells in json.load(sys.stdin).items():
    shell.user_ns.clear()
    shell.user_ns.update(fresh)
    _seen.clear()
    for cell in ["from course_lib.classroom import exercise", *cells]:
        shell.run_cell(cell)
    verdicts[name] = _seen[sys.argv[1]].verdict.status if _seen else None
json.dump(verdicts, open(sys.argv[2], "w"))
"""


@pytest.fixture(scope="module")
def in_ipython(tmp_path_factory) -> dict[str, str]:
    """The verdicts of a real shell, in a process of its own."""
    file = tmp_path_factory.mktemp("verdicts") / "verdicts.json"
    line = [sys.executable, "-c", IN_IPYTHON, NAME, str(file)]
    subprocess.run(
        line,
        input=json.dumps(FORMS),
        text=True,
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=120,
    )
    return json.loads(file.read_text())


@pytest.mark.parametrize("form", FORMS)
def test_a_cell_gets_the_verdict_that_it_gets_in_ipython(form, in_ipython):
    cells = ["from course_lib.classroom import exercise", *FORMS[form]]
    found = notebook.read(hostile.notebook(*cells))[NAME]
    assert not found.problem
    if found.untouched:
        status = "not attempted"
    else:
        programs = filter(None, (found.program, found.wider))
        verdicts = [check(load(p, found.function, NAME), find(NAME)).status for p in programs]
        status = "right" if "right" in verdicts else verdicts[0]
    assert status == in_ipython[form]


@pytest.mark.parametrize(
    "training",
    [
        "print(TRAINING)",
        "share(TRAINING)",
        "math.fsum(TRAINING)",
        "for x in TRAINING:\n    history = [x]\n    print(x)",
        "if TRAINING:\n    history.append(step)",
        "with math.TRAINING as step:\n    pass",
        "[print(TRAINING) for x in step]",
        "history = share(TRAINING)",
        "history[0] = TRAINING",
    ],
)
def test_what_only_uses_the_same_names_is_left_out(training):
    answer = RIGHT.replace("    return", "    print(step, share(math.pi))\n    return")
    cells = ["import math\nhistory = []\n" + SHARE_DEF, training, answer, training]
    program = notebook.read(hostile.notebook(*cells))[NAME].program
    assert "TRAINING" not in program and "def share" in program


def test_an_exercise_that_is_called_and_not_a_decorator_is_told():
    called = (
        "def mine(step, start, end, decay_steps):\n    return 1\nf = exercise('" + NAME + "')(mine)"
    )
    found = notebook.read(hostile.notebook(called))
    assert f"@exercise('{NAME}')" in found[NAME].problem
    found = notebook.read(hostile.notebook(HEAD + "    ...\n", called))
    assert f"@exercise('{NAME}')" in found[NAME].problem and not found[NAME].untouched
    found = notebook.read(hostile.notebook(called, RIGHT))
    assert found[NAME].problem is None and found[NAME].program
