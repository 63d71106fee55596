"""Inputs of every kind as 8-bit pictures: curves, heat maps, bars, logos, slices. NumPy and Pillow only.

Shapes: N inputs; L positions or T times, A letters, D numbers, H rows, W columns, C channels.
"""

from actmax.drawing.canvas import ticks
from actmax.drawing.kinds import Kind, kind_of, nouns
from actmax.drawing.looks import Look, draw, side_by_side
from actmax.drawing.sound import wav

__all__ = ["Kind", "Look", "draw", "kind_of", "nouns", "side_by_side", "ticks", "wav"]
