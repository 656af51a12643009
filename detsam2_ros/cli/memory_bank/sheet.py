# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The sheet of a bank on an image: for each entry its heat map, its mask, its coverage."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detsam2_ros.banks.attention_map import Look
from detsam2_ros.engine.bank.bank import BankEntry
from detsam2_ros.media.page import write_page
from detsam2_ros.media.sheet import contact_sheet, fitted
from detsam2_ros.media.video import InputError, write_png

COLUMNS = ('where the image reads the object', 'mask by this entry alone', 'object in the entry')
_TILE = 420
_TINT = (0, 214, 160)
_FAINT = 0.05  # heat maps below this everywhere must not look hot

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #20242a; background: #f3f4f6; margin: 0; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 14px; }
h2 { font-size: 18px; margin: 0 0 8px; }
h3 { font-size: 14px; font-weight: 600; margin: 0 0 6px; }
section { background: #fff; border: 1px solid #e3e6ea; border-radius: 10px; padding: 18px 20px;
  margin: 0 0 18px; }
p { color: #5b636e; margin: 0 0 10px; max-width: 80ch; }
pre { font-size: 13px; overflow-x: auto; margin: 0; }
img { max-width: 100%; height: auto; display: block; border-radius: 4px; }
.given { max-width: 420px; }
.entry { margin: 16px 0 0; }
.tiles { display: grid; grid-template-columns: repeat(3, 1fr); gap: 10px; }
.tiles span { color: #5b636e; font-size: 12px; }
.absent h3 { color: #9aa1ab; }
"""

_TEXT = (
    'Left: the share of what each place of the image reads in this entry that lies on the object '
    'in the entry (weights of memory attention, mean of all layers, times the coverage by the '
    'object; each entry has its own scale, and the title gives its largest value). Middle: the '
    'mask that this entry alone gives in the image. Right: where the object is in the entry '
    'itself, as read from the memory; a bank keeps no picture.'
)


@dataclass(frozen=True)
class Shown:
    """An entry on the sheet."""

    index: int  # of the entry in the bank
    entry: BankEntry
    look: Look  # what the entry does on the image
    tiles: tuple[np.ndarray, ...] = ()  # drawn, uint8 [h, w, 3] RGB, one for each of COLUMNS

    @property
    def found(self) -> bool:
        """Whether the entry finds something in the image."""
        return bool(self.look.mask.any())

    @property
    def title(self) -> str:
        """The entry in a line."""
        found = f'{self.look.mask.mean():.1%} of the image' if self.found else 'finds nothing'
        heat = '' if self.look.heat is None else f', read at most {self.look.heat.max():.0%}'
        return (
            f'entry {self.index}: {self.entry.object_key}, stamp {self.entry.stamp / 1e9:.3f} s: '
            f'score {self.look.score:.2f}, {found}{heat}'
        )


def draw(image: np.ndarray, shown: Shown) -> Shown:
    """Return an entry with its tiles, each uint8 [h, w, 3] RGB."""
    small = fitted(image, _TILE)
    heat, mask = shown.look.heat, shown.look.mask
    tiles = (
        _heat(small, heat) if heat is not None else _blank(small, 'attention not watchable'),
        _masked(small, mask),
        _coverage(small, shown.look.coverage),
    )
    return Shown(shown.index, shown.entry, shown.look, tiles)


def write_sheet(path: Path, shown: Sequence[Shown]) -> None:
    """Write the entries as a picture; raises InputError when the file cannot be written."""
    if path.suffix.lower() != '.png':
        raise InputError(f'--png {path}: the name must end in .png')
    rows, names = [item.tiles for item in shown], [_plain(item.title) for item in shown]
    write_png(path, contact_sheet(rows, COLUMNS, names))


def write_html(
    path: Path, title: str, table: str, image: np.ndarray, shown: Sequence[Shown]
) -> None:
    """Write the entries as a page without other files; raises InputError."""
    keys = list(dict.fromkeys(item.entry.object_key for item in shown))
    parts = [
        f'<h1>{escape(title)}</h1>',
        f'<section><h2>The bank</h2><pre>{escape(table)}</pre></section>',
        f'<section><h2>The image</h2><p>{escape(_TEXT)}</p>'
        f'{_image(fitted(image, _TILE), "the image", "given")}</section>',
    ]
    for key in keys:
        own = [item for item in shown if item.entry.object_key == key]
        finding = sum(item.found for item in own)
        parts.append(
            f'<section><h2>{escape(key)}: {finding} of {len(own)} entries find something</h2>'
            + ''.join(_entry(item) for item in own)
            + '</section>'
        )
    write_page(path, title, _STYLE, parts)


def _entry(item: Shown) -> str:
    tiles = ''.join(
        f'<div><span>{escape(name)}</span>{_image(tile, name)}</div>'
        for name, tile in zip(COLUMNS, item.tiles, strict=True)
    )
    kind = '' if item.found else ' absent'
    return (
        f'<div class="entry{kind}"><h3>{escape(item.title)}</h3>'
        f'<div class="tiles">{tiles}</div></div>'
    )


def _image(picture: np.ndarray, alt: str, kind: str = '') -> str:
    # JPEG, since the noise of a camera makes a PNG ten times as large, and there are many tiles.
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    good, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not good:
        raise InputError('OpenCV cannot encode JPEG here')
    encoded = base64.b64encode(np.asarray(data).tobytes()).decode('ascii')
    return f'<img class="{kind}" alt="{escape(alt)}" src="data:image/jpeg;base64,{encoded}">'


def _heat(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Draw a heat map, [h, w] from 0, over the image in grey."""
    scaled = (heat / max(float(heat.max()), _FAINT)).astype(np.float32)
    height, width = image.shape[:2]
    wide = cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)
    colours = _map('inferno')[np.rint(wide * 255).astype(int)]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    share = 0.25 + 0.6 * wide[..., None]
    return np.rint((1 - share) * grey * 0.8 + share * colours).astype(np.uint8)


def _masked(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Darken the image outside the mask and draw the mask's outline."""
    height, width = image.shape[:2]
    small = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    drawn = np.where(small[..., None] > 0, image, image // 2).astype(np.uint8)
    outlines, _ = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, _TINT, 2, cv2.LINE_AA)
    return drawn if mask.any() else _write(drawn, 'nothing')


def _coverage(image: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Draw where the object is in the entry, at the size of the image."""
    height, width = image.shape[:2]
    wide = cv2.resize(coverage, (width, height), interpolation=cv2.INTER_NEAREST)
    return _map('Greys_r')[np.rint(wide.clip(0, 1) * 255).astype(int)].astype(np.uint8)


def _blank(image: np.ndarray, text: str) -> np.ndarray:
    return _write(np.full_like(image, 60), text)


def _write(picture: np.ndarray, text: str) -> np.ndarray:
    place = (12, picture.shape[0] // 2)
    cv2.putText(
        picture, text, place, cv2.FONT_HERSHEY_DUPLEX, 0.7, (235, 235, 235), 1, cv2.LINE_AA
    )
    return picture


@cache
def _map(name: str) -> Any:
    """Return a colour map of matplotlib, uint8 [256, 3]."""
    from matplotlib import colormaps

    return np.rint(colormaps[name](np.arange(256))[:, :3] * 255).astype(np.uint8)


def _plain(text: str) -> str:
    """Return a text with '?' for characters that OpenCV's font lacks."""
    return text.encode('ascii', 'replace').decode()
