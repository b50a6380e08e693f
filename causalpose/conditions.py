"""The conditions under which results are reported."""

CONDITIONS: tuple[str, ...] = ("clean", "occluded", "defocus", "motion_blur", "low_light")
# And those that a study may add: things in front at the target frame alone, which only the other frames can see through.
# A clip carries the position of its own condition in this tuple.
CONDITION_CODES: tuple[str, ...] = (*CONDITIONS, "occluded_target")
