"""Lecture 6: find faces with OpenCV's cascade, read each one with the trained network, draw the labels.

python detector.py photo.jpg | clip.mp4 | 0 (the first camera)   a window, or a file where there is no display
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from my_net.display import has_cv2_windows
from my_net.weights import loadTrained

from mien.detect import make_detector
from mien.errors import DetectorError, MediaError, MienError
from mien.media import IMAGE_SUFFIXES, read_image
from mien.model.bundle import load_bundle
from mien.model.classify import classify
from mien.model.crop import Crops, cut
from mien.model.session import Session
from mien.output.draw import annotate
from mien.records import Expression, Image, Reading
from mien_train.data.tensors import predict_logits
from mien_train.networks.emotion_net import COURSE_CROP, COURSE_INPUT

CASCADE = "haarcascade_frontalface_default.xml"
WEIGHTS = "./face_expression.pth"
CLASSES = ("happy", "neutral", "sad")


class Detector:
    """Faces and their expressions in one picture after another.

    Args:
        CascadePath: a cascade's XML file; the course's own, by name, is taken from OpenCV where it is not there.
        ModelPath: the course's weights (`.pth`), or a bundle (`.onnx`).
        classes: names of the outputs of `.pth` weights, in the order of training. A bundle has its own.

    Attributes:
        readings: those of the picture that was processed last, best face first.
    """

    def __init__(
        self, CascadePath: str | Path = CASCADE, ModelPath: str | Path = WEIGHTS, classes: Sequence[str] = CLASSES
    ) -> None:
        cascade = Path(CascadePath)
        own = not cascade.is_file() and cascade.name == CASCADE
        if not own and not cascade.is_file():
            raise DetectorError(f"{cascade}: no such file; expected a Haar cascade (.xml)")
        if hasattr(cv2, "CascadeClassifier"):
            self._faces = make_detector("haar", model=None if own else cascade)
        else:
            print(
                f"OpenCV {cv2.__version__} has no cascades: faces are found by mien's own detector; for the lecture's, "
                "run: pip install 'opencv-python>=4.10,<5'",
                file=sys.stderr,
            )
            self._faces = make_detector("yunet")
        self.readings: list[Reading] = []
        if Path(ModelPath).suffix == ".onnx":
            self._session: Session | None = Session(load_bundle(ModelPath))
            self._crop, self._input = self._session.manifest.crop, self._session.manifest.input
        else:
            self._session, self._crop, self._input = None, COURSE_CROP, COURSE_INPUT
            self._classes = tuple(classes)
            self._network = loadTrained(ModelPath, len(classes))

    def process(self, img: Image) -> Image:
        """Draw a box and a label for every face onto `img` (uint8 `[H, W, 3]`, BGR), and return it."""
        if img is None:
            raise DetectorError("expected a picture, found None: cv2.imread gives None for a file that it cannot read")
        faces = self._faces.detect(img)
        expressions = self._read(cut(img, faces, self._crop, self._input))
        self.readings = [Reading("", 0, None, f, e) for f, e in zip(faces, expressions, strict=True)]
        drawn = annotate(img, self.readings)
        if not img.flags.writeable:
            return drawn
        img[...] = drawn  # scripts of the course show `img` itself, or what is returned
        return img

    def _read(self, crops: Crops) -> list[Expression]:
        if self._session:
            return list(classify(self._session, crops))
        if not len(crops):
            return []
        probabilities = torch.softmax(predict_logits(self._network, crops, "fp32"), dim=1)
        return [Expression(self._classes, tuple(map(float, row))) for row in probabilities]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a picture, a video, or the number of a camera")
    parser.add_argument("--out", type=Path, help="where to write, instead of showing it: .jpg, .png; .mp4 for a video")
    parser.add_argument("--cascade", default=CASCADE)
    parser.add_argument("--model", default=WEIGHTS, help="weights (.pth) or a bundle (.onnx)")
    options = parser.parse_args()
    detector = Detector(options.cascade, options.model)
    if Path(options.source).suffix.lower() in IMAGE_SUFFIXES:
        image = next(read_image(Path(options.source))).pixels
        show_picture(detector.process(np.array(image)), options.out)
        for reading in detector.readings:
            box = ", ".join(f"{edge:.0f}" for edge in reading.face.box_xyxy)
            print(f"{reading.expression.label} {reading.expression.confidence:.1%}  box {box}")
    else:
        show_video(detector, options.source, options.out)


def show_picture(image: Image, out: Path | None) -> None:
    """A window until a key is pressed, or a file."""
    if out is None and has_cv2_windows():
        cv2.imshow("expressions", image)
        cv2.waitKey(0)
        cv2.destroyAllWindows()
        return
    path = out or Path("figures/detected.jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise MediaError(f"{path}: cannot be written")
    print(f"picture saved as {path}")


def show_video(detector: Detector, source: str, out: Path | None) -> None:
    """Frame by frame, until the end or the key q: in a window, or into a file."""
    video = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not video.isOpened():
        raise MediaError(f"{source}: expected a video, or the number of a camera; OpenCV cannot open it")
    window = out is None and has_cv2_windows()
    if source.isdigit() and not window and out is None:
        raise MediaError(f"camera {source}: there is no window to show it in; write a video with --out FILE.mp4")
    path = out or Path("figures/detected.mp4")
    writer: cv2.VideoWriter | None = None
    frames = 0
    try:
        while (grabbed := video.read())[0]:
            image = detector.process(np.asarray(grabbed[1], np.uint8))
            frames += 1
            if window:
                cv2.imshow("expressions (q ends)", image)
                if cv2.waitKey(1) & 0xFF == ord("q"):
                    break
                continue
            writer = writer or open_writer(path, video.get(cv2.CAP_PROP_FPS), image)
            writer.write(image)
    except KeyboardInterrupt:
        print("stopped")  # a camera has no end: what was written so far is whole
    finally:
        video.release()
        if writer:
            writer.release()
    print(f"{frames} frames" + ("" if window else f"; video saved as {path}"))


def open_writer(path: Path, fps: float, image: Image) -> cv2.VideoWriter:
    """A writer for pictures like `image`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    code = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix.lower() == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), code, fps if 1 <= fps <= 240 else 25.0, (image.shape[1], image.shape[0]))
    if not writer.isOpened():
        raise MediaError(f"{path}: OpenCV cannot write this kind of video; try a name that ends in .mp4 or .avi")
    return writer


if __name__ == "__main__":
    try:
        main()
    except MienError as error:
        sys.exit(str(error))
