"""The widget of lesson 04: one row of PPO's loss, and where its gradient vanishes.

Its methods are plain functions of the settings. The sliders call them; so can you, and so do the
tests. The stored output carries the first setting as a picture and as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch

from course_lib.classroom import live, plots
from course_lib.rl import losses

LIMITS = {"ratio": (0.4, 1.6), "advantage": (-2.0, 2.0), "clip": (0.05, 0.5)}


class Curve(NamedTuple):
    """The objective of one action, and its slope, over the probability ratio. All (K,)."""

    ratios: np.ndarray
    objective: np.ndarray
    gradient: np.ndarray  # of the objective with respect to the ratio


class ClipExplorer:
    """One action: how probable it has become, how good it was, and what PPO makes of that.

    `clipped_surrogate` is the function at work: pass your own to try it. The objective shown is
    minus the loss that it returns: training climbs it.
    """

    RATIOS = np.linspace(*LIMITS["ratio"], 241)  # every 0.005

    def __init__(
        self,
        ratio: float = 1.35,
        advantage: float = 1.0,
        clip: float = 0.2,
        clipped_surrogate: Callable = losses.clipped_surrogate,
    ):
        self._clipped_surrogate = clipped_surrogate
        self.settings: dict[str, float] = {}
        self.set(ratio=ratio, advantage=advantage, clip=clip)

    def set(self, **settings: float) -> str:
        """Change ratio, advantage or clip, and return the sentence for the new point."""
        for name, value in settings.items():
            if name not in LIMITS:
                raise ValueError(f"no setting {name!r}; there are: {', '.join(LIMITS)}")
            low, high = LIMITS[name]
            if not low <= value <= high:
                raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {value:g}")
            self.settings[name] = float(value)
        return repr(self)

    def curve(self, ratios: np.ndarray | None = None) -> Curve:
        """Objective and gradient at `ratios` (K,) for the present advantage and clip."""
        ratios = self.RATIOS if ratios is None else np.asarray(ratios, dtype=np.float64)
        # A hair towards 1, so that a ratio at a corner counts as inside however it is rounded.
        x = torch.tensor(1 + (ratios - 1) * (1 - 1e-9), requires_grad=True)
        advantages = torch.full_like(x, self.settings["advantage"])
        objective = -self._clipped_surrogate(x, advantages, self.settings["clip"])
        (gradient,) = torch.autograd.grad(objective.sum(), x)
        return Curve(ratios, objective.detach().numpy(), gradient.numpy())

    def point(self) -> tuple[float, float]:
        """Objective and gradient at the chosen ratio."""
        _, objective, gradient = self.curve([self.settings["ratio"]])
        return float(objective[0]), float(gradient[0])

    def reason(self) -> str:
        """One sentence: what the gradient does here, and why."""
        ratio, advantage, clip = self.settings.values()
        _, gradient = self.point()
        if advantage == 0:
            return "The action was just as good as expected, so nothing pulls at its probability."
        good = advantage > 0
        limit = 1 + clip if good else 1 - clip
        # Rounded, since 1 + 0.2 and a slider's 1.2 may differ in their last digit.
        beyond = round((ratio - limit) * (1 if good else -1), 9) > 0
        expected = 0.0 if beyond else advantage
        if not np.isclose(gradient, expected):
            return (
                f"Your function has the gradient {_signed(gradient)} here; that of the clipped "
                f"objective is {_signed(expected)}."
            )
        verdict = f"The action was {'better' if good else 'worse'} than expected"
        direction = "more" if good else "less"
        if beyond:
            side = f"{'above 1 +' if good else 'below 1 -'} clip = {limit:.2f}"
            return (
                f"{verdict}, but its ratio already lies {side}: the gradient is 0, so this row "
                f"asks for nothing further."
            )
        if round(abs(ratio - 1), 9) > clip:
            return (
                f"{verdict}, yet it has become much {'less' if good else 'more'} probable: the "
                f"wrong direction is never clipped, and the whole gradient brings it back."
            )
        return (
            f"{verdict} and its ratio lies within the clip, so the gradient is the advantage: "
            f"the action is made {direction} probable."
        )

    def __repr__(self) -> str:
        ratio, advantage, clip = self.settings.values()
        objective, gradient = self.point()
        return (
            f"ratio {ratio:.2f}, advantage {advantage:+.2f}, clip {clip:.2f}: "
            f"objective {objective:+.3f}, gradient {_signed(gradient)}. {self.reason()}"
        )

    def figure(self):
        """The objective over the ratio, the chosen point with its slope, the flat part shaded."""
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        with rc_context(plots.STYLE):
            figure = Figure(figsize=(8.0, 4.4), layout="constrained")
            self._draw(figure.subplots())
            return figure

    def _draw(self, ax) -> None:
        ratio, advantage, clip = self.settings.values()
        objective, gradient = self.point()
        curve = self.curve()
        flat = np.isclose(curve.gradient, 0)
        shade = {"color": plots.COLORS[4], "alpha": 0.25, "lw": 0, "label": "gradient 0"}
        whole = ax.get_xaxis_transform()  # from the bottom of the picture, 0, to its top, 1
        ax.fill_between(curve.ratios, 0, 1, where=flat, transform=whole, **shade)
        for limit in (1 - clip, 1 + clip):
            ax.axvline(limit, color=plots.GREY, linestyle=":", linewidth=1.5)
        unclipped = curve.ratios * advantage
        ax.plot(curve.ratios, unclipped, "--", color=plots.GREY, lw=1.5, label="ratio × advantage")
        ax.plot(curve.ratios, curve.objective, color=plots.COLORS[0], lw=3, label="objective")
        ax.plot(ratio, objective, "o", color=plots.COLORS[1], ms=11, zorder=5, label="here")
        if not np.isclose(gradient, 0):  # an arrow the way that training climbs
            run = 0.12 * np.sign(gradient)
            ax.annotate(
                "",
                xy=(ratio + run, objective + gradient * run),
                xytext=(ratio, objective),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": plots.COLORS[1],
                    "lw": 3.5,
                    "mutation_scale": 22,
                },
                zorder=4,
            )
        ax.set(
            xlim=(LIMITS["ratio"][0] - 0.05, LIMITS["ratio"][1] + 0.05),
            ylim=(-0.3, 3.4) if advantage >= 0 else (-3.4, 0.3),
            xlabel=r"probability ratio $\pi\,/\,\pi_{old}$",
            ylabel="objective of this action",
            title=f"gradient {_signed(gradient)}",
        )
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4)

    def png(self) -> bytes:
        """The figure as PNG bytes."""
        return live.to_png(self.figure())

    def widget(self):
        """The live form: three sliders, the picture and one sentence."""
        import ipywidgets as widgets

        image = widgets.Image(value=self.png(), format="png", layout={"max_width": "720px"})
        words = widgets.HTML(repr(self))

        def moved(change: Mapping) -> None:
            words.value = self.set(**{change["owner"].description: change["new"]})
            image.value = self.png()

        sliders = []
        for name, (low, high) in LIMITS.items():
            slider = widgets.FloatSlider(
                value=self.settings[name], min=low, max=high, step=0.01, description=name
            )
            slider.style = {"description_width": "6em"}
            slider.layout.width = "30em"
            slider.observe(moved, "value")
            sliders.append(slider)
        return widgets.VBox([*sliders, image, words])

    def _repr_mimebundle_(self, include=None, exclude=None):
        return live.bundle(self, repr(self), png=self.png())


def _signed(gradient: float) -> str:
    return "0" if np.isclose(gradient, 0) else f"{gradient:+.2f}"
