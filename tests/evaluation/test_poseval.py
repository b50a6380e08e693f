"""PoseTrack's AP: cases worked by hand, the literal reference on random ones, and files that are wrong in quiet ways."""

import json

import numpy as np
import pandas as pd
import pytest

from causalpose.clip import Visibility
from causalpose.data import posetrack
from causalpose.data.formats import open_data
from causalpose.data.labels import Frame, Person, PoseSequence
from causalpose.data.posetrack import FILE_SET
from causalpose.errors import CausalPoseError
from causalpose.evaluation import poseval, submissions
from causalpose.skeletons import keypoint_set
from tests.evaluation import poseval_reference

SLOTS = [FILE_SET.index(name) for name in keypoint_set("posetrack15").keypoints]  # of the 15 joints among the 17 of a file
SQUARE = np.array([[100.0, 100], [200, 100], [200, 200], [100, 200]])


def person(joints: dict[int, tuple], head=(30.0, 40.0), scores: dict[int, float] | None = None, track=0, hidden=()) -> Person:
    """A person with the given of the 15 joints; a head box of 30 x 40 makes a head size of 0.6 x 50 = 30 and a reach of 15 pixels."""
    points, visibility, confidence = np.zeros((17, 2)), np.zeros(17, np.uint8), np.zeros(17)
    for k, place in joints.items():
        points[SLOTS[k]], visibility[SLOTS[k]] = place, Visibility.OCCLUDED if k in hidden else Visibility.VISIBLE
        confidence[SLOTS[k]] = (scores or {}).get(k, 0.0)
    box = np.array([0.0, 0, 10, 10])
    return Person(track, points, visibility, box, None if head is None else np.array([0.0, 0, *head]), confidence)


def evaluate(*frames, **options):
    """Frames are (true persons, predicted persons) or (true, predicted, polygons)."""
    true, found = [], []
    for n, (persons, predictions, *polygons) in enumerate(frames):
        true.append(Frame(n, f"a/{n}.jpg", True, tuple(persons), tuple(polygons[0]) if polygons else ()))
        found.append(Frame(n, f"a/{n}.jpg", True, tuple(predictions)))
    return poseval.average_precision([PoseSequence("a", tuple(true), "t.json")], [PoseSequence("a", tuple(found), "p.json")], **options)


def ap(result) -> dict[int, float]:
    return {k: value for k, value in enumerate(result.table.ap[:15]) if not np.isnan(value)}


def test_the_reach_is_half_a_head_size():
    """Head box 30 x 40: diagonal 50, head size 0.6 x 50 = 30, reach 0.5 x 30 = 15 pixels. At 15 the joint is right, at 15.01 it is not.

    One labelled nose, one predicted: AP = recall 1 x precision 1 = 100, or 0.
    """
    true = person({0: (50, 50)})
    assert ap(evaluate(([true], [person({0: (65, 50)})]))) == {0: 100}
    assert ap(evaluate(([true], [person({0: (65.01, 50)})]))) == {0: 0}
    assert ap(evaluate(([true], [person({0: (65.01, 50)})]), threshold=0.6)) == {0: 100}


def test_hidden_joints():
    """Three joints labelled (0, 3, 4), of which 4 is hidden; the prediction has 0 and 4 right, and 5, which nobody labelled.

    Joint 0: 100. Joint 3: labelled, not predicted: recall 0, AP 0. Joint 4: 100 - hidden joints count. Joint 5 has no label: no AP, not in
    the mean, which is (100 + 0 + 100) / 3. Visible joints alone: 0 and 3, (100 + 0) / 2 = 50; occluded alone: joint 4, 100.
    """
    case = ([person({0: (10, 10), 3: (50, 50), 4: (90, 50)}, hidden=[4])], [person({0: (10, 10), 4: (90, 50), 5: (50, 90)})])
    result = evaluate(case)
    assert ap(result) == {0: 100, 3: 0, 4: 100} and result.mean == pytest.approx(200 / 3)
    assert result.table.predicted[5] == 1 and result.table.labelled[5] == 0
    assert evaluate(case, subset="visible").mean == 50 and evaluate(case, subset="occluded").mean == 100


def test_a_predicted_joint_without_a_label_is_a_false_positive():
    """Person A (nose, labelled) and person B (shoulder only). Both predictions have a nose: B's, with the higher score, is wrong.

    Noses ranked: B's 0.9 (wrong), A's 0.8 (right): precision 0, 1/2; recall 0, 1. Envelope 1/2 over the whole recall: AP 50.
    """
    a, b = person({0: (50, 50), 3: (50, 90)}), person({3: (300, 300)})
    found = [person({0: (50, 50), 3: (50, 90)}, scores={0: 0.8}), person({0: (300, 250), 3: (300, 300)}, scores={0: 0.9})]
    assert ap(evaluate(([a, b], found))) == {0: 50, 3: 100}


def test_heads_of_no_size():
    """A head box 0 x 0: every distance is over zero, so nothing matches, not even the very place (0 / 0). The joint is missed.

    Two persons, one of them such, predicted perfectly: noses ranked equal, in the order of the file: wrong, right. Precision 0, 1/2;
    recall 0, 1/2. AP = 1/2 x 1/2 = 25. With the other order of the file: precision 1, 1/2: AP = 1/2 x 1 = 50.
    """
    flat, good = person({0: (50, 50)}, head=(0, 0)), person({0: (300, 300)})
    result = evaluate(([flat, good], [flat, good]))
    assert ap(result) == {0: 25} and result.unmatchable == 1
    assert ap(evaluate(([flat, good], [good, flat]))) == {0: 50}


def test_ignore_polygons():
    """The square 100..200: person A's nose at (150, 150) and the prediction there go; the shoulder at (50, 150) stays on both sides.

    Person B stands wholly inside and goes; so does the wrong prediction at (160, 160). A joint on the outline, (100, 150), is not inside.
    Nose: labelled by C only (outline), predicted right: 100. Shoulder: 100. Without the polygon the prediction at (160, 160) is a false
    positive: noses 4 predicted, scores C 0.1, others 0.5.
    """
    a, b = person({0: (150, 150), 3: (50, 150)}), person({0: (180, 120)})
    c = person({0: (100, 150)})
    found = [
        person({0: (150, 150), 3: (50, 150)}, scores={0: 0.5}),
        person({0: (160, 160)}, scores={0: 0.5}),
        person({0: (100, 150)}, scores={0: 0.1}),
    ]
    result = evaluate(([a, b, c], found, [SQUARE]))
    assert ap(result) == {0: 100, 3: 100}
    assert result.table.labelled[0] == 1 and result.table.predicted[0] == 1
    assert evaluate(([a, b, c], found)).table.predicted[0] == 3


def test_a_frame_emptied_by_its_polygon_still_counts_predictions():
    """The only person lies inside; the prediction outside is a false positive. In frame 1 the nose is right, with a lower score: AP 50."""
    inside, right = person({0: (150, 150)}), person({0: (50, 50)}, scores={0: 0.1})
    strange = person({0: (400, 400)}, scores={0: 0.9})
    assert ap(evaluate(([inside], [strange], [SQUARE]), ([right], [right]))) == {0: 50}


def test_frames_without_persons_are_dropped():
    """Frame 0 has no person: its predictions do not count. (poseval drops such frames; nothing is known of them.)"""
    right = person({0: (50, 50)})
    result = evaluate(([], [person({0: (50, 50)}, scores={0: 9.0})]), ([right], [right]))
    assert ap(result) == {0: 100} and result.frames == 1 and result.predictions == 1


def test_two_predictions_on_one_person():
    """Joints 0, 3, 4 labelled. Prediction P has 0 and 3 right (likeness 2/3), Q has all three (1): Q gets the person, P's joints are wrong.

    Scores of P 0.9, of Q 0.5: every joint of P and Q ranks P first. Joint 0: wrong, right: AP 50; joint 3: the same; joint 4: P's (far off)
    wrong, Q's right: 50. If P and Q were equal, the first of the file would get the person: scores 0.9 right, 0.5 wrong: 100.
    """
    true = person({0: (10, 10), 3: (100, 100), 4: (200, 100)})
    p = person({0: (10, 10), 3: (100, 100), 4: (400, 400)}, scores={0: 0.9, 3: 0.9, 4: 0.9})
    q = person({0: (10, 10), 3: (100, 100), 4: (200, 100)}, scores={0: 0.5, 3: 0.5, 4: 0.5})
    assert ap(evaluate(([true], [p, q]))) == {0: 50, 3: 50, 4: 50}
    twin = person({0: (10, 10), 3: (100, 100), 4: (200, 100)}, scores={0: 0.9, 3: 0.9, 4: 0.9})
    assert ap(evaluate(([true], [twin, q]))) == {0: 100, 3: 100, 4: 100}


def test_greedy_both_ways_is_not_the_best_matching():
    """P is like A (1) and B (1/2), Q like A only (1/2). Both want A; A takes P; Q gets nobody and B gets nobody.

    Joints 0 and 3 of A at (0 | 100, 0), of B at (10 | 300, 0). P = A's places: A 2/2, B 1/2 (nose 10 away). Q: nose at A's, shoulder
    nowhere: A 1/2, B 1/2 (10 away): of equals the first, A. So the nose: P right, Q wrong: with equal scores right first: recall 1/2 at
    precision 1: AP 50. The best matching would give Q to B and 100.
    """
    a, b = person({0: (1, 1), 3: (100, 1)}), person({0: (11, 1), 3: (300, 1)})
    p, q = person({0: (1, 1), 3: (100, 1)}), person({0: (1, 1), 3: (500, 500)})
    assert ap(evaluate(([a, b], [p, q])))[0] == 50


def test_a_person_nobody_predicted():
    """Two persons, one predicted: recall stops at 1/2 with precision 1: AP 50. Nobody predicted at all: 0."""
    a, b = person({0: (50, 50)}), person({0: (300, 300)})
    assert ap(evaluate(([a, b], [a]))) == {0: 50}
    result = evaluate(([a, b], []))
    assert ap(result) == {0: 0} and result.mean == 0 and result.predictions == 0


def test_ranking_is_over_all_images_by_the_joint_score():
    """Scores 0.9 right, 0.8 wrong, 0.7 right, of 3 labelled: precision 1, 1/2, 2/3; recall 1/3, 1/3, 2/3.

    AP = 1/3 x 1 + 1/3 x 2/3 = 5/9.
    """
    place, far = (50, 50), (400, 400)
    frames = [([person({0: place})], [person({0: p}, scores={0: s})]) for p, s in ((far, 0.8), (place, 0.9), (place, 0.7))]
    assert ap(evaluate(*frames))[0] == pytest.approx(500 / 9)


def test_the_mean_is_over_joints_and_the_groups_are_the_field_s():
    """12 of 15 joints right, the three of the head wrong: mean 80, Head 0, the others 100: (3 x 0 + 12 x 100) / 15."""
    joints = {k: (50.0 + 60 * k, 50.0) for k in range(15)}
    wrong = joints | {k: (joints[k][0], 500.0) for k in range(3)}
    result = evaluate(([person(joints)], [person(wrong)]))
    groups = result.groups()
    assert groups.pop("Mean") == 80 == result.mean and groups.pop("Head") == 0 and set(groups.values()) == {100}
    assert poseval.published_mean({"Head": 0} | groups) == 80


# ------------------------------------------------------------------------------------------------------------ the reference


def random_case(random: np.random.Generator) -> list[tuple]:
    """Frames of 0 to 6 crowded persons: joints missing, predictions jittered, swapped, missing and invented, polygons now and then."""
    frames = []
    for _ in range(random.integers(1, 6)):
        true, found = [], []
        for _ in range(random.integers(0, 7)):
            centre, size = random.uniform(50, 350, 2), random.uniform(20, 80)
            places = centre + random.normal(0, size, (15, 2))
            head = (0.0, 0.0) if random.random() < 0.05 else tuple(random.uniform(5, size, 2))
            hidden = [k for k in range(15) if random.random() < 0.3]
            true.append(person({k: tuple(places[k]) for k in range(15) if random.random() < 0.8}, head, hidden=hidden))
            for _ in range(random.choice([0, 1, 1, 1, 2])):
                moved = places + random.normal(0, size * random.choice([0.02, 0.2, 1]), (15, 2))
                joints = {k: tuple(moved[k]) for k in range(15) if random.random() < 0.9}
                found.append(person(joints, None, {k: float(random.choice([random.random(), 0.5])) for k in joints}))
        random.shuffle(found)
        polygons = [random.uniform(0, 400, (random.integers(3, 9), 2)) for _ in range(random.choice([0, 0, 1, 2]))]
        frames.append((true, found, polygons))
    if not any(true for true, _, _ in frames):
        frames.append(([person({0: (1.0, 1.0)})], [], []))
    return frames


def as_reference(frames: list[tuple]) -> list[dict]:
    def plain(p: Person, scored: bool) -> dict:
        joints = {k: tuple(p.keypoints[slot]) for k, slot in enumerate(SLOTS) if p.visibility[slot]}
        return (
            {"joints": joints, "scores": {k: p.scores[SLOTS[k]] for k in joints}} if scored else {"joints": joints, "head": p.head_box[2:]}
        )

    return [
        {
            "true": [plain(p, False) for p in true],
            "found": [plain(p, True) for p in found],
            "ignore": [[tuple(v) for v in q] for q in ignore],
        }
        for true, found, ignore in frames
    ]


def test_the_library_agrees_with_the_literal_reference_on_200_random_cases():
    random = np.random.default_rng(0)
    compared = middling = 0
    for _ in range(200):
        frames = random_case(random)
        expected = poseval_reference.average_precision(as_reference(frames))
        result = evaluate(*frames)
        np.testing.assert_allclose(result.table.ap, expected, rtol=0, atol=1e-9)
        compared, middling = compared + 1, middling + (5 < result.mean < 95)
    assert compared == 200 and middling > 150, "the cases are not trivial"


def test_chunks_do_not_matter(monkeypatch):
    frames = [case for seed in range(20) for case in random_case(np.random.default_rng(seed))]
    whole = evaluate(*frames).table
    monkeypatch.setattr(poseval, "_PAIRS", 7)
    pd.testing.assert_frame_equal(evaluate(*frames).table, whole)


def test_points_in_polygons():
    """A notched polygon: inside, in the notch, on edges, on a corner, outside."""
    polygon = np.array([[0.0, 0], [10, 0], [10, 10], [5, 5], [0, 10]])
    points = np.array([[2.0, 2], [5, 8], [5, 5], [0, 5], [7.5, 7.5], [10, 0], [-1, 5], [9, 5], [3, 5]])
    assert poseval.inside(points, polygon).tolist() == [True, False, False, False, False, False, False, True, True]
    assert not poseval.inside(points, polygon[:2]).any()
    assert not poseval.inside(points[:0], polygon).any()


# ------------------------------------------------------------------------------------------------------------------- files


@pytest.fixture
def files(tmp_path):
    """Two sequences of eight frames and two persons each, as labels and, unchanged, as predictions."""
    random = np.random.default_rng(3)
    for number, name in enumerate(("000001_test", "000002_test")):
        frames = []
        for t in range(8):
            persons = []
            for track in range(2):
                places = random.uniform(0, 200, (15, 2)) + 400 * track
                persons.append(person({k: tuple(places[k]) for k in range(15)}, track=track))
            frames.append(Frame(1_000_000 * (number + 1) + t, f"images/val/{name}/{t:06d}.jpg", True, tuple(persons)))
        for folder in ("annotations/val", "predictions"):
            posetrack.write(tmp_path / folder / f"{name}.json", PoseSequence(name, tuple(frames)))
    return tmp_path


def score(files):
    return poseval.average_precision(list(open_data(files).sequences("val")), submissions.read(files / "predictions"))


def edit(files, change, name="000001_test.json"):
    path = files / "predictions" / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_truth_as_prediction_scores_100(files):
    result = score(files)
    assert (result.table.ap == 100).all() and result.frames == 16 and result.persons == 32


def test_truth_as_prediction_scores_100_on_the_real_samples(shared_data):
    for name, split in (("posetrack18_sample", "val"), ("pose2sim_video", "val")):
        truth = list(open_data(shared_data / name).sequences(split))
        found = submissions.read(shared_data / name / "annotations" / split)
        assert (poseval.average_precision(truth, found).table.ap == 100).all()


def test_third_numbers_may_be_confidences(files):
    def change(content):
        for annotation in content["annotations"]:
            annotation["keypoints"][2::3] = [0.0 if k in (3, 4) else 0.25 + k / 100 for k in range(17)]
            del annotation["scores"], annotation["bbox"], annotation["track_id"]

    edit(files, change)
    (first, _) = submissions.read(files / "predictions")
    assert first.frames[0].persons[0].scores[5] == pytest.approx(0.30)
    assert score(files).mean == 100


def test_fifteen_joints_in_order_are_carried_by_name(files):
    def change(content):
        del content["categories"][0]["keypoints"][3:5]
        for annotation in content["annotations"]:
            del annotation["keypoints"][9:15]

    edit(files, change)
    assert score(files).mean == 100


def renumber(content):
    ids = {image["id"]: n for n, image in enumerate(content["images"])}
    for image in content["images"]:
        image["id"] = ids[image["id"]]
    for annotation in content["annotations"]:
        annotation["image_id"] = ids[annotation["image_id"]]


def shift(content):
    """The ids are the truth's, but each names the next image."""
    names = [image["file_name"] for image in content["images"]]
    for image, name in zip(content["images"], [*names[1:], names[0]], strict=True):
        image["file_name"] = name


def drop_frame(content):
    gone = content["images"].pop(3)["id"]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != gone]


def swap_names(content):
    names = content["categories"][0]["keypoints"]
    names[5], names[6] = names[6], names[5]


def coco_names(content):
    content["categories"][0]["keypoints"][1] = "left_eye"


def swap_sides(content):
    """The categories are right, but the numbers come with left and right exchanged."""
    for annotation in content["annotations"]:
        table = np.array(annotation["keypoints"]).reshape(17, 3)
        annotation["keypoints"] = table[list(FILE_SET.flip_order)].flatten().tolist()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (renumber, "id 0 of sequence 000001_test .8 such ids. is not in the ground truth, whose ids are 1000000"),
        (shift, "id 1000000 is '000001.jpg', but '000000.jpg' in the ground truth"),
        (drop_frame, "1 of 8 labelled frames of sequence 000001_test are missing: ids 1000003"),
        (swap_names, "wrong keypoint order: slot 5 is 'right_shoulder' but PoseTrack18 has 'left_shoulder'"),
        (coco_names, "wrong keypoint order: slot 1 is 'left_eye'"),
        (lambda c: c.pop("categories"), "categories: missing: a list of the order of the keypoints"),
        (lambda c: c.pop("images"), "images: missing"),
        (lambda c: c["annotations"][0].update(image_id=5), r"annotations\[0\].image_id: 5 is not the id of an image"),
        (lambda c: c["annotations"][1].update(keypoints=[1, 2]), r"annotations\[1\].keypoints: must be 51 finite numbers"),
        (lambda c: c["annotations"][1]["keypoints"].__setitem__(0, float("nan")), r"annotations\[1\].keypoints: must be 51 finite"),
        (lambda c: c["annotations"][1].update(scores=[1.0]), r"annotations\[1\].scores: must be 17"),
        (lambda c: c["annotations"][1].update(bbox="large"), r"annotations\[1\].bbox"),
        (lambda c: c["images"][1].update(id=c["images"][0]["id"]), r"images\[1\].id: 1000000 is used twice"),
        (lambda c: c.update(annolist=[]), "PoseTrack 2017 form"),
    ],
)
def test_quiet_mistakes_are_loud(files, change, text):
    edit(files, change)
    with pytest.raises(CausalPoseError, match=text):
        score(files)


def test_sides_exchanged_under_right_names_are_loud(files):
    for name in ("000001_test.json", "000002_test.json"):
        edit(files, swap_sides, name)
    with pytest.raises(CausalPoseError, match="what the file calls left_shoulder lies on the true right_shoulder in 100 %"):
        score(files)


def test_a_bad_model_is_no_wrong_order():
    """Predictions off by a lot, or the same pose for everybody, score low and raise nothing."""
    random = np.random.default_rng(9)
    frames, same = [], []
    for _ in range(60):
        places = np.stack([random.uniform(0, 100, 15), np.linspace(0, 200, 15)], 1)
        joints = {k: tuple(places[k]) for k in range(15)}
        noisy = {k: tuple(places[k] + random.normal(0, 40, 2)) for k in range(15)}
        frames.append(([person(joints)], [person(noisy)]))
        same.append(([person(joints)], [person({k: (50.0, 14.0 * k) for k in range(15)})]))
    assert 0 < evaluate(*frames).mean < 30
    assert 0 < evaluate(*same).mean < 60


def test_missing_and_strange_sequences(files):
    (files / "predictions" / "000002_test.json").rename(files / "kept.json")
    with pytest.raises(CausalPoseError, match="no predictions for 1 of 2 sequences: 000002_test"):
        score(files)
    (files / "kept.json").rename(files / "predictions" / "000002_test.json")
    edit(
        files,
        lambda c: [image.update(file_name=image["file_name"].replace("000002", "000009")) for image in c["images"]],
        "000002_test.json",
    )
    with pytest.raises(CausalPoseError, match="000002_test.json: sequence '000009_test' is not in the ground truth"):
        score(files)


def test_a_person_without_a_head_box():
    with pytest.raises(CausalPoseError, match=r"image 0 \(a/0.jpg\) has no bbox_head"):
        evaluate(([person({0: (1, 1)}, head=None)], []))


def test_predictions_need_files(tmp_path):
    with pytest.raises(CausalPoseError, match="no \\*.json in this folder"):
        submissions.read(tmp_path)
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(CausalPoseError, match="must be a table"):
        submissions.read(tmp_path)


# -------------------------------------------------------------------------------------------------------- published tables


def test_published_rows():
    """(3 x 80 + 2 x (90 + 80 + 70 + 75 + 72 + 66)) / 15 = (240 + 906) / 15 = 76.4.

    Printed 76.4 and 76.5 are possible, 77.0 is a mistake.
    """
    row = {"Head": 80.0, "Sho": 90.0, "Elb": 80.0, "Wri": 70.0, "Hip": 75.0, "Knee": 72.0, "Ank": 66.0}
    table = pd.DataFrame([row | {"method": name, "Mean": mean} for name, mean in (("a", 76.4), ("b", 76.5), ("c", 77.0))])
    checked = poseval.check_published(table)
    assert checked.computed.to_numpy() == pytest.approx(76.4) and checked.possible.tolist() == [True, True, False]
    assert checked.difference[2] == pytest.approx(0.6)
    with pytest.raises(CausalPoseError, match="missing Ank"):
        poseval.published_mean({name: 1 for name in row if name != "Ank"})
    with pytest.raises(CausalPoseError, match="column Mean"):
        poseval.check_published(table.drop(columns="Mean"))
