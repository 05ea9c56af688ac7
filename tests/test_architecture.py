"""The house rules that can be read off the source: import direction, sizes, safety, documentation, light imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("compress", "teachers")
WRITTEN = (*PRODUCT, "tests", "benchmarks")

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"core"}),
    frozenset({"shapes", "anatomy", "tasks", "corpora", "losses", "train"}),
    frozenset({"signals", "importance"}),
    frozenset({"students"}),
    frozenset({"distill", "prune", "factorize", "quantize", "export", "bench"}),
    frozenset({"steps"}),
    frozenset({"pipeline"}),
    frozenset({"report"}),
    frozenset({"cli"}),
)
RUNTIME_CORE = {"compress.core", "compress.core.errors", "compress.core.hashing", "compress.core.artifact"}
RUNTIME_OUTSIDE = {"numpy", "tokenizers"}
ENGINE_OUTSIDE = {
    "onnx": {"onnxruntime"},
    "openvino": {"openvino"},
    "torch": {"torch", "transformers", "safetensors", "torchao"},
}
TEACHERS_MAY = {"core", "anatomy", "tasks", "corpora", "train", "losses", "signals"}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
HEAVY = {"torch", "transformers", "pydantic", "datasets", "numpy", "sklearn", "scipy", "pandas", "altair", "onnx"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def _files(*tops: str) -> tuple[Path, ...]:
    return tuple(path for top in tops for path in sorted((ROOT / top).rglob("*.py")))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _place(path: Path, node: ast.AST | None = None) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def _imports(path: Path) -> Iterator[tuple[ast.AST, str]]:
    """Every imported module, wherever the statement stands; `from a import b` counts as `a.b` when that is a module."""
    package = _module(path) if path.name == "__init__.py" else _module(path).rpartition(".")[0]
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module or "") if part)
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield node, inner if _is_module(inner) else source


def _is_module(dotted: str) -> bool:
    place = ROOT.joinpath(*dotted.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def _floor(module: str) -> tuple[int, str] | None:
    parts = module.split(".")
    if parts[0] != "compress" or len(parts) < 2:
        return None
    found = [index for index, names in enumerate(FLOORS) if parts[1] in names]
    return (found[0], parts[1]) if found else None


def _functions(path: Path) -> Iterator[Function]:
    yield from (node for node in ast.walk(_tree(path)) if isinstance(node, Function))


def test_every_package_has_a_floor() -> None:
    """A new package that the import rules do not know would be free to import anything."""
    known = {name for names in FLOORS for name in names} | {"runtime"}
    unknown = {path.relative_to(ROOT / "compress").parts[0].removesuffix(".py") for path in _files("compress")}
    assert unknown - known - {"__init__", "__main__"} == set()


def test_imports_go_one_way() -> None:
    """A method that imports a step, or a loss that imports a task, ties the floors into a knot."""
    wrong = []
    for path in _files("compress"):
        here = _floor(_module(path))
        for node, module in _imports(path):
            there = _floor(module)
            if here is None or there is None or here[1] == there[1]:
                continue
            if there[0] >= here[0]:
                wrong.append(f"{_place(path, node)}: {here[1]} imports {module}")
    assert wrong == []


def test_core_stands_on_nothing_of_ours() -> None:
    """core that reaches up (or sideways, into runtime) could not be reasoned about alone."""
    core = [(path, node, name) for path in _files("compress/core") for node, name in _imports(path)]
    assert [
        _place(path, node)
        for path, node, name in core
        if name.split(".")[0] in PRODUCT and not name.startswith("compress.core")
    ] == []


def test_runtime_imports_only_what_an_app_has() -> None:
    """One import of torch, pydantic or a training module would put gigabytes into every app that holds a student."""
    wrong = []
    for path in _files("compress/runtime"):
        allowed = RUNTIME_OUTSIDE | set(sys.stdlib_module_names) | {"__future__"}
        if path.parent.name == "engines":
            allowed |= ENGINE_OUTSIDE.get(path.stem.partition("_")[0], set())
        for node, module in _imports(path):
            ours = module.startswith("compress.runtime") or module in RUNTIME_CORE
            if not ours and module.split(".")[0] not in allowed:
                wrong.append(f"{_place(path, node)}: {module}")
    assert wrong == []


def test_what_opens_uneven_models_is_what_an_app_has() -> None:
    """The hook of `import compress` loads this package into an app that has torch and transformers and no more."""
    allowed = {"torch", "transformers", "__future__"} | set(sys.stdlib_module_names)
    ours = {"compress.core.errors", "compress.core.family"}
    wrong = []
    for path in [*_files("compress/shapes"), ROOT / "compress/core/family.py"]:
        plain = path.stem in ("hook", "auto", "__init__", "family")
        for node, module in _imports(path):
            if not module.startswith("compress.shapes") and module not in ours and _top(module) not in allowed:
                wrong.append(f"{_place(path, node)}: {module}")
            if plain and _top(module) in HEAVY and getattr(node, "col_offset", 0) == 0:
                wrong.append(f"{_place(path, node)}: {module} is loaded by every `import compress`")
    assert wrong == []


def test_what_the_runtime_borrows_from_core_is_plain() -> None:
    """The three core modules that runtime shares must stay standard library only, or the departure stops being safe."""
    wrong = []
    for name in ("errors", "hashing", "artifact"):
        path = ROOT / "compress/core" / f"{name}.py"
        for node, module in _imports(path):
            if module not in RUNTIME_CORE and module.split(".")[0] not in sys.stdlib_module_names | {"__future__"}:
                wrong.append(f"{_place(path, node)}: {module}")
    assert wrong == []


def test_teachers_and_compress_meet_in_the_catalogue_only() -> None:
    """A direct import either way would make the two packages one."""
    wrong = [_place(path, node) for path in _files("compress") for node, m in _imports(path) if _top(m) == "teachers"]
    for path in _files("teachers"):
        for node, module in _imports(path):
            if _top(module) != "compress" or module == "compress.steps.base":
                continue
            if len(module.split(".")) < 2 or module.split(".")[1] not in TEACHERS_MAY:
                wrong.append(f"{_place(path, node)}: {module}")
    assert wrong == []


def _top(module: str) -> str:
    return module.partition(".")[0]


def test_files_are_short() -> None:
    """A file past 400 lines holds more than one idea."""
    long = {_place(p): n for p in _files(*WRITTEN) if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}


def test_functions_are_short() -> None:
    """At least 90 % of the functions must fit on one screen (45 lines)."""
    lengths = {
        _place(path, node): (node.end_lineno or node.lineno) - node.lineno + 1
        for path in _files(*PRODUCT)
        for node in _functions(path)
    }
    long = sorted(place for place, length in lengths.items() if length >= 45)
    assert len(long) <= 0.1 * len(lengths), long


def test_the_library_is_silent() -> None:
    """print in a library cannot be turned off by the program that uses it; only the command line speaks."""
    wrong = []
    for path in _files(*PRODUCT):
        if _floor(_module(path)) == (len(FLOORS) - 1, "cli"):
            continue
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                wrong.append(_place(path, node))
    assert wrong == []


def test_no_star_imports() -> None:
    """A star import hides where a name comes from."""
    stars = [
        _place(path, node)
        for path in _files(*WRITTEN)
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    assert stars == []


def test_no_broad_except() -> None:
    """`except Exception` turns a bug into a wrong result; BaseException is caught only to clean up and raise again."""
    wrong = []
    for path in _files(*PRODUCT):
        for node in ast.walk(_tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {kind.id for kind in kinds if isinstance(kind, ast.Name)}
            raises = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if node.type is None or "Exception" in names or ("BaseException" in names and not raises):
                wrong.append(_place(path, node))
    assert wrong == []


def test_nothing_is_executed_from_data() -> None:
    """A pickle, eval, or remote code in a downloaded folder would run with the user's rights."""
    wrong = [_place(p, node) for p in _files(*PRODUCT) for node, m in _imports(p) if _top(m) in UNSAFE_MODULES]
    for path in _files(*PRODUCT):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Call) and _unsafe_call(node):
                wrong.append(f"{_place(path, node)}: {ast.unparse(node.func)}")
    assert wrong == []


def _unsafe_call(node: ast.Call) -> bool:
    given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
    name = ast.unparse(node.func)
    if name in ("torch.load", "jit.load", "torch.jit.load"):
        return given.get("weights_only") is not True
    if name in ("np.load", "numpy.load"):
        return given.get("allow_pickle", False) is not False
    return name in ("eval", "exec", "yaml.load", "yaml.unsafe_load") or given.get("trust_remote_code") is True


def test_public_names_say_what_they_are() -> None:
    """At least 95 % of the public classes and functions carry a docstring, their own or their abstract base's."""
    inherited = {
        node.name
        for path in _files(*PRODUCT)
        for node in _functions(path)
        if _decorated(node, "abstractmethod") and ast.get_docstring(node)
    } | {node.name for name in ("steps/base.py", "core/reporter.py") for node in _functions(ROOT / "compress" / name)}
    public = [(path, node) for path in _files(*PRODUCT) for node in _public(_tree(path))]
    bare = [
        f"{_place(path, node)}: {node.name}"
        for path, node in public
        if not ast.get_docstring(node) and node.name not in inherited
    ]
    assert len(bare) <= 0.05 * len(public), bare


def _public(tree: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | Function]:
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | Function) or node.name.startswith("_") or _decorated(node, "overload"):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from _public(node)


def _decorated(node: ast.ClassDef | Function, name: str) -> bool:
    return any(ast.unparse(decorator).split(".")[-1] == name for decorator in node.decorator_list)


@pytest.mark.parametrize("top", [PRODUCT, ("tests", "benchmarks")], ids=["product", "tests"])
def test_every_argument_and_return_is_typed(top: tuple[str, ...]) -> None:
    """An untyped argument makes everything it touches untyped, and mypy silent."""
    wrong = []
    for path in _files(*top):
        for node in _functions(path):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            bare = [arg.arg for arg in given if arg and arg.annotation is None and arg.arg not in ("self", "cls")]
            if bare or node.returns is None:
                wrong.append(f"{_place(path, node)}: {node.name} {bare}")
    assert wrong == []


def test_no_module_state() -> None:
    """`global` is state that two runs in one process would share."""
    assert [_place(p, n) for p in _files(*PRODUCT) for n in ast.walk(_tree(p)) if isinstance(n, ast.Global)] == []


def test_nothing_is_left_for_later() -> None:
    """A mark for later, or a stub, is a promise that the code does not keep."""
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    wrong = []
    for path in _files(*WRITTEN):
        with path.open("rb") as stream:
            comments = [token for token in tokenize.tokenize(stream.readline) if token.type == tokenize.COMMENT]
        wrong += [f"{path.relative_to(ROOT)}:{c.start[0]}" for c in comments if marks.search(c.string)]
    for path in _files(*PRODUCT):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Name) and node.id == "NotImplementedError":
                wrong.append(_place(path, node))
            if isinstance(node, Function) and not node.decorator_list and _is_stub(node):
                wrong.append(_place(path, node))
    assert wrong == []


def _is_stub(node: Function) -> bool:
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return len(body) == 1 and isinstance(body[0], ast.Pass)


def test_no_path_of_one_machine() -> None:
    """A path of the author's machine works nowhere else."""
    path_of_machine = re.compile("(?<![.\\w])/" + "(root|work|home)/")
    texts = [*_files(*WRITTEN)]
    texts += [p for end in ("md", "toml", "txt", "yaml") for p in ROOT.glob(f"*.{end}")]
    texts += [*sorted((ROOT / "configs").rglob("*.yaml")), ROOT / "Makefile"]
    assert [_place(path) for path in texts if path_of_machine.search(path.read_text(encoding="utf-8"))] == []


def _loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_import_compress_is_light() -> None:
    """An app, a shell completion or `--help` must not wait seconds for torch."""
    assert _loaded_by("import compress") & HEAVY == set()


def test_import_student_is_light() -> None:
    """`from compress import Student` in an app may load numpy and the engine, never what trains."""
    assert _loaded_by("from compress import Student") & (HEAVY - {"numpy"}) == set()


def test_command_line_is_light() -> None:
    """`compress --help` answers at once only when the command line module brings in nothing that trains."""
    assert _loaded_by("import compress.cli") & (HEAVY - {"pydantic"}) == set()
