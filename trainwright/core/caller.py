"""Where in the user's own code are we called from?"""

import sys
from functools import cache
from pathlib import Path
from types import FrameType

HERE = str(Path(__file__).parents[1])


def users_line() -> str | None:
    """file:line of the innermost frame that is neither torch's nor ours, None where only ours lie
    between (the user wrote no forward). Only asked while torch runs something."""
    torch = _torch_folder()
    frame: FrameType | None = sys._getframe(1)
    inside = True
    while frame is not None:
        path = frame.f_code.co_filename
        ours = path.startswith(HERE)
        if not (ours or path.startswith((torch, "<"))):
            return f"{path}:{frame.f_lineno}"
        if ours and not inside:
            return None
        inside = inside and (ours or not path.startswith(torch))
        frame = frame.f_back
    return None


@cache
def _torch_folder() -> str:
    file = sys.modules["torch"].__file__
    assert file is not None, "torch is a folder with an __init__"
    return str(Path(file).parent)
