"""PoseTrack's AP read out literally: one loop after the other, a joint at a time. Slow, and the reference that the library is held to."""

import math

JOINTS = 15


def average_precision(frames: list[dict], threshold: float = 0.5) -> list[float]:
    """AP in percent of each of the 15 joints, and their mean.

    A frame is {"true": persons, "found": persons, "ignore": polygons}; a true person is {"joints": {k: (x, y)}, "head": (w, h)}, a
    predicted one {"joints": {k: (x, y)}, "scores": {k: score}}; a polygon is a list of (x, y).
    """
    ranked: list[list[tuple[float, bool]]] = [[] for _ in range(JOINTS)]
    labelled = [0] * JOINTS
    for frame in frames:
        if not frame["true"]:
            continue
        true = [outside(person, frame["ignore"]) for person in frame["true"]]
        found = [outside(person, frame["ignore"]) for person in frame["found"]]
        for person in true:
            for k in person["joints"]:
                labelled[k] += 1
        likeness = [[0.0] * len(true) for _ in found]
        for i, prediction in enumerate(found):
            for j, person in enumerate(true):
                right = 0
                for k in range(JOINTS):
                    right += matches(prediction, person, k, threshold)
                if person["joints"]:
                    likeness[i][j] = right / len(person["joints"])
        for i in range(len(found)):  # a prediction keeps the person it is most like, the first of equals
            best = 0
            for j in range(len(true)):
                if likeness[i][j] > likeness[i][best]:
                    best = j
            for j in range(len(true)):
                if j != best:
                    likeness[i][j] = 0.0
        owner = {}
        for j in range(len(true)):  # a person takes the most like of them, the first of equals
            best, value = None, 0.0
            for i in range(len(found)):
                if likeness[i][j] > value:
                    best, value = i, likeness[i][j]
            if best is not None:
                owner[best] = j
        for i, prediction in enumerate(found):
            for k in prediction["joints"]:
                right = i in owner and matches(prediction, true[owner[i]], k, threshold)
                ranked[k].append((prediction["scores"][k], bool(right)))
    values = [voc(ranked[k], labelled[k]) for k in range(JOINTS)]
    known = [value for value in values if not math.isnan(value)]
    return [*values, sum(known) / len(known)]


def matches(prediction: dict, person: dict, k: int, threshold: float) -> bool:
    if k not in prediction["joints"] or k not in person["joints"]:
        return False
    (x, y), (u, v) = prediction["joints"][k], person["joints"][k]
    size = 0.6 * math.sqrt(person["head"][0] ** 2 + person["head"][1] ** 2)
    return size > 0 and math.sqrt((x - u) ** 2 + (y - v) ** 2) / size <= threshold


def outside(person: dict, polygons: list) -> dict:
    """The person without the joints inside a polygon."""
    kept = {k: point for k, point in person["joints"].items() if not any(contains(polygon, point) for polygon in polygons)}
    return person | {"joints": kept}


def contains(polygon: list, point: tuple) -> bool:
    """Whether a ray to the right meets the outline an odd number of times (random points never lie on it)."""
    x, y = point
    odd = False
    for n in range(len(polygon)):
        (ax, ay), (bx, by) = polygon[n], polygon[(n + 1) % len(polygon)]
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            odd = not odd
    return odd


def voc(ranked: list[tuple[float, bool]], labelled: int) -> float:
    """Area under the precision envelope, in percent; nan where nothing is labelled."""
    if labelled == 0:
        return math.nan
    order = sorted(range(len(ranked)), key=lambda n: -ranked[n][0])  # stable: the earlier of equal scores first
    recall, precision, right = [0.0], [0.0], 0
    for rank, n in enumerate(order, 1):
        right += ranked[n][1]
        recall.append(right / labelled)
        precision.append(right / rank)
    recall.append(1.0)
    precision.append(0.0)
    for n in range(len(precision) - 2, -1, -1):
        precision[n] = max(precision[n], precision[n + 1])
    return 100 * sum((recall[n] - recall[n - 1]) * precision[n] for n in range(1, len(recall)))
