"""`causalpose`: the command line's entry point.

Bad input ends with one line `error: …` on stderr and exit code 2; a traceback means a defect of the program.
"""

import importlib
import sys
from typing import Annotated

import typer

import causalpose
from causalpose.errors import CausalPoseError

app = typer.Typer(
    name="causalpose",
    help="Causal-inspired video human pose estimation: train, measure, predict and explain.\n\n"
    "A first run: [bold]causalpose train --stage 1 --out runs/s1[/bold], then [bold]causalpose evaluate runs/s1[/bold].",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Each module registers its commands by `register(app)`. They import torch inside the command only, so that `--help` is quick.
for _module in ("train", "evaluate", "predict", "explain", "data", "preview", "export", "ablate", "bench"):
    if importlib.util.find_spec(f"causalpose.cli.{_module}"):
        importlib.import_module(f"causalpose.cli.{_module}").register(app)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"causalpose {causalpose.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")] = False,
) -> None:
    pass


def run() -> None:
    """Run the command line and leave with its exit code."""
    try:
        app(prog_name="causalpose")
    except CausalPoseError as error:
        _fail(str(error))
    except OSError as error:
        # A missing right or a full disk is the machine's, not the program's, fault.
        _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))


def _fail(message: str) -> None:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)
