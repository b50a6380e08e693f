"""Seeded damage to annotation files: what a broken copy, a foreign converter or a malicious author might hand in."""

import copy
import json
import random

_NUMBERS = (
    0, 1, -1, 2, 17, 255, -2147483649, 2**63, 10**400, 0.5, -0.0, 1e308, -1e308, 1e-320, float("nan"), float("inf"),
)  # fmt: skip
_WORDS = (
    "", "0", "1", "nan", "person", "nose", "left_wrist", "a" * 300, "b/" * 1500, "\0", "\ud800", "..", "../x", "../../secret.png",
    "/etc/passwd", "/dev/zero", "images/../../../secret.png", "C:\\secret.png", "file:///etc/passwd", "images", ".", "./", "~", "-",
)  # fmt: skip
_STRUCTURES = (
    [], [[]], [None], [1], [1, 2, 3], ["a"], [[1, 2]], {}, {"a": 1}, {"name": ["x"]}, [float("nan")] * 4, [0, 0, -5, -5],
    [1e9, 1e9, 1e9, 1e9], [5, 5, 0, 0],
)  # fmt: skip
NASTY: tuple = (None, True, False, *_NUMBERS, *_WORDS, *_STRUCTURES)
_FIELDS = ("occluded", "scores", "bbox", "area", "nframes", "is_labeled", "height", "x1", "image_id")
_TEXTS = (
    b"", b"{", b"[]", b"null", b"1", b'"x"', b"{}", b"\xff\xfe\x00", b"[" * 100_000, b"9" * 5000, b'{"annolist":' * 2000, b"\xef\xbb\xbf{}",
)  # fmt: skip


def damage(content: object, seed: int) -> bytes:
    """The file of `content` after one to four damages: to its tree (most often), or to its bytes."""
    dice = random.Random(seed)
    kind = dice.random()
    if kind < 0.02:
        return dice.choice(_TEXTS)
    tree = copy.deepcopy(content)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        tree = _damage_tree(tree, dice)
    text = json.dumps(tree)
    raw = bytearray(text.encode("utf-8", "surrogatepass"))
    if kind > 0.9 and raw:
        _damage_bytes(raw, dice)
    return bytes(raw)


def damage_bytes(raw: bytes, seed: int) -> bytes:
    """A binary file after one to eight damages."""
    dice, out = random.Random(seed), bytearray(raw)
    for _ in range(dice.choice((1, 1, 2, 8))):
        if out:
            _damage_bytes(out, dice)
    return bytes(out)


def _damage_bytes(raw: bytearray, dice: random.Random) -> None:
    place = dice.randrange(len(raw))
    match dice.randrange(5):
        case 0:
            del raw[place:]
        case 1:
            raw[place] = dice.randrange(256)
        case 2:
            del raw[place : place + dice.randrange(1, 40)]
        case 3:
            raw[place:place] = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 20)))
        case _:
            raw[place] ^= 1 << dice.randrange(8)


def _damage_tree(tree: object, dice: random.Random) -> object:
    """One damage at a place drawn by walking down from the root, so that rare fields near it are hit as often as a thousand numbers."""
    parent, key, node = None, None, tree
    while isinstance(node, dict | list) and node and (parent is None or dice.random() < 0.85):
        parent, key = node, dice.choice(list(node)) if isinstance(node, dict) else dice.randrange(len(node))
        node = parent[key]
    if parent is None:
        return dice.choice(NASTY)
    match dice.randrange(8):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(node))
        case 2:
            parent[key] = [node]
        case 3 if isinstance(node, list):
            parent[key] = node[: dice.randrange(len(node) + 1)]
        case 4 if isinstance(node, list) and node:
            dice.shuffle(node)
        case 5 if isinstance(node, int | float) and not isinstance(node, bool):
            parent[key] = dice.choice((-node, node * 1000, node + 0.5, str(node), float("nan"), node + 1))
        case 6 if isinstance(parent, dict):
            parent[dice.choice(("occluded", "scores", "bbox", "area", "nframes", "is_labeled", "height", "x1", "image_id"))] = dice.choice(
                NASTY
            )
        case _:
            parent[key] = copy.deepcopy(dice.choice(NASTY))
    return tree
