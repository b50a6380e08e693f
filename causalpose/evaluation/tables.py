"""Tidy results: one row a measurement, the same eight columns everywhere."""

import gzip
import io
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from causalpose.data.files import replacing
from causalpose.errors import CausalPoseError

COLUMNS = ("study", "variant", "seed", "dataset", "condition", "joint", "metric", "value")


def tidy(rows: Iterable[Mapping[str, object]] | pd.DataFrame, **constant: object) -> pd.DataFrame:
    """A tidy frame of the columns `COLUMNS`, in that order; `constant` fills columns that are the same in every row.

    A missing or unknown column is an error: a result that cannot say what it measured is not one.
    """
    frame = pd.DataFrame(rows if isinstance(rows, pd.DataFrame) else list(rows)).assign(**constant)
    missing = [name for name in COLUMNS if name not in frame]
    unknown = [str(name) for name in frame if name not in COLUMNS]
    if missing or unknown:
        raise CausalPoseError(
            f"results table: missing columns: {', '.join(missing) or 'none'}; unknown columns: {', '.join(unknown) or 'none'}"
        )
    frame = frame[list(COLUMNS)].astype({"seed": "int64", "value": "float64"})
    return frame.reset_index(drop=True)


def write(path: Path | str, frame: pd.DataFrame) -> None:
    """Write a tidy frame as CSV, atomically; packed where the name ends in `.gz`."""
    frame = tidy(frame)
    with replacing(path) as temporary:
        if str(path).endswith(".gz"):
            temporary.write_bytes(packed(frame, float_format="%.6g"))
        else:
            frame.to_csv(temporary, index=False, float_format="%.6g")


def packed(frame: pd.DataFrame, **form: object) -> bytes:
    """A frame as gzip CSV whose bytes depend on the content alone (no time stamp); `form` goes to `DataFrame.to_csv`."""
    text = io.StringIO()
    frame.to_csv(text, index=False, **form)
    return gzip.compress(text.getvalue().encode(), mtime=0)


def read(path: Path | str) -> pd.DataFrame:
    """Read a tidy CSV; other columns, or text where a number belongs, are errors that name the file."""
    try:
        return tidy(pd.read_csv(path, keep_default_na=False, na_values={"value": ["", "nan"]}))
    except FileNotFoundError:
        raise CausalPoseError(f"{path}: no such results file") from None
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error, pd.errors.ParserError) as error:
        raise CausalPoseError(f"{path}: not a tidy results file ({error})") from None
