"""Which code decides a result: the modules of this package that a module imports, directly or through others, read from their source.

Nothing is imported for it, so that a grid of hundreds of cells is named in a moment, and a change counts as soon as it is on disk.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import causalpose
from causalpose.errors import CausalPoseError

ROOT = Path(causalpose.__file__).parent


@lru_cache(maxsize=4096)
def _direct(path: Path, _stamp: tuple[int, int]) -> tuple[str, ...]:
    """Modules of the package that a source file names in its imports, wherever they stand in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from package import module` names a module, `from module import thing` does not: both are tried.
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in dict.fromkeys(names) if name.partition(".")[0] == ROOT.name)


def _file(module: str) -> Path | None:
    path = ROOT.parent.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def closure(modules: Iterable[str]) -> dict[str, Path]:
    """The given modules and every module of the package that they need, by dotted name, in alphabetical order."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    for module in waiting:
        if _file(module) is None:
            raise CausalPoseError(f"there is no module {module}")
    while waiting:
        module = waiting.pop()
        path = _file(module)
        if path is None or module in found:
            continue
        found[module] = path
        stat = path.stat()
        waiting += _direct(path, (stat.st_mtime_ns, stat.st_size))
        if "." in module:
            waiting.append(module.rpartition(".")[0])
    return dict(sorted(found.items()))


@lru_cache
def code_hash(*modules: str) -> str:
    """Twelve hexadecimal digits that name the source of `closure(modules)`. Read once a process: what was imported is what runs."""
    digest = hashlib.sha256()
    for name, path in closure(modules).items():
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
