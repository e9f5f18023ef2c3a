"""Files that claim more than they hold or hold more than they weigh: `bombs(folder)` writes them, a few MB in all.

Giant pictures are made by changing the size in a small picture's header: decoders believe it and allocate.
"""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av

from raydub.errors import Code
from tests.media.films import film, sound, tone
from tests.media.hostile_pictures import SIDE, bitmap, giant_jpeg, png, text_chunks, tiff, written
from tests.media.hostile_samples import Sample, stills

LIMIT = frozenset({Code.INPUT_LIMIT})
DAMAGED = frozenset({Code.INPUT_LIMIT, Code.INPUT_UNREADABLE, Code.INPUT_TRUNCATED, Code.VIDEO_NO_FRAMES})


def giant_parameters(side: int = SIDE) -> bytes:
    """An H.264 sequence parameter set, baseline, for pictures of side x side pixels (ITU-T H.264 7.3.2.1.1)."""

    def golomb(value: int) -> str:
        text = f"{value + 1:b}"
        return "0" * (len(text) - 1) + text

    blocks = side // 16 - 1
    numbers = [0, 0, 2, 1]  # id, log2_max_frame_num - 4, picture order type 2, reference frames
    bits = "".join(map(golomb, numbers)) + "0" + golomb(blocks) + golomb(blocks) + "1" + "1" + "0" + "0" + "1"
    bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
    return b"\0\0\0\1\x67" + bytes([66, 0xC0, 62]) + int(bits, 2).to_bytes(len(bits) // 8, "big")


def raw_h264(path: Path, numbers: int = 10) -> bytes:
    """A small film as a bare H.264 byte stream."""
    options = {"profile": "baseline", "repeat-headers": "1"}
    film(path, range(numbers), options=options)
    return path.read_bytes()


def units(data: bytes) -> list[bytes]:
    """The units of a bare H.264 stream, each with its start code."""
    return [b"\0\0\0\1" + unit.rstrip(b"\0") for unit in data.split(b"\0\0\1") if unit.strip(b"\0")]


def grown(data: bytes) -> bytes:
    """A bare stream with the giant parameter set before each of its key frames."""
    return b"".join(giant_parameters() if unit[4] & 31 == 7 else unit for unit in units(data))


def ebml(identifier: str, *inside: bytes) -> bytes:
    """A Matroska element; the identifier in hex."""
    content = b"".join(inside)
    return bytes.fromhex(identifier) + (len(content) | 1 << 56).to_bytes(8, "big") + content


def matroska(path: Path, tracks: int, clusters: bytes, codec: bytes = b"V_MPEG4/ISO/AVC") -> Path:
    """A hand-made Matroska file with that many video tracks of 64x64 pixels."""
    head = ebml("1a45dfa3", ebml("4282", b"matroska"), ebml("4287", b"\4"), ebml("4285", b"\2"))
    picture = ebml("e0", ebml("b0", b"\x40"), ebml("ba", b"\x40"))
    entries = [
        ebml("ae", ebml("d7", number.to_bytes(2, "big")), ebml("73c5", number.to_bytes(2, "big")),
             ebml("83", b"\1"), ebml("86", codec), picture)
        for number in range(1, tracks + 1)
    ]  # fmt: skip
    info = ebml("1549a966", ebml("2ad7b1", (1_000_000).to_bytes(3, "big")))
    return written(path, head + ebml("18538067", info, ebml("1654ae6b", *entries), clusters))


def tiny_blocks(count: int) -> bytes:
    """Clusters with `count` blocks of one byte each, a millisecond apart."""
    inside = [ebml("e7", b"\0")]
    blocks = [b"\xa3\x85\x81" + struct.pack(">h", at) + b"\x80\x00" for at in range(1000)]
    clusters = [
        ebml("1f43b675", ebml("e7", (second * 1000).to_bytes(8, "big")), *blocks) for second in range(count // 1000)
    ]
    return b"".join(clusters) if clusters else ebml("1f43b675", *inside)


def box(kind: bytes, *inside: bytes) -> bytes:
    """An ISO box."""
    content = b"".join(inside)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def sample_tables(path: Path, count: int) -> Path:
    """A film of a few KB whose tables list `count` frames of one byte each."""
    film(path, range(2))
    data = path.read_bytes()
    for kind, content in (
        (b"stsz", struct.pack(">IIII", 0, 1, count, 0)[:12]),
        (b"stts", struct.pack(">IIII", 0, 1, count, 1)),
        (b"stsc", struct.pack(">IIIII", 0, 1, 1, count, 1)),
        (b"ctts", struct.pack(">II", 0, 0)),
    ):
        data = replaced(data, kind, content)
    return written(path, data)


def replaced(data: bytes, kind: bytes, content: bytes) -> bytes:
    """The film with another content in its first box of that kind, sizes above it mended."""
    at = data.find(kind)
    if at < 0:
        return data
    old = int.from_bytes(data[at - 4 : at], "big")
    new = box(kind, content)
    data = data[: at - 4] + new + data[at - 4 + old :]
    for outer in (b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        place = data.index(outer)
        size = int.from_bytes(data[place - 4 : place], "big") + len(new) - old
        data = data[: place - 4] + size.to_bytes(4, "big") + data[place:]
    return data


def compressed_header(path: Path, megabytes: int) -> Path:
    """A QuickTime film whose compressed movie header inflates to many megabytes."""
    packed = zlib.compress(bytes(megabytes << 20), 9)
    header = box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", struct.pack(">I", megabytes << 20), packed))
    return written(path, box(b"ftyp", b"qt  ", bytes(8)) + box(b"moov", header) + box(b"mdat", bytes(100)))


def wave_header(path: Path, channels: int, rate: int, content: bytes, claimed: int | None = None) -> Path:
    """A 16-bit WAV with these claims in its header."""
    size = len(content) if claimed is None else claimed
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 * channels & 0xFFFFFFFF, 2 * channels & 0xFFFF, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size) + content
    return written(path, b"RIFF" + struct.pack("<I", min(len(body), 0xFFFFFFFF)) + body)


def cover(path: Path, picture: bytes, container: str) -> Path:
    """Sound with that picture as its cover: MP3 with an ID3 tag, or FLAC with a PICTURE block."""
    if container == "mp3":
        sound(path, tone(1.0, 44100), 44100, "libmp3lame")
        frame = b"\0image/png\0\3\0" + picture
        tag = b"APIC" + struct.pack(">IH", len(frame), 0) + frame
        sizes = bytes(len(tag) >> shift & 0x7F for shift in (21, 14, 7, 0))
        return written(path, b"ID3\3\0\0" + sizes + tag + path.read_bytes())
    sound(path, tone(1.0, 44100), 44100, "flac")
    block = (
        struct.pack(">II", 3, 9) + b"image/png" + bytes(4) + struct.pack(">IIIII", 1, 1, 24, 0, len(picture)) + picture
    )
    data = path.read_bytes()
    return written(
        path, data[:42].replace(b"fLaC\x80", b"fLaC\0") + b"\6" + len(block).to_bytes(3, "big") + block + data[42:]
    )


def comments(path: Path, megabytes: int) -> Path:
    """A film with that many megabytes of comment."""
    film(path, range(2))
    note = box(b"\xa9cmt", struct.pack(">HH", 0xFFFF, 0) + b"A" * 0xFFFF) * (16 * megabytes)
    data = path.read_bytes()
    place = data.index(b"moov")
    size = int.from_bytes(data[place - 4 : place], "big")
    extra = box(b"udta", note)
    end = place - 4 + size
    return written(
        path, data[: place - 4] + struct.pack(">I", size + len(extra)) + data[place:end] + extra + data[end:]
    )


def bombs(folder: Path) -> list[Sample]:
    """Write every bomb into `folder` and say what each is."""
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Sample] = []

    def add(path: Path, role: str, why: str, codes: frozenset[Code] = LIMIT) -> None:
        found.append(Sample(str(path), role, why, codes))

    for suffix in ("avi", "mkv", "mov"):
        path = film(folder / f"giant_jpeg.{suffix}", range(3), codec="mjpeg", pix_fmt="yuvj420p")
        add(written(path, giant_jpeg(path.read_bytes())), "video", "JPEG frames that say 16000x16000", DAMAGED)
    small = film(folder / "small.jpg", [0], codec="mjpeg", pix_fmt="yuvj420p").read_bytes()
    (folder / "small.jpg").unlink()
    for role in ("video", "face"):
        add(written(folder / f"giant_{role}.jpg", giant_jpeg(small)), role, "a JPEG that says 16000x16000")
        add(png(folder / f"giant_{role}.png", SIDE, SIDE), role, "a PNG of 16000x16000 in 32 KB")
        add(png(folder / f"vast_{role}.png", 2**31 - 1, 1), role, "a PNG of 2147483647x1", DAMAGED)
        add(
            png(folder / f"texts_{role}.png", 64, 64, *text_chunks(32)),
            role,
            "texts that inflate to 768 MB",
            frozenset(),
        )
    inside = stills(folder / "giant_stills")
    png(inside / "still_2.png", SIDE, SIDE)
    add(inside, "video", "a folder with one giant picture", LIMIT | {Code.VIDEO_DIMENSIONS})
    written(folder / "giant.tif", tiff(SIDE))
    add(folder / "giant.tif", "video", "a TIFF of 16000x16000", DAMAGED)
    written(folder / "giant.bmp", bitmap(SIDE))
    add(folder / "giant.bmp", "video", "a BMP of 16000x16000, run-length coded", DAMAGED)
    small264 = raw_h264(folder / "small.h264")
    giant = written(folder / "giant.h264", grown(small264))
    add(giant, "video", "H.264 that says 16000x16000", DAMAGED)
    later = written(folder / "grows.h264", small264 + grown(small264))
    add(later, "video", "H.264 that grows to 16000x16000 on its way", DAMAGED | {Code.VIDEO_DIMENSIONS})
    for suffix in ("ts", "mpg"):
        in_stream = written(folder / f"giant_inside.{suffix}", later.read_bytes())
        add(
            _transport(in_stream),
            "video",
            "the same in a stream without a header",
            DAMAGED | {Code.VIDEO_DIMENSIONS},
        )
    add(
        film(folder / "gap.mkv", range(2), pts=[0, 80_000_000], time_base=Fraction(1, 1000)),
        "video",
        "22 h in 2 frames",
    )
    beats = [at for start in range(0, 80_000_000, 900_000) for at in (start, start + 8, start + 17)]
    add(
        film(folder / "beats.mkv", range(len(beats)), pts=beats, time_base=Fraction(1, 1000)),
        "video",
        "22 h at 120 fps in 267 frames",
    )
    add(matroska(folder / "streams.mkv", 1000, tiny_blocks(1000)), "video", "1000 streams")
    add(matroska(folder / "blocks.mkv", 1, tiny_blocks(400_000)), "video", "400,000 frames of one byte", DAMAGED)
    nested = b""
    for _ in range(3000):
        nested = ebml("1f43b675", nested)
    add(matroska(folder / "nested.mkv", 1, nested), "video", "clusters in clusters, 3000 deep", DAMAGED)
    add(matroska(folder / "voids.mkv", 1, b"\xec\x80" * 3_000_000), "video", "three million empty elements", DAMAGED)
    add(sample_tables(folder / "tables.mp4", 150_000_000), "video", "tables of 150 million frames in 2 KB", DAMAGED)
    add(compressed_header(folder / "header.mov", 900), "video", "a header that inflates to 900 MB", DAMAGED)
    add(comments(folder / "comments.mp4", 40), "video", "40 MB of comments", frozenset())
    picture = png(folder / "cover.png", SIDE, SIDE).read_bytes()
    for container in ("mp3", "flac"):
        add(cover(folder / f"cover.{container}", picture, container), "audio", "a cover of 16000x16000", frozenset())
    speech = (tone(1.0) * 30000).astype("<i2").tobytes()
    add(wave_header(folder / "rate.wav", 1, 2**31 - 1, speech), "audio", "2147483647 Hz")
    add(wave_header(folder / "slow.wav", 1, 1, speech), "audio", "1 Hz")
    add(wave_header(folder / "channels.wav", 1000, 48000, speech * 60), "audio", "1000 channels", DAMAGED)
    add(
        wave_header(folder / "long.wav", 1, 16000, speech, 32000 * 36000),
        "audio",
        "says ten hours, holds a second",
        frozenset({Code.INPUT_TRUNCATED}),
    )
    return found


def _transport(target: Path) -> Path:
    """`target` holds a bare stream that grows; it becomes a transport or program stream of the same packets."""
    bare = target.with_suffix(".h264")
    bare.write_bytes(target.read_bytes())
    with (
        av.open(str(bare)) as source,
        av.open(str(target), "w", format="mpegts" if target.suffix == ".ts" else "vob") as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for place, packet in enumerate(source.demux(video=0)):
            if packet.size:
                packet.stream = stream
                packet.pts = packet.dts = 90000 + place * 3600
                packet.time_base = Fraction(1, 90000)
                out.mux(packet)
    bare.unlink()
    return target
