"""What a training says while it runs: a line every 25 steps."""

from collections.abc import Callable

EVERY = 25


def printing(label: str) -> Callable[[dict[str, float], int], None]:
    """A function that prints a step's values behind the label."""

    def progress(values: dict[str, float], step: int) -> None:
        if step % EVERY == 0:
            shown = (f"{name} {value:.3f}" for name, value in values.items())
            print(f"{label}  step {step}", *shown, sep="  ", flush=True)

    return progress
