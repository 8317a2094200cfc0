"""``python -m docs.site.screenshots build/screenshots``: the pictures of the pages, made small.

The browser tests write their screenshots into the folder. Those that a page shows become WebP in
``docs/images``; others there are removed. A page that shows one that no test made fails.
"""

import re
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
IMAGES = DOCS / "images"
SHOWN = re.compile(r"!\[[^\]]*\]\((?:\.\./)*images/([\w-]+)\.webp\)")
MAX_HEIGHT_PX = 1750  # the rest of a long page adds nothing to the text beside it
QUALITY = 80


def shown_in_docs() -> set[str]:
    """Names of the screenshots that the pages show."""
    return {name for page in DOCS.rglob("*.md") for name in SHOWN.findall(page.read_text())}


def main(taken: Path) -> int:
    """Convert the screenshots in ``taken``; the exit status."""
    names = shown_in_docs()
    missing = sorted(name for name in names if not (taken / f"{name}.png").is_file())
    if missing:
        print(f"no test made {', '.join(missing)}", file=sys.stderr)
        return 1
    IMAGES.mkdir(exist_ok=True)
    for old in IMAGES.glob("*.webp"):
        if old.stem not in names:
            old.unlink()
    for name in sorted(names):
        with Image.open(taken / f"{name}.png") as picture:
            cut = picture.crop((0, 0, picture.width, min(picture.height, MAX_HEIGHT_PX)))
            cut.convert("RGB").save(IMAGES / f"{name}.webp", quality=QUALITY, method=6)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
