"""The project's frame agrees with itself: what is imported is declared, what is declared is pinned, and the pins are what runs."""

import ast
import functools
import re
import stat
import sys
import tomllib
from importlib.metadata import entry_points, packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import causalpose

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
RUNTIME = {canonicalize_name(Requirement(line).name): Requirement(line) for line in PROJECT["dependencies"]}
EXTRAS = {
    canonicalize_name(Requirement(line).name): Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines
}
DECLARED = RUNTIME | EXTRAS


def pins() -> dict[str, Version]:
    """constraints.txt as a dict; a line that is not `name==version` fails."""
    found = {}
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, number = line.partition("==")
            assert number, f"constraints.txt: {line!r} is not a pin"
            found[canonicalize_name(name)] = Version(number)
    return found


def imported(folder: Path) -> dict[str, set[str]]:
    """Third-party top-level modules imported anywhere below a folder, with the files that do it."""
    modules: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in names:
                modules.setdefault(name.partition(".")[0], set()).add(path.relative_to(REPOSITORY).as_posix())
    return {name: files for name, files in modules.items() if name not in sys.stdlib_module_names and name != "causalpose"}


@functools.cache
def providers() -> dict[str, list[str]]:
    """Distributions by the top-level module they provide (reads every installed package, hence once)."""
    return packages_distributions()


def distributions(module: str) -> set[str]:
    """Canonical names of the distributions that provide a module."""
    return {canonicalize_name(name) for name in providers().get(module, [module])}


def test_every_import_of_the_library_is_declared() -> None:
    """A module that is only there because another package needs it would be missing one day."""
    undeclared = {
        module: files for module, files in imported(REPOSITORY / "causalpose").items() if not distributions(module) & set(RUNTIME)
    }
    assert not undeclared, f"declare these in pyproject.toml's dependencies: {undeclared}"


def test_every_declared_dependency_is_imported() -> None:
    """What is declared and never imported makes the installation slower for nothing."""
    # torchvision is what timm builds its transforms on; its version has to fit torch's, so it is declared beside it.
    used = set().union(*(distributions(module) for module in imported(REPOSITORY / "causalpose"))) | {"torchvision"}
    assert set(RUNTIME) <= used, f"never imported in causalpose/: {sorted(set(RUNTIME) - used)}"


def test_imports_of_tests_and_tools_are_declared() -> None:
    """The same for what the tests and the tools import, where extras count too."""
    for folder in ("tests", "tools"):
        found = {name: files for name, files in imported(REPOSITORY / folder).items() if name not in {"tools", "tests"}}
        undeclared = {module: files for module, files in found.items() if not distributions(module) & set(DECLARED)}
        assert not undeclared, f"declare these in an extra of pyproject.toml: {undeclared}"


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_pin_lies_in_the_declared_range(name: str) -> None:
    """constraints.txt and pyproject.toml agree."""
    pinned = pins()
    assert name in pinned, f"constraints.txt does not pin {name}; run `make constraints`"
    assert pinned[name] in DECLARED[name].specifier, f"{name}: pinned at {pinned[name]}, declared {DECLARED[name].specifier}"


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_pin_is_what_runs(name: str) -> None:
    """The tests run with the pinned version; a local label such as `+cpu` names a build of the same version."""
    assert Version(Version(version(name)).public) == pins()[name], f"{name}: installed {version(name)}, pinned {pins()[name]}"


def test_pins_hold_on_every_platform() -> None:
    """Wheels that exist for one platform only, and addresses of package servers, have no place in the pins."""
    text = (REPOSITORY / "constraints.txt").read_text()
    assert not [name for name in pins() if name.startswith(("nvidia-", "cuda-", "triton"))]
    assert "://" not in text and "--" not in text and "+" not in text


def test_conda_takes_the_same_lists() -> None:
    """environment.yml has no ranges of its own to drift: it takes the pins and the extras, and the same Python."""
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    plain = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    assert "python" + PROJECT["requires-python"] in plain
    extras = ",".join(PROJECT["optional-dependencies"])
    assert pip == ["-c constraints.txt", f"-e .[{extras}]"]


def test_make_installs_the_same_extras() -> None:
    """Makefile, environment.yml and pyproject.toml name one set of extras."""
    extras = ",".join(PROJECT["optional-dependencies"])
    assert f"-c constraints.txt -e '.[{extras}]'" in (REPOSITORY / "Makefile").read_text()


def test_jupyter_book_stays_at_version_one() -> None:
    """Version 2 is a rewrite that reads neither `_config.yml` nor the execution cache."""
    assert Version("2.0.0") not in EXTRAS["jupyter-book"].specifier
    assert Version("1.0.4.post1") in EXTRAS["jupyter-book"].specifier


def test_python_range() -> None:
    """Python 3.11 is in, 3.10 is out, later ones are not shut out."""
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert all(number in allowed for number in ("3.11", "3.12", "3.13", "3.14")) and "3.10" not in allowed


def test_version_is_stated_once() -> None:
    """The package, its metadata and the citation bear one version."""
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert version("causalpose") == causalpose.__version__ == citation["version"]


def test_entry_point() -> None:
    """`causalpose` starts the command line's `run`."""
    (command,) = entry_points(group="console_scripts", name="causalpose")
    assert callable(command.load())


def test_make_targets_have_help() -> None:
    """Every target that a person types is listed by `make help`."""
    text = (REPOSITORY / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    documented = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    assert set(phony.split()) == documented


def test_ci_is_executable_and_strict() -> None:
    """A script that ignores failures would be green for ever."""
    script = REPOSITORY / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in script.read_text()


def test_book_is_strict() -> None:
    """A failed cell stops the build, a warning is an error, and only listed pages are built."""
    config = yaml.safe_load((REPOSITORY / "_config.yml").read_text())
    assert config["only_build_toc_files"] is True
    assert config["execute"]["execute_notebooks"] == "cache"
    assert config["execute"]["raise_on_error"] is True
    assert not config["execute"].get("allow_errors", False)
    assert '"-W"' in (REPOSITORY / "tools" / "build_book.py").read_text()
