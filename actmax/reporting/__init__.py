"""HTML reports of a run (one file) or of a catalog (a folder), which work offline.

Everything here works on plain data, so that `Result.report` can use it.
"""

from actmax.reporting.call import call_of_run, call_of_sweep, python_call
from actmax.reporting.captions import captions, scored
from actmax.reporting.frames import RecordedFrames, load_frames, save_frames
from actmax.reporting.natural import Natural, rank, strongest
from actmax.reporting.page import Page, render, write
from actmax.reporting.sheets import Entry, write_sheets

__all__ = [
    "Entry",
    "Natural",
    "Page",
    "RecordedFrames",
    "call_of_run",
    "call_of_sweep",
    "captions",
    "load_frames",
    "python_call",
    "rank",
    "render",
    "save_frames",
    "scored",
    "strongest",
    "write",
    "write_sheets",
]
