"""`my_net/classify.py:makeEmotionNet` -> a network. To import a file runs it: only a file that the user names."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from mien.errors import TrainingError

FORMS = "FILE.py:NAME or package.module:NAME, such as my_net/classify.py:makeEmotionNet"

TOGGLES = ("print", "toggle", "verbose", "debug")
"""Words in the name of an argument that switches printing on."""

COUNTS = ("class", "num_out", "n_out", "output")
"""Words in the name of an argument that is the number of classes."""


def make_custom_network(address: str, classes: int) -> nn.Module:
    """Import the named file or module, which runs it, and make its network.

    What is printed meanwhile goes to stderr.

    Args:
        address: `FILE.py:NAME` or `package.module:NAME`. NAME is a class of networks, a function that gives a network
            or the course's `(model, lossfun, optimizer)`, or a network.
        classes: given to an argument whose name says that it is the number of classes.

    Returns:
        a network on the CPU, in float32.

    Raises:
        TrainingError: it cannot be imported, lacks the name, needs arguments that mien cannot guess, raises, or gives
            something else.
    """
    where, _, name = address.rpartition(":")
    if not where or not name.isidentifier():
        raise TrainingError(f"{address}: expected {FORMS}")
    module = import_custom(where)
    if not hasattr(module, name):
        raise TrainingError(f"{where}: no {name!r} in it; found {', '.join(_candidates(module)) or 'no network'}")
    return _network(getattr(module, name), address, classes)


def import_custom(where: str) -> ModuleType:
    """Import a file (`my_net/classify.py`) or a module (`my_net.classify`), which runs it.

    A file in a package (a folder with `__init__.py`, or one that imports its neighbors with a dot) is imported as part
    of it.

    Raises:
        TrainingError: it is not there, or raises.
    """
    is_file = where.endswith(".py")
    path = Path(where)
    if is_file and not path.is_file():
        raise TrainingError(f"{where}: no such file; expected {FORMS}")
    with _running(where), contextlib.redirect_stdout(sys.stderr):
        if not is_file:
            return _imported(where, Path.cwd())
        root, dotted = _place(path.resolve())
        return _imported(dotted, root)


def settings_of(module: ModuleType) -> list[Any]:
    """The `transform`s that the user's files hold: in the module, or in modules imported from the same package."""
    package = module.__name__.split(".")[0]
    nearby = [m for name, m in list(sys.modules.items()) if name.split(".")[0] == package]
    return [t for m in (module, *nearby) if (t := getattr(m, "transform", None)) is not None]


def _place(path: Path) -> tuple[Path, str]:
    """The folder to import from, and the dotted name there."""
    parts, folder = [path.stem], path.parent
    if not (folder / "__init__.py").exists() and _imports_neighbors(path):
        return folder.parent, f"{folder.name}.{path.stem}"
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _imports_neighbors(path: Path) -> bool:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return False  # the import itself will say so
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


def _imported(dotted: str, root: Path) -> ModuleType:
    package = dotted.split(".")[0]
    known = sys.modules.get(package)
    here = (root / package).is_dir() or (root / f"{package}.py").is_file()
    if known is not None and here and not _stands_in(known, root):
        if package in sys.stdlib_module_names or "site-packages" in str(getattr(known, "__file__", "")):
            raise ImportError(f"Python has a module called {package!r}; rename the file or folder")
        # Another folder's package of this name, from an earlier call.
        for name in [n for n in sys.modules if n.split(".")[0] == package]:
            del sys.modules[name]
    added = [str(p) for p in dict.fromkeys((root, Path.cwd())) if str(p) not in sys.path]
    sys.path[:0] = added
    try:
        importlib.invalidate_caches()
        return importlib.import_module(dotted)
    finally:
        for folder in added:
            with contextlib.suppress(ValueError):
                sys.path.remove(folder)


def _stands_in(module: ModuleType, root: Path) -> bool:
    places = [*(getattr(module, "__path__", None) or []), getattr(module, "__file__", None) or ""]
    return any(place and Path(place).resolve().is_relative_to(root) for place in places)


def _candidates(module: ModuleType) -> list[str]:
    """What may make a network: classes of networks, and functions, that the module itself defines."""
    found: list[str] = []
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__
        if own and ((isinstance(value, type) and issubclass(value, nn.Module)) or inspect.isfunction(value)):
            found.append(name)
    return found


def _network(thing: Any, address: str, classes: int) -> nn.Module:
    made: Any = thing
    if not isinstance(thing, nn.Module):
        if not callable(thing):
            raise TrainingError(f"{address}: expected a class or function that makes a network, found {_kind(thing)}")
        with _running(address), contextlib.redirect_stdout(sys.stderr):
            made = thing(**_arguments(thing, address, classes))
    parts: list[Any] = list(made) if isinstance(made, (tuple, list)) else [made]
    network: object = parts[0] if parts else None  # of the course's (model, lossfun, optimizer)
    if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        network = network.module
    if not isinstance(network, nn.Module):
        raise TrainingError(
            f"{address}: expected it to give an nn.Module, or (model, lossfun, optimizer), found {_kind(made)}"
        )
    return network.cpu().float()


def _arguments(make: Callable[..., Any], address: str, classes: int) -> dict[str, Any]:
    """Values for the arguments whose meaning their name tells."""
    try:
        parameters = list(inspect.signature(make).parameters.values())
    except (TypeError, ValueError):
        return {}
    values: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            continue
        name = parameter.name.lower()
        required = parameter.default is parameter.empty
        number = required or type(parameter.default) is int
        if number and any(word in name for word in COUNTS):
            values[parameter.name] = classes
        elif required and any(word in name for word in TOGGLES):
            values[parameter.name] = False
        elif required:
            raise TrainingError(
                f"{address}: argument {parameter.name!r} has no default, and mien cannot guess it; write a function "
                "without arguments that makes the network, and name that"
            )
    return values


@contextlib.contextmanager
def _running(what: str) -> Generator[None]:
    """The user's code runs inside; whatever it raises becomes an error that says where."""
    try:
        yield
    except TrainingError:
        raise
    except (Exception, SystemExit) as error:
        raise TrainingError(f"{what}: running it failed{_line(error)}: {type(error).__name__}: {error}") from error


def _line(error: BaseException) -> str:
    """The user's line: the last one outside Python's and the libraries' own folders."""
    trace, place = error.__traceback__, ""
    while trace:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and "site-packages" not in file and file != __file__ and "importlib" not in file:
            place = f" at {Path(file).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _kind(value: object) -> str:
    return "nothing (None)" if value is None else f"an object of type {type(value).__name__}"
