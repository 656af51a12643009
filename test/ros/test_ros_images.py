# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Image messages: true colours from every encoding and layout; a sentence for bad messages."""

import sys

import cv2
import numpy as np
import pytest

pytest.importorskip('sensor_msgs')

from ros_cases import BAD_IMAGES, MALFORMED_IMAGES, UNSUPPORTED_IMAGES, image_of, image_of_bytes
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from detsam2_ros.messages import pixels as shared
from detsam2_ros.ros import images
from detsam2_ros.ros.images import ImageRefused, compressed_to_rgb, read_labels, to_rgb

pytestmark = pytest.mark.ros

# Colours that a swap of channels, of bytes or of a Bayer pattern would change.
COLOURS = ((200, 100, 30), (20, 60, 220), (10, 190, 80), (128, 127, 126))


def noise(height: int = 7, width: int = 9, channels: int = 3) -> np.ndarray:
    """Make uint8 [H, W, C] of which every byte is different from its neighbours."""
    size = height * width * channels
    return (np.arange(size) * 7919 % 251).astype(np.uint8).reshape(height, width, channels)


def patches(height: int, width: int) -> np.ndarray:
    """Make uint8 [H, W, 3] RGB with one colour to a quarter."""
    picture = np.empty((height, width, 3), np.uint8)
    rows, columns = (np.arange(size) * 2 // size for size in (height, width))
    picture[:] = np.array(COLOURS)[rows[:, None] * 2 + columns]
    return picture


def inside(difference: np.ndarray, margin: int = 2) -> np.ndarray:
    """Drop what lies near the borders of `patches`, where interpolation mixes colours."""
    height, width = difference.shape[:2]
    keep = np.ones((height, width), bool)
    for line in (0, (height + 1) // 2, height):
        keep[max(line - margin, 0) : line + margin] = False
    for line in (0, (width + 1) // 2, width):
        keep[:, max(line - margin, 0) : line + margin] = False
    assert keep.sum() > 40
    return difference[keep]


def channels_of(encoding: str, rgb: np.ndarray) -> np.ndarray:
    """Lay RGB out as an encoding says; alpha is something else everywhere."""
    order = {'r': 0, 'g': 1, 'b': 2}
    names = encoding.lower().rstrip('0123456789')
    alpha = 255 - rgb[..., 0]
    return np.stack([alpha if n == 'a' else rgb[..., order[n]] for n in names], axis=-1)


def yuv_of(rgb: np.ndarray) -> np.ndarray:
    """Convert to BT.601 video range, uint8 [H, W, 3] as the standard's formula says."""
    y, cb, cr = (65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214)
    return np.round(rgb / 255.0 @ np.array((y, cb, cr)).T + (16, 128, 128)).astype(np.uint8)


def mosaic_of(pattern: str, rgb: np.ndarray) -> np.ndarray:
    """Take of every pixel what a sensor with this Bayer pattern would see."""
    height, width = rgb.shape[:2]
    channel = np.array(['rgb'.index(name) for name in pattern]).reshape(2, 2)
    channel = np.tile(channel, (height // 2 + 1, width // 2 + 1))[:height, :width]
    return np.take_along_axis(rgb, channel[..., None], axis=2)[..., 0]


def converted(message: Image) -> np.ndarray:
    """Convert; check the form, and that the message may change without changing the picture."""
    rgb = to_rgb(message)
    assert rgb.dtype == np.uint8 and rgb.shape == (message.height, message.width, 3)
    assert rgb.flags.c_contiguous and rgb.flags.writeable
    assert not np.shares_memory(rgb, np.frombuffer(message.data, np.uint8))
    return rgb


@pytest.mark.parametrize('padding', [0, 1, 4, 64])
@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8', 'RGB8', 'Bgr8', ' bgr8 '])
def test_colours_of_8_bits(encoding: str, big: bool, padding: int) -> None:
    rgb = noise()
    message = image_of(encoding, channels_of(encoding.strip(), rgb), padding, big)
    np.testing.assert_array_equal(converted(message), rgb)


@pytest.mark.parametrize('padding', [0, 2, 7])
@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('encoding', ['rgb16', 'bgr16', 'rgba16', 'bgra16', 'BGR16'])
def test_colours_of_16_bits(encoding: str, big: bool, padding: int) -> None:
    rgb = noise().astype(np.uint16) * 257
    message = image_of(encoding, channels_of(encoding, rgb), padding, big)
    np.testing.assert_array_equal(converted(message), noise())


def test_16_bits_are_scaled_and_rounded() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.round(every / 257.0).astype(np.uint8)
    for big in (False, True):
        result = to_rgb(image_of('mono16', every, big=big))
        np.testing.assert_array_equal(result, np.repeat(expected[..., None], 3, axis=2))


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize(
    ('encoding', 'channels'),
    [('mono8', 1), ('MONO8', 1), ('8UC1', 1), ('8uc1', 1), ('8UC3', 3), ('8UC4', 4)],
)
def test_grey_and_opencv_types(encoding: str, channels: int, padding: int) -> None:
    pixels = noise(channels=channels)
    message = image_of(encoding, pixels, padding)
    expected = np.repeat(pixels, 3, axis=2) if channels == 1 else pixels[..., 2::-1]
    np.testing.assert_array_equal(converted(message), expected)


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('UYVY', 'uyvy'), ('yuyv', 'yuyv'),
     ('yuv422_yuy2', 'yuyv'), ('YUV422_YUY2', 'yuyv')],
)  # fmt: skip
def test_yuv_4_2_2(encoding: str, order: str, padding: int) -> None:
    rgb = patches(15, 24)
    yuv = yuv_of(rgb)
    luma, pairs = yuv[..., 0], yuv[:, ::2, 1:]
    colours = pairs.reshape(15, 24)
    pixels = np.stack((colours, luma) if order == 'uyvy' else (luma, colours), axis=2)
    message = image_of(encoding, pixels, padding, big=True)
    assert np.abs(converted(message).astype(int) - rgb).max() <= 3


@pytest.mark.parametrize('padding', [0, 8])
@pytest.mark.parametrize('encoding', ['nv12', 'nv21', 'nv24', 'NV12'])
def test_planes(encoding: str, padding: int) -> None:
    kind = encoding.lower()
    rgb = patches(15, 23) if kind == 'nv24' else patches(16, 24)
    height, width = rgb.shape[:2]
    yuv = np.ascontiguousarray(yuv_of(rgb))
    chroma = yuv[..., 1:] if kind == 'nv24' else yuv[::2, ::2, 1:]
    chroma = chroma[..., ::-1] if kind == 'nv21' else chroma
    rows = chroma.reshape(chroma.shape[0], -1)
    extra = 2 * padding if kind == 'nv24' else padding
    data = (
        np.pad(yuv[..., 0], ((0, 0), (0, padding)), constant_values=9).tobytes()
        + np.pad(rows, ((0, 0), (0, extra)), constant_values=9).tobytes()
    )
    message = image_of_bytes(encoding, width, height, width + padding, data)
    assert np.abs(converted(message).astype(int) - rgb).max() <= 3


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize(('height', 'width', 'padding'), [(24, 32, 0), (23, 31, 5)])
def test_bayer(pattern: str, bits: int, height: int, width: int, padding: int) -> None:
    rgb = patches(height, width)
    mosaic = mosaic_of(pattern, rgb)
    if bits == 16:
        mosaic = mosaic.astype(np.uint16) * 257
    for big in (False, True):
        message = image_of(f'bayer_{pattern}{bits}', mosaic, padding, big)
        result = converted(message)
        assert np.abs(inside(result.astype(int) - rgb)).max() <= 1


@pytest.mark.parametrize('encoding', images.ENCODINGS)
def test_every_encoding_at_its_smallest(encoding: str) -> None:
    side = 3 if encoding.startswith('bayer') else 2
    layout = shared.LAYOUTS.get(encoding)
    step = side * (layout.channels * layout.sample_bytes if layout else 1)
    size = int(step * side * shared.PLANAR.get(encoding, 1))
    message = image_of_bytes(encoding.upper(), side, side, step, bytes(size))
    converted(message)


def test_there_are_twenty_kinds_of_bad_images() -> None:
    assert len({name for name, _ in BAD_IMAGES}) == len(BAD_IMAGES) >= 20


@pytest.mark.parametrize(('name', 'make'), BAD_IMAGES, ids=[name for name, _ in BAD_IMAGES])
def test_bad_images_are_refused(name: str, make) -> None:
    message = make()
    with pytest.raises(ImageRefused) as refusal:
        to_rgb(message)
    unsupported = name in [name for name, _ in UNSUPPORTED_IMAGES]
    assert unsupported != (name in [name for name, _ in MALFORMED_IMAGES])
    assert refusal.value.reason == ('unsupported_encoding' if unsupported else 'malformed_image')
    text = str(refusal.value)
    assert '\n' not in text and 40 < len(text) < 400
    assert any(word in text for word in ('camera', 'driver', 'remap')), text  # the way out
    if unsupported and message.encoding.strip():
        assert message.encoding in text


def compressed(suffix: str, pixels: np.ndarray, says: str) -> CompressedImage:
    """Encode channels in OpenCV's order."""
    return CompressedImage(format=says, data=cv2.imencode(suffix, pixels)[1].tobytes())


@pytest.mark.parametrize(
    ('suffix', 'says', 'worst'),
    [('.jpg', 'rgb8; jpeg compressed bgr8', 12), ('.jpg', 'bgr8; jpeg compressed bgr8', 12),
     ('.jpg', 'jpeg', 12), ('.jpg', '', 12), ('.jpg', 'yuv422; jpeg compressed bgr8', 12),
     ('.png', 'rgb8; png compressed bgr8', 0), ('.png', 'png', 0), ('.PNG', 'PNG', 0)],
)  # fmt: skip
def test_compressed(suffix: str, says: str, worst: int) -> None:
    rgb = patches(33, 40)
    result = compressed_to_rgb(compressed(suffix.lower(), rgb[..., ::-1], says))
    assert result.dtype == np.uint8 and result.shape == rgb.shape and result.flags.c_contiguous
    assert np.abs(inside(result.astype(int) - rgb, 1 if worst == 0 else 6)).max() <= worst


def test_compressed_channels_and_depths() -> None:
    rgb, wide = noise(), noise().astype(np.uint16) * 257
    grey = np.repeat(rgb[..., :1], 3, axis=2)
    cases = [
        ('png', channels_of('bgra8', rgb), rgb, 0),
        ('rgba16; png compressed bgr16', wide[..., ::-1], rgb, 1),
        ('png', wide[..., 0], grey, 1),
        ('mono16; png compressed ', wide[..., 0], grey, 0),
        ('mono8; png compressed ', rgb[..., 0], grey, 0),
        ('png', rgb[..., 0], grey, 0),
        # Stored as it came, so OpenCV's blue is the message's first channel.
        ('rgb8; tiff compressed ', rgb, rgb, 0),
        ('rgb8; png compressed rgb8', rgb, rgb, 0),
    ]
    for says, pixels, expected, worst in cases:
        suffix = '.tiff' if 'tiff' in says else '.png'
        result = compressed_to_rgb(compressed(suffix, pixels, says))
        assert result.shape == rgb.shape and result.dtype == np.uint8, says
        assert np.abs(result.astype(int) - expected).max() <= worst, says


@pytest.mark.parametrize('bits', [8, 16])
def test_compressed_bayer(bits: int) -> None:
    rgb = patches(24, 32)
    mosaic = mosaic_of('gbrg', rgb).astype(f'u{bits // 8}') * (257 if bits == 16 else 1)
    message = compressed('.png', mosaic, f'bayer_gbrg{bits}; png compressed ')
    assert np.abs(inside(compressed_to_rgb(message).astype(int) - rgb)).max() <= 1


def test_orientation_in_exif_is_ignored() -> None:
    jpeg = cv2.imencode('.jpg', patches(32, 48)[..., ::-1])[1].tobytes()
    tag = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
    jpeg = jpeg[:2] + b'\xff\xe1' + (len(tag) + 2).to_bytes(2, 'big') + tag + jpeg[2:]
    turned = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert turned.shape == (48, 32, 3), 'the tag has no effect, so this test would prove nothing'
    assert compressed_to_rgb(CompressedImage(format='jpeg', data=jpeg)).shape == (32, 48, 3)


def test_broken_compressed_images_are_refused() -> None:
    jpeg = cv2.imencode('.jpg', noise(64, 64))[1].tobytes()
    png = cv2.imencode('.png', noise(64, 64))[1].tobytes()
    for data in (b'', b'\0', b'no picture', jpeg[:20], jpeg[: len(jpeg) // 2], jpeg[:-2],
                 png[: len(png) // 2], png[:8], bytes(1000), jpeg[2:]):  # fmt: skip
        for says in ('jpeg', 'rgb8; png compressed bgr8', 'mono8; png compressed '):
            with pytest.raises(ImageRefused, match='complete JPEG') as refusal:
                compressed_to_rgb(CompressedImage(format=says, data=data))
            assert refusal.value.reason == 'malformed_image'
    wide = cv2.imencode('.png', np.zeros((1, images.MAX_SIDE + 1), np.uint8))[1].tobytes()
    with pytest.raises(ImageRefused, match='16385 x 1'):
        compressed_to_rgb(CompressedImage(format='png', data=wide))
    with pytest.raises(ImageRefused, match='3 channels of 8 bits'):
        compressed_to_rgb(CompressedImage(format='bayer_rggb16; png compressed ', data=png))
    for says in ('16UC1; compressedDepth png', 'mono16; compressedDepth', 'compressedDepth',
                 '16UC1; png compressed ', '32FC1; tiff compressed '):  # fmt: skip
        with pytest.raises(ImageRefused, match='depth') as refusal:
            compressed_to_rgb(CompressedImage(format=says, data=png))
        assert refusal.value.reason == 'unsupported_encoding'


def test_jpeg_cut_short_is_refused_whatever_opencv_makes_of_it(monkeypatch) -> None:
    """Older versions of OpenCV return a picture that is grey from some row on."""
    data = cv2.imencode('.jpg', noise(64, 64))[1].tobytes()[:-300]
    monkeypatch.setattr(shared.cv2, 'imdecode', lambda *_: noise(64, 64))
    with pytest.raises(ImageRefused):
        compressed_to_rgb(CompressedImage(format='jpeg', data=data))


def test_label_and_rgb_images() -> None:
    header = Header(frame_id='camera')
    header.stamp.sec, header.stamp.nanosec = 7, 123456789
    labels = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 109
    for part in (labels, labels[3:9, 5:12], labels[:, ::2], labels.T, labels[:0]):
        message = images.label_image(header, part)
        assert message.header == header and message.encoding == 'mono16'
        assert (message.height, message.width, message.step) == (*part.shape, 2 * part.shape[1])
        assert message.is_bigendian == (sys.byteorder == 'big')
        assert message.data.tobytes() == part.astype('=u2').tobytes()
        if part.size:
            np.testing.assert_array_equal(read_labels(message), part)
    for part in (noise(), noise()[2:5, 1:8], noise()[..., ::-1]):
        message = images.rgb_image(header, part)
        assert message.header == header and message.step == 3 * part.shape[1]
        np.testing.assert_array_equal(to_rgb(message), part)
    for wrong in (labels.astype(np.int32), labels.astype('>u2'), labels[0]):
        with pytest.raises(TypeError, match='uint16'):
            images.label_image(header, wrong)
    with pytest.raises(TypeError, match='uint8'):
        images.rgb_image(header, labels)


@pytest.mark.parametrize('padding', [0, 2, 3])
@pytest.mark.parametrize('big', [False, True])
def test_read_labels(big: bool, padding: int) -> None:
    labels = (np.arange(7 * 9) * 1009).astype(np.uint16).reshape(7, 9)
    message = image_of('mono16', labels, padding, big)
    result = read_labels(message)
    np.testing.assert_array_equal(result, labels)
    assert result.dtype == np.uint16 and result.dtype.isnative and not result.flags.writeable
    shared = np.shares_memory(result, np.frombuffer(message.data, np.uint8))
    assert shared == (big == (sys.byteorder == 'big'))


@pytest.mark.parametrize(('name', 'make'), BAD_IMAGES, ids=[name for name, _ in BAD_IMAGES])
def test_bad_labels_are_refused(name: str, make) -> None:
    message = make()
    with pytest.raises(ImageRefused):
        read_labels(message)
    message.encoding = 'mono16'
    enough = message.step >= 2 * message.width > 0 < message.height
    if not (enough and len(message.data) == message.step * message.height):
        with pytest.raises(ImageRefused):
            read_labels(message)


@pytest.fixture
def fake_cv_bridge(tmp_path, monkeypatch):
    """Return a function that puts a cv_bridge with this source first; undone after the test."""

    def forget() -> None:
        images._cv_bridge_problem.cache_clear()
        images._cv_bridge.cache_clear()

    def install(source: str) -> None:
        (tmp_path / 'cv_bridge.py').write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path))
        forget()

    yield install
    forget()


CRASH = (
    'import sys, os\nsys.stderr.write("AttributeError: _ARRAY_API not found\\n")\n'
    'class CvBridge:\n    def imgmsg_to_cv2(self, *_):\n        os.abort()\n'
)


@pytest.mark.parametrize(
    ('source', 'says'),
    [('raise ModuleNotFoundError("No module named \'cv_bridge\'")', 'not installed; install it'),
     (CRASH, 'compiled for NumPy 1.*numpy<2'),
     ('raise ImportError("libopencv_core.so.406: no such file")', r'\(ImportError: libopencv.*'),
     ('class CvBridge:\n    def imgmsg_to_cv2(self, m, e):\n        import numpy\n'
      '        return numpy.zeros((1, 1, 3), "u1")', 'AssertionError')],
)  # fmt: skip
def test_cv_bridge_that_does_not_work_is_told(fake_cv_bridge, source: str, says: str) -> None:
    images.check_cv_bridge()
    fake_cv_bridge(source)
    for _ in range(2):
        with pytest.raises(images.CvBridgeUnusable, match=says) as error:
            images.check_cv_bridge()
        assert '\n' not in str(error.value) and 'cv_bridge' in str(error.value)
    with pytest.raises(images.CvBridgeUnusable, match=says):
        to_rgb(image_of('bgr8', noise()))
    np.testing.assert_array_equal(to_rgb(image_of('rgb8', noise())), noise())
