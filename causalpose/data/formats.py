"""Which data set is this? Folders recognised by what lies in them, and one way to read them all.

A source is a folder, one annotation file, or `format:path` where the format should not be guessed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from causalpose.data import jhmdb, posetrack, posetrack17, tables
from causalpose.data.labels import Fault, PoseSequence, refuse
from causalpose.errors import CausalPoseError

# The three first keypoint names of a file's categories tell the data set.
_FIRST_NAMES = re.compile(rb'"keypoints"\s*:\s*\[\s*"([^"]{1,40})"\s*,\s*"([^"]{1,40})"')
_KINDS = {(b"nose", b"head_bottom"): "posetrack18", (b"nose", b"left_eye"): "coco", (b"neck", b"belly"): "jhmdb"}
_FORMS = {"posetrack18": tables.POSETRACK, "posetrack21": tables.POSETRACK, "coco": tables.COCO, "jhmdb": tables.JHMDB}
_NO_KEYPOINTS = ("instances_", "captions_", "panoptic_", "stuff_", "image_info_")  # COCO's other files, hundreds of megabytes each


@dataclass(frozen=True)
class Format:
    """A data set's form.

    published   its authors' counts by split, for the check to compare with
    versions    what another count means: (split, counted, number) -> text
    """

    name: str
    title: str
    keypoints: str
    published: dict[str, dict[str, int]] = field(default_factory=dict)
    versions: dict[tuple[str, str, int], str] = field(default_factory=dict)


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        # Papers count 250 training sequences in the release; the data set's own paper counts 292 of its first version.
        Format(
            "posetrack17",
            "PoseTrack 2017",
            "posetrack18",
            {"train": {"sequences": 250}, "val": {"sequences": 50}, "test": {"sequences": 214}},
            {
                ("train", "sequences", 292): "the data set's paper counts them",
                ("test", "sequences", 208): "the data set's paper counts them",
            },
        ),
        # Label version 0.45; the counts are those that papers on the data set give.
        Format(
            "posetrack18",
            "PoseTrack 2018",
            "posetrack18",
            {"train": {"sequences": 593}, "val": {"sequences": 170}, "test": {"sequences": 375}},
            {("val", "sequences", 74): "label version 0.2 has it (0.45 has 170)"},
        ),
        Format("posetrack21", "PoseTrack 21", "posetrack18", {"train": {"sequences": 593}, "val": {"sequences": 170}}),
        # Sub-JHMDB: clips in which the whole body shows.
        Format("jhmdb", "Sub-JHMDB", "jhmdb15", {"all": {"sequences": 316}}),
        # COCO 2017: images and persons with at least one labelled keypoint.
        Format(
            "coco",
            "COCO keypoints",
            "coco17",
            {"train2017": {"frames": 118_287, "labelled persons": 149_813}, "val2017": {"frames": 5_000, "labelled persons": 6_352}},
        ),
    )
}


@dataclass(frozen=True)
class DataSet:
    """A folder and its format. `file` narrows it to one annotation file."""

    root: Path
    format: Format
    file: Path | None = None

    def splits(self) -> list[str]:
        """Names of the splits."""
        return [_split_name(self.file)] if self.file is not None else list(self._files())

    def files(self, split: str) -> list[Path]:
        """The annotation files of a split, in name order; an unknown split is an error that lists the known ones."""
        if self.file is not None:
            return [self.file]
        known = self._files()
        # `val` stands for `val2017` where nothing else begins so.
        named = [name for name in known if name == split] or [name for name in known if split and name.startswith(split)]
        if len(named) != 1:
            raise CausalPoseError(f"{self.root}: no split {split!r}; there are: {', '.join(known) or 'none'}")
        return known[named[0]]

    def sequences(self, split: str, fault: Fault = refuse) -> Iterator[PoseSequence]:
        """The sequences of a split, file by file, each with the folder in which its images lie."""
        for position, file in enumerate(self.files(split)):
            for sequence in self.located(file, fault):
                yield jhmdb.numbered(sequence, position) if file.suffix == ".mat" else sequence

    def located(self, file: Path, fault: Fault = refuse) -> list[PoseSequence]:
        """The sequences of one annotation file, each with the folder in which its images lie."""
        return [replace(sequence, folder=self._image_folder(sequence, _split_name(file))) for sequence in self.read(file, fault)]

    def read(self, file: Path, fault: Fault = refuse) -> list[PoseSequence]:
        """The sequences of one annotation file."""
        if file.suffix == ".mat":
            return jhmdb.read(file, self.root, fault)
        if self.format.name == "posetrack17":
            return posetrack17.read(file, fault)
        return tables.read(file, _FORMS[self.format.name], fault)

    def _files(self) -> dict[str, list[Path]]:
        if self.format.name == "jhmdb" and jhmdb.is_root(self.root):
            return jhmdb.split_files(self.root)
        folder = posetrack.annotation_folder(self.root)
        if folder is not None:
            names = sorted(path for path in folder.iterdir() if path.is_dir())
            return {path.name: sorted(path.glob("*.json")) for path in names if any(path.glob("*.json"))}
        found: dict[str, list[Path]] = {}
        for file in _flat(self.root):
            if kind(file) == self.format.name:
                found.setdefault(_split_name(file), []).append(file)
        return found

    def _image_folder(self, sequence: PoseSequence, split: str) -> str:
        """Where the images lie: the first usual place that holds one of the sequence's first images."""
        places = ("", "posetrack_data", "images", split, f"images/{split}", "Rename_Images")
        for frame in sequence.frames[:3]:
            for place in places:
                if (self.root / place / frame.file_name).is_file():
                    return place
        return ""


def open_data(source: Path | str) -> DataSet:
    """Recognise the data set at a path (a folder or one annotation file), or take the format that `format:path` names."""
    name, separator, rest = str(source).partition(":")
    forced = name if separator and name in FORMATS else None
    path = Path(rest if forced else source)
    if path.is_file():
        found = forced or kind(path)
        if found not in FORMATS:
            raise CausalPoseError(f"{path}: not an annotation file of a known form ({_known()}); is it a detection file?")
        return DataSet(_root_of(path, FORMATS[found]), FORMATS[found], path)
    if not path.is_dir():
        hint = f"; formats are: {_known()}" if separator and not Path(name).exists() else ""
        raise CausalPoseError(f"{source}: no such folder or annotation file{hint}")
    found = forced or _recognise(path)
    return DataSet(path, FORMATS[found])


@lru_cache(maxsize=4096)
def _kind(path: Path, stamp: int, size: int) -> str | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if b'"annolist"' in content[:4096]:
        return "posetrack17"
    names = _FIRST_NAMES.search(content)
    found = None if names is None else _KINDS.get(names.groups())
    return "posetrack21" if found == "posetrack18" and b'"person_id"' in content else found


def kind(path: Path) -> str | None:
    """The format of one JSON file by its content, None where it is none of ours."""
    if path.name.startswith(_NO_KEYPOINTS) or not path.is_file():
        return None
    status = path.stat()
    return _kind(path, status.st_mtime_ns, status.st_size)


def _recognise(root: Path) -> str:
    if jhmdb.is_root(root):
        return "jhmdb"
    folder = posetrack.annotation_folder(root)
    if folder is not None:  # sequences of one data set: the first file that says something speaks for all
        return next((name for file in sorted(folder.glob("*/*.json"))[:20] if (name := kind(file)) in FORMATS), "posetrack18")
    found = {kind(file) for file in _flat(root)} - {None}
    if len(found) == 1 and (name := found.pop()) in FORMATS:
        return name
    seen = f"files of {', '.join(sorted(found))}" if found else "no annotation file of a known form"
    raise CausalPoseError(
        f"{root}: not a data set that can be recognised: {seen} under annotations/, posetrack_data/ or the folder itself. "
        f"Known: {_known()}; name one as FORMAT:{root}"
    )


def _flat(root: Path) -> list[Path]:
    """JSON files of the folder `annotations`, else of the root itself."""
    for folder in (root / "annotations", root):
        files = sorted(folder.glob("*.json")) if folder.is_dir() else []
        if files:
            return files
    return []


def _split_name(file: Path) -> str:
    """`person_keypoints_val2017` is `val2017`, `posetrack18_val` is `val`, `Sub1_train` is `sub1_train`, anything else its own name."""
    name = file.stem
    for prefix in ("person_keypoints_", "posetrack18_", "posetrack_merged_"):
        name = name.removeprefix(prefix)
    return name.lower() if re.fullmatch(r"[Ss]ub[123]_(train|test)", name) else name


def _root_of(file: Path, form: Format) -> Path:
    """The folder that the image names of one annotation file are relative to: the nearest folder above that holds one of them."""
    data = DataSet(file.parent, form, file)
    first = [sequence.frames[0].file_name for sequence in data.read(file, lambda *fault: None)[:3] if sequence.frames]
    above = list(file.resolve().parents)[:-1][:4]
    for folder in above:
        if any((folder / name).is_file() for name in first):
            return folder
    return above[min(2, len(above) - 1)]


def _known() -> str:
    return ", ".join(FORMATS)
