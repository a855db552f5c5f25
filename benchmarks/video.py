"""Is a 720p video with three faces read faster than it plays, do time a frame and memory stay flat, and is it right?

python benchmarks/video.py [--minutes 1] [--detect-every 3]

The clip is made of the bundled group sample, which drifts over a background at 25 frames a second: three smiling
people, who come at the beginning of each minute and are gone for its last six seconds. So three tracks a minute are
right, each of them happy from when it comes to when it goes.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import av
import cv2
import numpy as np

from mien import Recognizer
from mien.media import read_video
from mien.records import Failure, Image
from mien.temporal.episodes import Episode, Observer

RATE = 25
WIDTH, HEIGHT = 1280, 720
MINUTE_S, STAY_S = 60, 54
CLOSE_S = 0.5
"""So far from the truth an episode may begin and end."""


def views(seconds: float) -> Iterator[Image]:
    """The frames: the group swings to and fro once in ten seconds."""
    group = cv2.imread(str(resources.files("mien") / "samples/group.jpg"))
    height = 560
    group = cv2.resize(group, (round(height * group.shape[1] / group.shape[0]), height), interpolation=cv2.INTER_AREA)
    group = group[:, : min(group.shape[1], WIDTH - 160)]
    room = WIDTH - group.shape[1]
    back = cv2.GaussianBlur(np.random.default_rng(0).integers(60, 160, (HEIGHT, WIDTH, 3)).astype(np.uint8), (0, 0), 9)
    for number in range(round(seconds * RATE)):
        phase = 2 * math.pi * number / RATE / 10
        x, y = round(room / 2 * (1 + math.sin(phase))), round(80 + 60 * math.cos(2 * phase))
        frame = back.copy()
        if number / RATE % MINUTE_S >= STAY_S:
            yield frame
            continue
        frame[y : y + height, x : x + group.shape[1]] = group
        yield frame


def write(path: Path, seconds: float) -> None:
    """Encode the clip."""
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "crf": "23"})
        track.width, track.height, track.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in views(seconds):
            container.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(track.encode())


def resident_mb() -> float:
    """Memory of this process now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def right_episodes(found: list[Episode], seconds: float) -> tuple[int, int]:
    """How many of the smiles were seen as they were, and how many there were."""
    right = wanted = 0
    for begin in range(0, math.ceil(seconds), MINUTE_S):
        end = min(begin + STAY_S, seconds)
        wanted += 3
        right += sum(
            e.label == "happy" and abs(e.start_s - begin) < CLOSE_S and abs(e.end_s - end) < CLOSE_S for e in found
        )
    return right, wanted


def main() -> None:
    """Print frames a second and memory, ten times on the way, and what was found against what is true."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--detect-every", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        clip = Path(work, "clip.mp4")
        write(clip, args.minutes * 60)
        recognizer = Recognizer()
        total = round(args.minutes * 60 * RATE)
        observer, tracks = Observer(), set[int | None]()
        faces, done = 0, 0
        started = lap = time.perf_counter()
        results = recognizer.read_all(
            recognizer.clock.over("decode", read_video(str(clip))), detect_every=args.detect_every
        )
        for result in results:
            assert not isinstance(result, Failure), result.message
            tracks |= {reading.track for reading in result.readings}
            observer.add(result)
            faces += len(result.readings)
            done += 1
            if done % max(total // 10, 1) == 0:
                now = time.perf_counter()
                print(
                    f"{done / RATE:7.1f} s of video: {total // 10 / (now - lap):6.1f} frames/s, {resident_mb():6.1f} MB"
                )
                lap = now
        spent = time.perf_counter() - started
    episodes = observer.finish()
    right, wanted = right_episodes(episodes, done / RATE)
    print(f"{done} frames, {faces / done:.2f} faces a frame, {spent:.1f} s")
    print(f"{len(tracks)} tracks of {wanted}; {right} of {len(episodes)} episodes are right, {wanted} are true")
    print(f"{done / RATE / spent:.2f} x real time")
    for name, seconds in sorted(recognizer.clock.seconds.items(), key=lambda pair: -pair[1]):
        print(f"  {name:9} {1000 * seconds / done:6.2f} ms a frame")


if __name__ == "__main__":
    main()
