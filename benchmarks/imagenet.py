r"""Images of ImageNet classes by one network, judged by another that was never optimized.

    python -m benchmarks.imagenet --subject EFFICIENTNET.keras --judge MOBILENET.keras \
        --classes report --seeds 0 1 --steps 300 --out out/imagenet

Both are Keras models `[N, H, W, 3] -> [N, 1000]` on images of 0 to 255; the subject has batch-norm
layers. Settings may be chosen on the development classes only; the report classes are for one figure
at the end. Images are rounded to 8 bits, like their PNG files, before they are judged. Every batch
is written when it is finished, and an interrupted run continues where it stopped.

One step is one forward and backward pass of the subject per image: `passes` counts them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import actmax

DEVELOPMENT = (1, 88, 207, 301, 403, 499, 569, 701, 817, 950)
REPORT = tuple(range(25, 1000, 50))
# Logit() with the default recipe, and the presets of classes.
RECIPES = ("default", "natural", "lucid", "deep_inversion")


def arguments_of(
    recipe: str, model: Any, steps: int, prior: float | None, scope: str
) -> dict[str, Any]:
    """Keyword arguments of `Maximizer` and the number of steps."""
    if recipe == "default":
        return {"input_range": (0, 255), "steps": steps}
    more: dict[str, Any] = {}
    if recipe == "natural":
        more = {"scope": scope} | ({} if prior is None else {"prior": prior})
    preset = getattr(actmax.presets, recipe)(model, (0, 255), **more)
    return {**preset, "steps": steps}


def ranks(model: Any, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Number of classes that are more likely than the right one. `[N, H, W, 3] -> [N]`."""
    outputs = np.asarray(model(images.astype(np.float32), training=False))
    return (outputs > outputs[np.arange(len(classes)), classes][:, None]).sum(axis=1)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Shares of the images whose class is the first, or among the first five, of each network."""
    found: dict[str, float] = {"images": len(rows)}
    for name in ("subject", "judge"):
        rank = np.array([row[name] for row in rows])
        found |= {
            f"{name}_top_1": float(np.mean(rank < 1)),
            f"{name}_top_5": float(np.mean(rank < 5)),
        }
    return found | {"seconds_per_image": float(np.mean([row["seconds"] for row in rows]))}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs or resumes the benchmark, and prints the shares."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imagenet")
    parser.add_argument("--subject", type=Path, required=True, metavar="FILE")
    parser.add_argument("--judge", type=Path, required=True, metavar="FILE")
    parser.add_argument("--classes", choices=("development", "report"), default="development")
    parser.add_argument("--recipe", choices=RECIPES, default="natural")
    parser.add_argument("--prior", type=float, metavar="W", help="weight of the recipe 'natural'")
    parser.add_argument("--scope", choices=("image", "batch"), default="batch")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N")
    parser.add_argument("--steps", type=int, default=300, metavar="N")
    parser.add_argument("--batch", type=int, default=10, metavar="N")
    parser.add_argument("--out", type=Path, default=Path("out/imagenet"), metavar="DIR")
    given = parser.parse_args(argv)

    subject, judge = (
        keras.models.load_model(path, compile=False) for path in (given.subject, given.judge)
    )
    arguments = arguments_of(given.recipe, subject, given.steps, given.prior, given.scope)
    steps = arguments.pop("steps")
    maximizer = actmax.Maximizer(subject, **arguments)
    passes = steps * maximizer.problem.copies
    classes = DEVELOPMENT if given.classes == "development" else REPORT
    work = [(unit, seed) for seed in given.seeds for unit in classes]
    given.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for start in range(0, len(work), given.batch):
        chunk = work[start : start + given.batch]
        settings = {
            "recipe": given.recipe, "prior": given.prior, "scope": given.scope, "passes": passes,
            "work": [list(pair) for pair in chunk],
        }  # fmt: skip
        file = given.out / f"{given.classes}_{start:04d}.json"
        known = json.loads(file.read_text("utf-8")) if file.exists() else {}
        if known.get("settings") != settings:
            units = np.array([unit for unit, _ in chunk])
            begun = time.perf_counter()
            result = maximizer(units, steps=steps, seed=[seed for _, seed in chunk])
            seconds = (time.perf_counter() - begun) / len(chunk)
            images = result.to_uint8()
            actmax.save_png(given.out / f"{file.stem}.png", actmax.grid(images, columns=5))
            seen = [ranks(model, images, units).tolist() for model in (subject, judge)]
            known = {
                "settings": settings,
                "rows": [
                    {"class": unit, "seed": seed, "subject": own, "judge": other, "seconds": seconds}
                    for (unit, seed), own, other in zip(chunk, *seen, strict=True)
                ],
            }  # fmt: skip
            file.write_text(json.dumps(known, indent=1), "utf-8")
        rows += known["rows"]
        sys.stdout.write(json.dumps({"passes": passes, **summary(rows)}) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
