"""One way for all widgets to show themselves: live with a kernel, readable without."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any


def bundle(
    owner: Any, plain: str, rich: str | None = None, png: bytes | None = None
) -> dict[str, Any]:
    """The display data of a widget: `owner.widget()` where there is a kernel, else the rest.

    The stored notebook keeps the text, the HTML or the picture, so that a page without a kernel
    still says what the widget showed first.
    """
    live = owner.widget()
    owner.live = live  # keeps the callbacks alive as long as the object
    data: dict[str, Any] = {"text/plain": plain}
    if rich is not None:
        data["text/html"] = rich
    if png is not None:
        data["image/png"] = b64encode(png).decode()
    view = "application/vnd.jupyter.widget-view+json"
    data[view] = {"version_major": 2, "version_minor": 0, "model_id": live.model_id}
    return data


def to_png(figure: Any) -> bytes:
    """A matplotlib figure as PNG bytes, small enough to be redrawn at every move of a slider."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
