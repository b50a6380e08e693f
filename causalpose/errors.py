"""The one exception type that the project raises for bad input."""


class CausalPoseError(ValueError):
    """Bad input: the message names the thing, the place and the remedy.

    The command line prints the message as one line and exits with code 2; notebooks show it as the last line.
    """
