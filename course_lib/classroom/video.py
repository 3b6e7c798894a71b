"""An episode as a video inside the notebook, with a film strip for pages that play none.

`show` stores two outputs: a PNG with a few frames side by side, which every viewer draws, and
an H.264 video as a data URI, which plays in JupyterLab without a kernel and without a file.
"""

from __future__ import annotations

import html
import math
import tempfile
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from course_lib.rl.envs import Envs, make

SHORT_SIDE = 320  # pixels; smaller frames are enlarged by a whole factor, pixel by pixel
CONTROLS = 64  # pixels below the picture, where a browser draws a video's controls


def record(
    policy: Callable[[np.ndarray], np.ndarray],
    env: str | Envs,
    *,
    seed: int = 0,
    max_steps: int = 500,
) -> list[np.ndarray]:
    """Play one episode and return its frames, each (H, W, 3) uint8.

    Args:
        policy: observations (N, ...) -> actions (N,).
        env: a name for `envs.make`, or environments it made, of which the first is filmed.
        seed: of the environments' reset.
        max_steps: the film ends here if the episode does not. The first frame shows the reset,
            so there are at most `max_steps + 1`.
    """
    envs = make(env, num_envs=1, seed=seed) if isinstance(env, str) else env
    try:
        obs = envs.reset(seed=seed)
        frames = [envs.render(0).copy()]
        for _ in range(max_steps):
            step = envs.step(policy(obs))
            obs = step.obs
            frames.append(envs.render(0).copy())
            if step.terminated[0] or step.truncated[0]:
                break
        return frames
    finally:
        if isinstance(env, str):
            envs.close()


def show(frames: Sequence[np.ndarray], *, fps: int = 30, caption: str) -> None:
    """Display a film strip and a video that plays in place.

    Args:
        frames: (H, W, 3) uint8 each, all of one size.
        fps: frames per second; 30 suits CartPole, 10 MinAtar, 2 a grid world.
        caption: what is to be seen. It is the alt text, too, so no number in it should change
            from run to run. The cell needs the tag `nbval-ignore-output`: the bytes of a video
            depend on the version of its encoder.
    """
    from IPython.display import display

    from course_lib.classroom.plots import show_png

    _check(frames)
    show_png(film_strip(frames, fps, caption), f"Film strip. {caption}")
    words = html.escape(caption)
    tag = (
        f'<figure style="margin: 0">{element(frames, fps, caption)}'
        f"<figcaption>{words}</figcaption></figure>"
    )
    seconds = len(frames) / fps
    display({"text/html": tag, "text/plain": f"Video, {seconds:.0f} s. {caption}"}, raw=True)


def element(frames: Sequence[np.ndarray], fps: int, caption: str) -> str:
    """The HTML of a video, its file inside: it starts by itself, without sound, and repeats.

    JupyterLab shows a stored video paused, with the browser's controls over its bottom. Hence the
    white band below the picture: styles that make room would not survive in an untrusted notebook.
    """
    film = encode(frames, fps, below=CONTROLS)
    video, words = b64encode(film).decode(), html.escape(caption)
    return (
        f'<video autoplay controls loop muted playsinline preload="auto" '
        f'style="max-width: 100%; border: 1px solid #ccc" title="{words}" aria-label="{words}" '
        f'src="data:video/mp4;base64,{video}"></video>'
    )


def encode(frames: Sequence[np.ndarray], fps: int = 30, below: int = 0) -> bytes:
    """The frames as an MP4 file: H.264, 4:2:0, even sides, small frames enlarged.

    ``below`` is the height of a white band under the picture, in pixels, an even number.
    """
    import imageio_ffmpeg

    _check(frames)
    first = enlarge(frames[0])
    size = (first.shape[1], first.shape[0])
    # The moov atom first: the video starts before all of it is read. crf 28 keeps flat,
    # drawn pictures clean at a fraction of the default size.
    options = ["-crf", "28", "-preset", "slow", "-movflags", "+faststart", "-threads", "1"]
    if below:
        options += ["-vf", f"pad=iw:ih+{below}:0:0:white"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        writer = imageio_ffmpeg.write_frames(
            str(path),
            size,
            fps=fps,
            codec="libx264",
            pix_fmt_out="yuv420p",
            quality=None,
            macro_block_size=2,
            output_params=options,
            ffmpeg_log_level="error",
        )
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(enlarge(frame)))
        writer.close()
        return path.read_bytes()


def enlarge(frame: np.ndarray) -> np.ndarray:
    """Repeat pixels until the short side has `SHORT_SIDE`; pad to even sides for the encoder."""
    factor = math.ceil(SHORT_SIDE / min(frame.shape[:2])) if min(frame.shape[:2]) <= 160 else 1
    frame = frame.repeat(factor, axis=0).repeat(factor, axis=1)
    odd = [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)]
    return np.pad(frame, odd, mode="edge")


def film_strip(frames: Sequence[np.ndarray], fps: int, caption: str, count: int = 5) -> bytes:
    """`count` frames from the first to the last side by side, with their times, as a PNG."""
    import matplotlib.pyplot as plt

    from course_lib.classroom import plots

    plots.use_style()
    _check(frames)
    picks = np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int))
    height, width = frames[0].shape[:2]
    side = 2.3
    figure, axes = plt.subplots(
        1, len(picks), figsize=(side * len(picks), side * height / width + 0.4), squeeze=False
    )
    for ax, i in zip(axes[0], picks, strict=True):
        ax.imshow(enlarge(frames[i]))
        ax.set_title(f"{i / fps:.1f} s", size=17, weight="normal", loc="center")
        ax.set(xticks=[], yticks=[])
        ax.spines[["top", "right"]].set_visible(True)
    picture = plots.figure_png(figure, caption)
    plt.close(figure)
    return picture


def _check(frames: Sequence[np.ndarray]) -> None:
    if len(frames) == 0:
        raise ValueError("there are no frames to show")
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"a frame must be (H, W, 3) uint8, got {frame.shape} {frame.dtype}")
        if frame.shape != frames[0].shape:
            raise ValueError(f"frames must be of one size, got {frames[0].shape} and {frame.shape}")
