"""Write constraints.txt: the version of every package that this environment runs the project with (`make constraints`).

The list is the closure of what pyproject.toml declares, extras included, so a package that only happens to be installed is not
pinned. NVIDIA's and Triton's wheels are left out: torch itself pins them, and they exist for some platforms only.
"""

import os
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PLATFORM_BOUND = ("nvidia-", "cuda-", "triton")
HEADER = """\
# The versions that the tests run with: `pip install -c constraints.txt -e .[book,test,dev]`.
# Written by `make constraints` from the declared packages and everything they need; do not edit by hand.
"""


def declared(pyproject: dict) -> list[Requirement]:
    """Every requirement of the project: its own, and those of all extras."""
    project = pyproject["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return [Requirement(line) for line in lines]


def closure(roots: list[Requirement]) -> dict[str, str]:
    """Installed version by canonical name, for the roots and all that they require on this machine."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(roots)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in seen or name.startswith(PLATFORM_BOUND):
            continue
        seen.add(key)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            sys.exit(f"error: {name} is required but not installed in {sys.prefix}; run `make install` first")
        # A local label (2.9.0+cpu) names one build of a version; a pin has to hold for all of them.
        versions[name] = found.version.split("+")[0]
        for line in found.requires or ():
            child = Requirement(line)
            if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
                waiting.append(child)
    return versions


def main() -> None:
    """Write the file in one step, so that an interrupted run leaves the old one."""
    versions = closure(declared(tomllib.loads((ROOT / "pyproject.toml").read_text())))
    target = ROOT / "constraints.txt"
    fresh = target.with_suffix(".tmp")
    fresh.write_text(HEADER + "".join(f"{name}=={versions[name]}\n" for name in sorted(versions)))
    os.replace(fresh, target)
    print(f"{target.name}: {len(versions)} pins")


if __name__ == "__main__":
    main()
