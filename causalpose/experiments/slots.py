"""`python -m causalpose.experiments.slots NUMBER FOLDER COMMAND …`: wait for one of so many slots, then become the command.

Snakemake 9.15 forgets to count a job that is ready alone, and after a chain of such jobs starts more at once than there are cores. A slot
is a locked file; the lock passes on to the command and ends with it, however it ends.
"""

import os
import sys
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows: there the engine's own count has to do
    fcntl = None


def take(number: int, folder: Path) -> None:
    """Hold one of `number` slots of a folder until this process, or what it becomes, ends."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [os.open(folder / str(slot), os.O_CREAT | os.O_RDWR, 0o666) for slot in range(number)]
    while fcntl is not None:
        for slot, file in enumerate(files):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            for other in files[:slot] + files[slot + 1 :]:
                os.close(other)
            os.set_inheritable(file, True)
            return
        time.sleep(0.2)


if __name__ == "__main__":
    take(int(sys.argv[1]), Path(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])
