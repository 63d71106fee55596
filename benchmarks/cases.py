"""What is measured: models, sizes and batches, in suites."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of work, the same for every variant.

    Attributes:
        model: a name in `models.MODELS`.
        size: height and width of the images, in pixels.
        batch: number of images; image n has target n modulo the number of classes.
        jitter: largest shift of our loop's Jitter, in pixels.
        steps: updates in one timed sample; enough that one call of a `Maximizer` vanishes.
    """

    model: str
    size: int
    batch: int
    jitter: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.model} {self.size}x{self.size} batch {self.batch}"

    def targets(self, classes: int) -> list[int]:
        return [n % classes for n in range(self.batch)]


SMOKE = (Case("mnist", size=28, batch=10, jitter=2, steps=128),)
FULL = (
    Case("mnist", size=28, batch=1, jitter=2, steps=512),
    Case("mnist", size=28, batch=10, jitter=2, steps=256),
    Case("mnist", size=28, batch=100, jitter=2, steps=64),
    Case("cifar10", size=32, batch=10, jitter=2, steps=256),
    Case("mobilenet_v2", size=224, batch=1, jitter=8, steps=16),
    Case("mobilenet_v2", size=224, batch=4, jitter=8, steps=8),
    Case("resnet50", size=224, batch=1, jitter=8, steps=8),
)
SUITES = {"smoke": SMOKE, "full": FULL}
