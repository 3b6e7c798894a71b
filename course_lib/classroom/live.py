"""One way for all widgets: controls above, what they change below, and readable without a kernel.

A widget is an object with plain methods, so that you and the tests can call what its controls call.

    @live.drawn((8, 3))
    def figure(self, ax): ...

    def widget(self):
        return live.form(self.set, {"gamma": live.slider("gamma", self.gamma)}, figure=self.figure)

    _repr_mimebundle_ = live.bundle
"""

from __future__ import annotations

import functools
import html
import io
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

WIDTH = "34em"  # of a control with its label


def form(
    change: Callable[..., Any],
    controls: Mapping[str, Any],
    *,
    figure: Callable[[], Any] | None = None,
    text: Callable[[], str] | None = None,
    page: Callable[[], str] | None = None,
    at_once: bool = True,
) -> Any:
    """Controls, and under them a picture, a sentence and a page that follow them.

    Args:
        change: called as ``change(name=value)`` when a control moves; a ValueError is shown.
        controls: name of a setting -> its control (`slider`, `menu`, `switch`), or label -> the
            function that a button of this name calls. Neighbouring buttons stand in a row.
        figure, text, page: return a matplotlib figure, plain text, HTML.
        at_once: while a slider moves, not only when it is let go.
    """
    import ipywidgets as widgets

    views, redraw = follow(figure, text, page)

    def answer(call: Callable[[], Any]) -> None:
        try:
            call()
        except ValueError as error:
            views[-1].value = wrong(error)
        else:
            redraw()

    rows = []
    for name, control in controls.items():
        if callable(control):
            button = widgets.Button(description=name)
            button.on_click(lambda _, call=control: answer(call))
            if not (rows and isinstance(rows[-1], widgets.HBox)):
                rows.append(widgets.HBox())
            rows[-1].children += (button,)
            continue
        if not at_once and hasattr(control, "continuous_update"):
            control.continuous_update = False
        control.observe(
            lambda event, name=name: answer(lambda: change(**{name: event["new"]})), "value"
        )
        rows.append(control)
    align(rows)
    return widgets.VBox([*rows, *views])


def follow(
    figure: Callable[[], Any] | None = None,
    text: Callable[[], str] | None = None,
    page: Callable[[], str] | None = None,
) -> tuple[list[Any], Callable[[], None]]:
    """A widget for each of these functions, and a function that makes them show the present."""
    import ipywidgets as widgets

    views, contents = [], []
    if figure is not None:
        picture = to_png(figure())
        width = int.from_bytes(picture[16:20], "big")  # as the head of a PNG file says
        views.append(widgets.Image(format="png", layout={"max_width": f"{width}px"}))
        contents.append(lambda: to_png(figure()))
    if text is not None:
        views.append(widgets.HTML())
        contents.append(lambda: html.escape(text()))
    if page is not None:
        views.append(widgets.HTML())
        contents.append(page)

    def redraw() -> None:
        for view, content in zip(views, contents, strict=True):
            view.value = content()

    redraw()
    return views, redraw


def slider(
    label: str, value: float, low: float = 0.0, high: float = 1.0, step: float = 0.01, **look: Any
) -> Any:
    """A slider; whole numbers where ``step`` is one."""
    import ipywidgets as widgets

    kind = widgets.IntSlider if isinstance(step, int) else widgets.FloatSlider
    return kind(value=value, min=low, max=high, step=step, description=label, **look)


def menu(label: str, value: Any, options: Sequence[Any]) -> Any:
    """One of several."""
    import ipywidgets as widgets

    return widgets.Dropdown(options=options, value=value, description=label)


def switch(label: str, value: bool) -> Any:
    """On or off."""
    import ipywidgets as widgets

    return widgets.Checkbox(value=value, description=label)


def align(controls: Sequence[Any]) -> None:
    """Give controls one width, and their labels as much of it as the longest needs."""
    labelled = [control for control in controls if hasattr(control, "description")]
    longest = max((len(c.description) for c in labelled if not _is_switch(c)), default=0)
    for control in labelled:
        control.style.description_width = f"{max(6.0, 0.6 * longest + 1):g}em"
        control.layout.width = WIDTH


def _is_switch(control: Any) -> bool:
    return isinstance(control.value, bool)  # its label stands to the right


def wrong(error: Exception | str) -> str:
    """An error as the page that a widget shows."""
    return f"<b>{html.escape(str(error))}</b>"


def changed(
    settings: Mapping[str, Any],
    changes: Mapping[str, Any],
    limits: Mapping[str, tuple[float, float] | Sequence[str]],
) -> dict[str, Any]:
    """``settings`` with ``changes``; ValueError for a name that is new or a value out of limits.

    A change to None is none. The limits of a number are the lowest and the highest, those of a text
    all that it may be.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    for name, value in changes.items():
        if name not in settings:
            raise ValueError(f"no setting {name!r}; there are: {', '.join(settings)}")
        allowed = limits.get(name, (value,))
        if isinstance(allowed[0], str):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        elif not allowed[0] <= value <= allowed[-1]:
            low, high = allowed[0], allowed[-1]
            raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {value:g}")
    return {**settings, **changes}


def front_end(
    folder: Path, view: dict, answer: Callable[[Mapping[str, Any]], dict], **fixed: Any
) -> Any:
    """The widget of ``folder``'s `widget.js` and `widget.css`.

    It shows ``view``, and what ``answer`` makes of each message that the front end sends; ``fixed``
    are other things that it knows.
    """
    import anywidget
    import traitlets

    synced = {name: traitlets.Any().tag(sync=True) for name in ("view", *fixed)}
    files = {"_esm": folder / "widget.js", "_css": folder / "widget.css"}
    box = type("View", (anywidget.AnyWidget,), {**synced, **files})(view=view, **fixed)

    def received(_: Any, message: Mapping[str, Any], __: Any) -> None:
        box.view = answer(message)

    box.on_msg(received)
    return box


def drawn(
    size: tuple[float, float],
    rows: int = 1,
    columns: int = 1,
    *,
    plain: bool = False,
    **ratios: Any,
) -> Callable[[Callable[..., None]], Callable[[Any], Any]]:
    """Above a method that draws on axes: it then returns a figure, in the course's style.

    Inches wide and high. ``plain`` leaves the style to the notebook or deck.
    """

    def decorate(draw: Callable[..., None]) -> Callable[[Any], Any]:
        @functools.wraps(draw)
        def figure(self: Any) -> Any:
            from matplotlib import rc_context
            from matplotlib.figure import Figure

            from course_lib.classroom.style import STYLE

            with rc_context({} if plain else STYLE):
                page = Figure(figsize=size, layout="constrained")
                axes = page.subplots(rows, columns, squeeze=False, **ratios)
                draw(self, *axes.flat)
            return page

        return figure

    return decorate


def bundle(self: Any, include: Any = None, exclude: Any = None) -> dict[str, Any]:
    """The display data of a widget, its `_repr_mimebundle_`: live where there is a kernel.

    The stored notebook keeps its text, its HTML (`as_html`) and its picture (`figure`), so that a
    page without a kernel still says what the widget showed first.
    """
    data: dict[str, Any] = {"text/plain": repr(self)}
    if hasattr(self, "as_html"):
        data["text/html"] = self.as_html()
    if hasattr(self, "figure"):
        data["image/png"] = b64encode(to_png(self.figure())).decode()
    try:
        self.live = self.widget()  # keeps the callbacks alive as long as the object
    except ImportError:  # without ipywidgets the stored form still works
        return data
    view = "application/vnd.jupyter.widget-view+json"
    data[view] = {"version_major": 2, "version_minor": 0, "model_id": self.live.model_id}
    return data


def to_png(figure: Any) -> bytes:
    """A matplotlib figure as PNG bytes, small enough to be redrawn at every move of a slider."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
