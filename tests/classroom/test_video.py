"""Episodes as frames, frames as a video, and a strip for pages without one."""

import base64
import io
import re
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from course_lib.classroom import style, video
from course_lib.rl.envs import make

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def counting_frames(n, height=10, width=10):
    """Frame i has brightness 8 * i everywhere."""
    return [np.full((height, width, 3), 8 * i, np.uint8) for i in range(n)]


def decode(data, tmp_path):
    """The frames of an MP4 file, (T, H, W, 3), and what the file says about itself."""
    path = tmp_path / "video.mp4"
    path.write_bytes(data)
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    width, height = about["size"]
    frames = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]
    return np.stack(frames), about


@pytest.mark.parametrize("size", [(10, 10), (33, 47), (161, 201), (400, 600)])
def test_every_frame_comes_back_in_order_and_even_sized(size, tmp_path):
    frames, _ = decode(video.encode(counting_frames(20, *size), fps=10), tmp_path)
    assert len(frames) == 20
    assert frames.shape[1] % 2 == 0 and frames.shape[2] % 2 == 0
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 8 * np.arange(20), atol=4)


def test_the_file_is_what_browsers_play(tmp_path):
    data = video.encode(counting_frames(20), fps=10)
    assert data[4:8] == b"ftyp" and b"avc1" in data
    assert data.index(b"moov") < data.index(b"mdat")  # it starts before all of it is read
    _, about = decode(data, tmp_path)
    assert about["codec"] == "h264" and about["pix_fmt"].startswith("yuv420p")
    assert about["fps"] == 10


def test_small_frames_grow_by_whole_pixels():
    frame = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    large = video.enlarge(frame)
    assert large.shape == (320, 320, 3)
    np.testing.assert_array_equal(large[::32, ::32], frame)
    np.testing.assert_array_equal(large[16::32, 31::32], frame)
    assert video.enlarge(np.zeros((400, 600, 3), np.uint8)).shape == (400, 600, 3)


def test_an_episode_of_cartpole_is_small_enough_to_store():
    frames = video.record(lambda obs: (obs[:, 2] + obs[:, 3] > 0).astype(int), "CartPole-v1")
    assert len(frames) > 150  # this policy balances for a while
    assert len(video.encode(frames, fps=30)) < 300_000


def test_the_film_ends_with_the_episode_and_starts_with_its_reset():
    envs = make("CartPole-v1", num_envs=3, seed=5)
    envs.reset(seed=5)
    first = envs.render(0).copy()
    frames = video.record(lambda obs: np.zeros(len(obs), int), envs, seed=5)
    np.testing.assert_array_equal(frames[0], first)
    assert 8 <= len(frames) <= 12  # pushing left only, the pole falls within ten steps
    assert not np.array_equal(frames[0], frames[-1])
    np.testing.assert_array_equal(envs.render(0), frames[-1])
    envs.close()


def test_the_film_stops_at_max_steps_and_repeats_with_its_seed():
    def policy(obs):
        return np.zeros(len(obs), int)

    one = video.record(policy, "MinAtar/Breakout", seed=3, max_steps=4)
    two = video.record(policy, "MinAtar/Breakout", seed=3, max_steps=4)
    assert len(one) == 5
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CliffWalking-v1", "Taxi-v4"])
def test_any_environment_that_draws_itself_can_be_filmed(name):
    frames = video.record(lambda obs: np.zeros(len(obs), int), name, max_steps=2)
    assert frames[0].dtype == np.uint8 and frames[0].shape[2] == 3


def test_show_stores_a_still_picture_first_and_a_video_that_plays(monkeypatch, tmp_path):
    shown = []

    def display(data, metadata=None, raw=False):
        shown.append((data, metadata))

    monkeypatch.setattr(style, "display", display)
    monkeypatch.setattr("IPython.display.display", display)
    video.show(counting_frames(20), fps=10, caption='It fades to "white".')
    (still, about), (film, _) = shown
    strip = Image.open(io.BytesIO(base64.b64decode(still["image/png"])))
    assert strip.width > 3 * strip.height
    assert "It fades" in about["image/png"]["alt"]
    page = film["text/html"]
    data = base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])
    assert len(decode(data, tmp_path)[0]) == 20
    assert "controls" in page and 'aria-label="It fades to &quot;white&quot;."' in page
    assert film["text/plain"] == 'Video, 2 s. It fades to "white".'


def test_it_starts_by_itself_and_its_controls_have_room_below_the_picture(tmp_path):
    page = video.element(counting_frames(20, height=200, width=300), 10, "It fades.")
    for word in ("autoplay", "muted", "loop", "playsinline", "controls"):
        assert re.search(rf"<video [^>]*\b{word}\b", page), word
    frames, _ = decode(base64.b64decode(re.search(r"base64,([^\"]+)", page)[1]), tmp_path)
    assert frames.shape == (20, 200 + video.CONTROLS, 300, 3)
    np.testing.assert_allclose(frames[:, :196].mean(axis=(1, 2, 3)), 8 * np.arange(20), atol=4)
    assert frames[:, 204:].min() > 245


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_stored_videos_start_by_themselves_with_room_for_their_controls(path, tmp_path):
    text = path.read_text(encoding="utf-8")
    tags = re.findall(r"<video .*?</video>", text)
    assert len(tags) == text.count("<video ")
    for tag in tags:
        assert tag.startswith("<video autoplay controls loop muted playsinline")
        frames, _ = decode(base64.b64decode(re.search(r"base64,([^\"\\]+)", tag)[1]), tmp_path)
        assert frames[0, -video.CONTROLS + 4 :].min() > 245


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ([], "there are no frames"),
        ([np.zeros((4, 4, 3))], r"must be \(H, W, 3\) uint8, got \(4, 4, 3\) float64"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((6, 4, 3), np.uint8)], "of one size"),
    ],
)
def test_frames_that_cannot_be_a_film_are_refused(frames, sentence):
    with pytest.raises(ValueError, match=sentence):
        video.encode(frames)
