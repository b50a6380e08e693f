"""The project's colours: Okabe and Ito's, which stay apart under every common colour blindness.

RGB, 0 to 255. The person's left side is blue, the right side orange, the middle pale yellow, in videos and in figures alike.
"""

LEFT, RIGHT, MIDDLE = (0, 114, 178), (230, 159, 0), (240, 228, 66)
BOX = (0, 158, 115)
RIM = (20, 20, 20)
WRONG = (213, 94, 0)  # an error, a miss
ACCENT = (204, 121, 167)  # outlines on photographs: neither a joint's colour nor common in them

# Curves and arms, in this order: blue, orange, green, vermilion, purple, sky, black. Yellow is too pale for lines on paper.
CYCLE = (LEFT, RIGHT, BOX, WRONG, ACCENT, (86, 180, 233), (40, 40, 40))


def side_colour(*names: str) -> tuple[int, int, int]:
    """The colour of a joint or limb by the side its names say; a limb between the sides is `MIDDLE`."""
    sides = {name.split("_")[0] for name in names if name.startswith(("left_", "right_"))}
    return LEFT if sides == {"left"} else RIGHT if sides == {"right"} else MIDDLE


def unit(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    """A colour as matplotlib takes it, 0 to 1."""
    red, green, blue = colour
    return red / 255, green / 255, blue / 255
