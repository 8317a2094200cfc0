"""Pictures that are no ultrasound: samples of Python packages, and pages and screens drawn here.

Shape suffixes: HW picture, grey; THW a stack of them.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

Pixels: TypeAlias = npt.NDArray[np.uint8]

PHOTOS = {
    "skimage.data": (
        "astronaut.png camera.png chelsea.png coffee.png coins.png color.png horse.png "
        "hubble_deep_field.jpg moon.png motorcycle_left.png rocket.jpg clock_motion.png"
    ),
    "sklearn.datasets.images": "china.jpg flower.jpg",
    "matplotlib.mpl-data.sample_data": "grace_hopper.jpg Minduka_Present_Blue_Pack.png",
}
TEXTURES = {"skimage.data": "brick.png grass.png gravel.png"}
MEDICAL = {"skimage.data": "cell.png ihc.png microaneurysms.png retina.jpg phantom.png"}
LETTERS = {"skimage.data": "page.png text.png"}
CROPS, DRAWN, FACES, SIDE = 12, 40, 100, 256
WORDS = ("patient", "was", "seen", "on", "and", "with", "a", "left", "normal", "report", "view")


@dataclass(frozen=True, slots=True)
class Picture:
    """A grey picture, what kind it is of, and the number of the whole that it is a part of."""

    kind: str
    pixels_HW: Pixels
    whole: int


def pictures(seed: int = 0) -> list[Picture]:
    """Pictures of all kinds; equal seeds give equal pictures."""
    rng = np.random.default_rng(seed)
    images: list[Picture] = []
    for kind, source in {
        "photographs": PHOTOS,
        "textures": TEXTURES,
        "other medical": MEDICAL,
        "scanned letters": LETTERS,
    }.items():
        for number, whole_HW in enumerate(shipped(source)):
            images += [Picture(kind, crop_HW, number) for crop_HW in crops(whole_HW, rng)]
    images += [Picture("faces", face_HW, number) for number, face_HW in enumerate(faces())]
    drawn: dict[str, Callable[[np.random.Generator], Pixels]] = {
        "pages": page,
        "screens": screen,
        "charts": chart,
        "patterns": pattern,
    }
    for kind, draw in drawn.items():
        images += [Picture(kind, draw(rng), number) for number in range(DRAWN)]
    return images


def shipped(source: dict[str, str]) -> Iterator[Pixels]:
    """Whole pictures of installed packages."""
    for package, names in source.items():
        root, *rest = package.split(".")
        if root == "matplotlib":
            folder = files(root)
            for step in rest:
                folder = folder / step
        else:
            folder = files(package)
        for name in names.split():
            yield np.asarray(Image.open(io.BytesIO((folder / name).read_bytes())).convert("L"))


def crops(whole_HW: Pixels, rng: np.random.Generator) -> Iterator[Pixels]:
    """The whole picture and parts of it, some mirrored, some dark."""
    yield whole_HW
    height, width = whole_HW.shape
    for _ in range(CROPS - 1):
        share = rng.uniform(0.35, 0.95)
        h, w = int(height * share), int(width * rng.uniform(0.8, 1.0) * share)
        top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        part_HW = whole_HW[top : top + h, left : left + w]
        bright = (255 * (part_HW / 255.0) ** rng.uniform(0.6, 2.5)).astype(np.uint8)
        yield bright[:, :: int(rng.choice([-1, 1]))]


def faces() -> list[Pixels]:
    """Of Labeled Faces in the Wild, enlarged."""
    data = (files("skimage.data") / "lfw_subset.npy").read_bytes()
    faces_THW = np.load(io.BytesIO(data), allow_pickle=False)[:FACES]
    grey_THW = (255 * faces_THW / faces_THW.max()).astype(np.uint8)
    size = (SIDE, SIDE)
    return [
        np.asarray(Image.fromarray(face).resize(size, Image.Resampling.BICUBIC))
        for face in grey_THW
    ]


def page(rng: np.random.Generator) -> Pixels:
    """Lines of words, dark on light or light on dark."""
    dark = rng.random() < 0.4
    paper, ink = (int(rng.integers(0, 40)), 230) if dark else (int(rng.integers(220, 256)), 20)
    image = Image.new("L", (SIDE * 2, int(SIDE * rng.uniform(1, 2.5))), paper)
    draw, size = ImageDraw.Draw(image), int(rng.integers(9, 28))
    font = ImageFont.load_default(size)
    for top in range(10, image.height - size, int(size * 1.5)):
        text = " ".join(rng.choice(WORDS, int(rng.integers(1, 14))))
        draw.text((int(rng.integers(5, 40)), top), text, fill=ink, font=font)
    return np.asarray(image)


def screen(rng: np.random.Generator) -> Pixels:
    """Windows, buttons and tables of a program."""
    image = Image.new("L", (480, 320), int(rng.integers(0, 256)))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 9))):
        left, top = int(rng.integers(0, 400)), int(rng.integers(0, 260))
        box = (left, top, left + int(rng.integers(40, 320)), top + int(rng.integers(20, 220)))
        draw.rectangle(box, fill=int(rng.integers(0, 256)), outline=int(rng.integers(0, 256)))
        font = ImageFont.load_default(int(rng.integers(9, 18)))
        for line in range(top + 4, min(box[3], 310), 20):
            text = " ".join(rng.choice(WORDS, int(rng.integers(1, 5))))
            draw.text((left + 5, line), text, fill=int(rng.integers(0, 256)), font=font)
    return np.asarray(image)


def chart(rng: np.random.Generator) -> Pixels:
    """A plot as programs draw them, in a light or dark style."""
    with style.context("dark_background" if rng.random() < 0.5 else "default"):
        figure = Figure((4, 3), 80)
        axes = figure.subplots()
        across = np.linspace(0, 10, 60)
        for _ in range(int(rng.integers(1, 4))):
            values = rng.normal(size=60).cumsum()
            kind = rng.integers(0, 3)
            if kind == 0:
                axes.plot(across, values)
            elif kind == 1:
                axes.bar(across[::6], values[::6])
            else:
                axes.scatter(values, rng.normal(size=60))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("L"))


def pattern(rng: np.random.Generator) -> Pixels:
    """Noise, a ramp, stripes, a chessboard, blobs or one grey."""
    rows, columns = np.indices((SIDE, SIDE))
    step = int(rng.integers(4, 40))
    slope = rng.normal(size=2)
    kinds = [
        rng.integers(0, 256, (SIDE, SIDE)),
        slope[0] * rows + slope[1] * columns,
        (rows * slope[0] + columns * slope[1]) // step % 2,
        (rows // step + columns // step) % 2,
        np.kron(rng.random((8, 8)), np.ones((SIDE // 8, SIDE // 8))),
        np.full((SIDE, SIDE), rng.integers(0, 256)),
    ]
    chosen = kinds[int(rng.integers(0, len(kinds)))].astype(np.float64)
    spread = np.ptp(chosen)
    return (255 * (chosen - chosen.min()) / spread if spread else chosen).astype(np.uint8)
