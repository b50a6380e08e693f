"""`python -m papermill TEMPLATE NOTEBOOK … -b PARAMETERS`: works a moment, then leaves the cell's last file as the real cells do.

Its content follows from the parameters and from what the cell needs, so equal tables mean equal cells all the way down.
`STUB_SECONDS` is the work, `STUB_FAIL` a template that fails, `STUB_FAIL_ONCE` one whose cells fail at their first try, `STUB_BYTES` what
a cell leaves beside its last file.
"""

import base64
import hashlib
import json
import os
import sys
import time
from pathlib import Path

from causalpose.data.files import replacing
from causalpose.experiments import engine

template, notebook = Path(sys.argv[1]).stem, Path(sys.argv[2])
parameters = json.loads(base64.b64decode(sys.argv[sys.argv.index("-b") + 1]))
config = json.loads((notebook.parents[1] / "grid.json").read_text())
(job,) = [job for job in engine.planned(config) if job.parameters == parameters]
notebook.write_text(template)
began = time.time()
if os.environ.get("STUB_FAIL") == template:
    sys.exit("CausalPoseError: this cell was told to fail")
if os.environ.get("STUB_FAIL_ONCE") == template and not (tried := notebook.with_suffix(".tried")).exists():
    tried.touch()
    sys.exit("CausalPoseError: this cell was told to fail once")
time.sleep(float(os.environ.get("STUB_SECONDS", "0.1")))
try:
    with replacing(Path(job.done).parent / "weights") as temporary:
        temporary.write_bytes(b"0" * int(os.environ.get("STUB_BYTES", "1")))
    content = [job.label, parameters, *(Path(name).read_text() for name in job.needs)]
    with replacing(job.done) as temporary:
        temporary.write_text(json.dumps({"value": hashlib.sha256(json.dumps(content).encode()).hexdigest(), "seconds": 1.5}))
    with open(notebook.parent / "runs.txt", "a") as file:
        file.write(f"{job.name} {began} {time.time()}\n")
except OSError as error:
    sys.exit(f"{type(error).__name__}: {error}")
