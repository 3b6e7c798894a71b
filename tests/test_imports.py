"""Which file may import which: no circles, one direction, no functions put into algorithms.

Imports count wherever they stand, also inside functions and under `if TYPE_CHECKING`.
"""

import ast
import graphlib
import importlib
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "course_lib").rglob("*.py"))
}

ALGORITHMS = {"rl", "lm", "rlhf", "world_models", "agents", "search"}
TOP = {"allocator", "evaluation", "limits", "randomness", "weights"}  # files beside the rooms
MAY_IMPORT = {  # room -> rooms
    **dict.fromkeys(ALGORITHMS, ALGORITHMS | TOP),
    **dict.fromkeys(TOP, TOP),
    "worlds": ALGORITHMS | TOP | {"worlds"},
    "classroom": TOP | {"classroom"},
    "lessons": ALGORITHMS | TOP | {"worlds", "classroom", "lessons"},
    "commands": TOP | {"classroom", "lessons", "commands"},
    "__main__": {"commands"},
    "__init__": set(),
}
EXCEPTIONS = {  # file, what it imports: why
    ("classroom.video", "rl.envs"): "films an episode of any environment of the course",
    ("commands.doctor", "worlds.pretrained"): "says whether the language model is unpacked",
}


@cache
def imports_of(module: str) -> tuple[str, ...]:
    """The files of the library that a file imports, and anything of the project outside it."""
    found = []
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: write imports in full, not relative ones"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.append(inner if inner in FILES else node.module)
    own = ("course_lib", "benchmarks", "tests")
    return tuple(dict.fromkeys(name for name in found if name.split(".")[0] in own))


def short(module: str) -> str:
    return module.removeprefix("course_lib.")


def room(module: str) -> str:
    return "__init__" if module == "course_lib" else short(module).split(".")[0]


def edges() -> Iterator[tuple[str, str]]:
    for module in FILES:
        for imported in imports_of(module):
            yield module, imported


def test_every_import_names_a_file_of_the_library():
    lost = [f"{short(m)}: imports {name}" for m, name in edges() if name not in FILES]
    assert not lost, "\n".join(lost)


def test_no_files_import_each_other_in_a_circle():
    sorter = graphlib.TopologicalSorter({module: imports_of(module) for module in FILES})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = " <- ".join(map(short, error.args[1]))
        raise AssertionError(f"these files import each other in a circle: {circle}") from None


def test_imports_go_one_way():
    wrong = []
    for module, imported in edges():
        if room(imported) in MAY_IMPORT.get(room(module), set()):
            continue
        if (short(module), short(imported)) not in EXCEPTIONS:
            wrong.append(f"{short(module)}: imports {short(imported)}")
    assert not wrong, "these imports climb:\n" + "\n".join(wrong)


def test_no_lesson_imports_another():
    wrong = []
    for module, imported in edges():
        a, b = short(module).split("."), short(imported).split(".")
        if a[0] == b[0] == "lessons" and len(a) > 1 and len(b) > 1 and a[1] != b[1]:
            wrong.append(f"{short(module)}: imports {short(imported)}")
    assert not wrong, "what two lessons share belongs to worlds or to an algorithm:\n" + "\n".join(
        wrong
    )


def test_every_exception_is_needed():
    found = {(short(module), short(imported)) for module, imported in edges()}
    assert set(EXCEPTIONS) <= found, set(EXCEPTIONS) - found


# --- functions that an algorithm takes ----------------------------------------------------------

# Functions that are data of the problem. No parameter exists so that a learner's function, or a
# mistake, can be put in: those enter through `classroom.use`.
DATA = {  # file, function or class, parameter: what it is
    ("rl.backends", "Loop.__init__", "seeded"): "random numbers of a kind of environment",
    ("rl.networks", "seeded", "build"): "builder of a network",
    ("rl.dataset", "record", "policy"): "policy",
    ("rl.offline_table", "_solve", "value"): "what a state is worth",
    ("rl.q_learning", "act_and_learn", "learn"): "update rule of the algorithm",
    ("rl.q_learning", "act_and_learn", "row"): "values to act on",
    ("lm.checkpoints", "_fuse", "read"): "reader of a tensor in a file",
    ("lm.checkpoints", "_fuse", "name_in_block"): "naming of the tensors in a file",
    ("lm.gpt", "computed_by", "kernel"): "PyTorch's kernel of a formula",
    ("lm.gpt", "computed_by.decorate", "formula"): "formula that is decorated",
    ("lm.gpt", "residual_block", "norm1"): "sub-layer of a block",
    ("lm.gpt", "residual_block", "attention"): "sub-layer of a block",
    ("lm.gpt", "residual_block", "norm2"): "sub-layer of a block",
    ("lm.gpt", "residual_block", "feed_forward"): "sub-layer of a block",
    ("rlhf.preferences", "Labeller", "reward"): "true worth of a reply",
    ("rlhf.rewards", "right_number", "answer"): "right answer to a prompt",
    ("world_models.experience", "collect", "policy"): "policy",
    ("world_models.frames", "Recorder.play", "policy"): "policy",
    ("world_models.horizons", "expansions", "policy"): "policy",
    ("world_models.imagination", "Dream.__init__", "starts"): "where dreams begin",
    ("world_models.planning", "Task", "reward"): "reward that is known",
    ("world_models.planning", "Task", "ended"): "end that is known",
    ("world_models.sequence", "sample_frame", "decode"): "decoder of the world model",
}
Parameter = tuple[str, ast.expr | None, ast.expr | None]  # name, annotation, default


def callables_of(tree: ast.AST, owner: str = "") -> Iterator[tuple[str, Parameter]]:
    """Function or class, and each parameter or field of it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign):
                    yield owner + node.name, (field.target.id, field.annotation, field.value)
            yield from callables_of(node, f"{owner}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for parameter in parameters_of(node.args):
                yield owner + node.name, parameter
            yield from callables_of(node, f"{owner}{node.name}.")
        else:
            yield from callables_of(node, owner)


def parameters_of(args: ast.arguments) -> list[Parameter]:
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + args.defaults
    pairs = [
        *zip(plain, defaults, strict=True),
        *zip(args.kwonlyargs, args.kw_defaults, strict=True),
    ]
    pairs += [(rest, None) for rest in (args.vararg, args.kwarg) if rest is not None]
    return [(argument.arg, argument.annotation, default) for argument, default in pairs]


def is_library_function(default: ast.expr | None, module: str) -> bool:
    if not isinstance(default, ast.Name | ast.Attribute):
        return False
    scope = vars(importlib.import_module(module))
    try:
        value = eval(compile(ast.Expression(default), module, "eval"), scope)
    except (NameError, AttributeError):  # a name of a class body, or of an enclosing function
        return False
    return inspect.isfunction(value) and value.__module__.startswith("course_lib")


def functions_taken() -> Iterator[tuple[tuple[str, str, str], bool]]:
    """Each parameter of an algorithm that takes a function, and whether its default is ours."""
    for module, path in FILES.items():
        if room(module) not in ALGORITHMS:
            continue
        for owner, (name, note, default) in callables_of(ast.parse(path.read_text("utf-8"))):
            called = note is not None and "Callable" in ast.unparse(note)
            ours = (called or note is None) and is_library_function(default, module)
            if called or ours:
                yield (short(module), owner, name), ours


def test_no_algorithm_has_a_parameter_for_a_learners_function():
    wrong = [
        f"{file}: {owner}({name}=...) " + ("defaults to a function of the library" if ours else "")
        for (file, owner, name), ours in functions_taken()
        if ours or (file, owner, name) not in DATA
    ]
    assert not wrong, (
        "call functions by their module-level names; learners' functions enter through "
        "classroom.use. A function that is data of the problem goes on the list DATA.\n"
        + "\n".join(wrong)
    )


def test_the_list_of_functions_that_are_data_is_up_to_date():
    gone = set(DATA) - {key for key, _ in functions_taken()}
    assert not gone, gone
