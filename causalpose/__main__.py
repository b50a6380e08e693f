"""`python -m causalpose` is the command line."""

from causalpose.cli.main import run

if __name__ == "__main__":
    run()
