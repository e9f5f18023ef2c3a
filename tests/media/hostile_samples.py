"""Files that pretend: playlists dressed as media, references to other files, text in every disguise.

`build(folder, canary)` writes them all. None may be accepted, and none may make raydub open another file (`SECRET`, a
film beside them) or call the network (`canary`, a URL). tests/media/hostile_bombs.py has the files that claim too much.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av

from raydub.errors import Code
from tests.media.films import film, sound, tone

SECRET = "secret.mp4"
"""A good film, which the samples try to make raydub read."""

NO_MEDIA = frozenset({Code.INPUT_PLAYLIST, Code.INPUT_FORMAT, Code.INPUT_UNREADABLE})


@dataclass(frozen=True)
class Sample:
    """path: of the file or folder, or what stands in its place; role: the manifest's field that names it; codes: with
    any of which the job may fail; why: what it tries."""

    path: str
    role: str
    why: str
    codes: frozenset[Code] = field(default=NO_MEDIA)

    @property
    def name(self) -> str:
        """Short name for tests and tables."""
        return f"{self.role}: {Path(self.path).name[:60]}"


def playlists(secret: str, canary: str) -> dict[str, bytes]:
    """Name to content of every kind of text by which libavformat is led to other files or to the network."""
    relative = Path(secret).name
    hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n"
    hls_file, hls_relative = hls.format(f"file://{secret}").encode(), hls.format(relative).encode()
    segments = f"<Representation id='1' bandwidth='9'><BaseURL>{relative}</BaseURL><SegmentBase/></Representation>"
    period = f"<Period><AdaptationSet mimeType='video/mp4'>{segments}</AdaptationSet></Period>"
    mpd = (
        "<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' mediaPresentationDuration='PT5S' "
        f"profiles='urn:mpeg:dash:profile:isoff-on-demand:2011'>{period}</MPD>"
    )
    session = f"o=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {_port(canary)} RTP/AVP 96\n"
    media = f"a=rtpmap:96 H264/90000\na=control:{canary}\n"
    return {
        "hls_absolute": hls_file,
        "hls_relative": hls_relative,
        "hls_http": hls.format(canary).encode(),
        "hls_key": hls_relative.replace(b"#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{canary}"\n#EXTINF'.encode()),
        "hls_map": hls_relative.replace(b"#EXTINF", f'#EXT-X-MAP:URI="{relative}"\n#EXTINF'.encode()),
        "hls_concat": hls.format(f"concat:{secret}|{secret}").encode(),
        "hls_master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{relative}\n".encode(),
        "hls_bom": b"\xef\xbb\xbf" + hls_file,
        "hls_spaces": b" \t\r\n" * 200 + hls_file,
        "hls_blanks_of_other_kinds": b"\x0b\x0c\x00\xc2\xa0" + hls_file,
        "hls_lower": hls_file.lower(),
        "hls_utf16": b"\xff\xfe" + hls_file.decode().encode("utf-16-le"),
        "hls_after_id3": b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + hls_file,
        "hls_after_comment": b"# nothing to see here\n" * 40 + hls_file,
        "concat_absolute": f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        "concat_relative": f"ffconcat version 1.0\nfile {relative}\n".encode(),
        "concat_http": f"ffconcat version 1.0\nfile {canary}\n".encode(),
        "concat_bom": f"\ufefffFconcat version 1.0\nfile {relative}\n".encode(),
        "concat_options": f"ffconcat version 1.0\nfile {relative}\noption safe 0\n".encode(),
        "dash": f"<?xml version='1.0'?>\n{mpd}".encode(),
        "dash_after_comment": f"<?xml version='1.0'?>\n<!-- {'x' * 900} -->\n{mpd}".encode(),
        "dash_bare": b"\n \n" + mpd.encode(),
        "sdp": f"v=0\r\n{session}{media}".encode(),
        "sdp_late": f"{session}v=0\n{media}".encode(),
        "rtsp_redirect": f"RTSPtext\nREDIRECT {canary}\n".encode(),
        "smil": f"<smil><body><video src='{relative}'/></body></smil>".encode(),
        "asx": f"<ASX version='3.0'><ENTRY><REF HREF='{canary}'/></ENTRY></ASX>".encode(),
        "asf_reference": f"[Reference]\r\nRef1={canary}\r\n".encode(),
        "pls": f"[playlist]\nFile1={secret}\nNumberOfEntries=1\n".encode(),
        "xspf": f"<playlist><trackList><track><location>{canary}</location></track></trackList></playlist>".encode(),
        "smooth_streaming": f"<SmoothStreamingMedia><c n='0' url='{relative}'/></SmoothStreamingMedia>".encode(),
        "imf": f"<?xml version='1.0'?><CompositionPlaylist><Id>{relative}</Id></CompositionPlaylist>".encode(),
        "vobsub_index": b"# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n"
        b"timestamp: 00:00:00:000, filepos: 000000000\n",
        "subtitles": b"1\n00:00:00,000 --> 00:00:05,000\nhello\n",
        "ffmetadata": b";FFMETADATA1\ntitle=x\n",
        "svg": f"<svg xmlns='http://www.w3.org/2000/svg'><image href='{canary}'/></svg>".encode(),
        "xbm": b"#define a_width 16\n#define a_height 7\nstatic char a_bits[] = {" + b"0x13,0x00," * 7 + b"};\n",
    }


def _port(canary: str) -> str:
    return canary.split(":")[-1].split("/")[0]


def expressions(secret: str, canary: str) -> list[str]:
    """Paths that are little programs to ffmpeg; raydub must take each for a file's name."""
    return [
        canary,
        f"concat:{secret}|{secret}",
        f"subfile,,start,0,end,0,,:{secret}",
        f"crypto:{secret}",
        f"cache:{secret}",
        f"async:{secret}",
        f"data:video/mp4;base64,{'A' * 40}",
        f"tcp://127.0.0.1:{_port(canary)}",
        f"hls+{canary}",
        "pipe:0",
        "fd:0",
        f"unix:{secret}",
        "lavfi:testsrc",
        str(Path(secret).with_name("still_%d.png")),
        str(Path(secret).with_name("still_*.png")),
        "-i",
    ]


def reference_movie(path: Path, secret: Path, kind: bytes) -> Path:
    """The film `secret` with its own media taken out and a data reference to `secret` instead (ISO 14496-12 8.7.2;
    `alis` and `rsrc` as in QuickTime)."""
    data = secret.read_bytes()
    at = data.index(b"dref")
    old = int.from_bytes(data[at - 4 : at], "big")
    target = str(secret).encode()
    body = b"\0\0\0\0" + (f"file://{secret}".encode() + b"\0" if kind == b"url " else _alias(target))
    entry = struct.pack(">I4s", 8 + len(body), kind) + body
    grown = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    data = data[: at - 4] + grown + data[at - 4 + old :]
    for box in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        place = data.index(box)
        size = int.from_bytes(data[place - 4 : place], "big") + len(grown) - old
        data = data[: place - 4] + size.to_bytes(4, "big") + data[place:]
    start = data.index(b"mdat")
    size = int.from_bytes(data[start - 4 : start], "big")
    return _written(path, data[: start + 4] + bytes(size - 8) + data[start - 4 + size :])


def _alias(target: bytes) -> bytes:
    """A Macintosh alias record with a volume, a folder and an absolute path (type 2) to `target`."""
    name = target.rsplit(b"/", 1)[-1]
    record = bytes([4]) + b"root".ljust(27, b"\0") + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16)
    record += struct.pack(">hh", 0, 0) + bytes(16)
    for number, text in ((2, target), (18, target), (19, b"/")):
        record += struct.pack(">HH", number, len(text)) + text + b"\0" * (len(text) & 1)
    record += struct.pack(">Hh", 0xFFFF, 0)
    return struct.pack(">IH", 0, len(record) + 8)[:4] + struct.pack(">HH", len(record) + 8, 2) + b"\0\0" + record


def stills(folder: Path, size: tuple[int, int] = (64, 48)) -> Path:
    """A folder of two good pictures."""
    folder.mkdir(exist_ok=True)
    for number in range(2):
        film(folder / f"still_{number}.png", [number], codec="png", pix_fmt="rgb24", size=size)
    return folder


def build(folder: Path, canary: str = "http://127.0.0.1:9/x") -> list[Sample]:
    """Write every sample into `folder` and say what each is. canary: a URL that must never be asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    secret = film(folder / SECRET, range(10), rate=Fraction(25))
    sound(folder / "secret.wav", tone(1.0))
    for name, number in (("still_0.png", 0), ("still_1.png", 1)):
        film(folder / name, [number], codec="png", pix_fmt="rgb24")
    samples: list[Sample] = []
    for name, content in playlists(str(secret), canary).items():
        for role, suffix in (("video", "mp4"), ("audio", "wav"), ("video", "png"), ("face", "jpg")):
            path = _written(folder / f"{name}.{suffix}", content)
            samples.append(Sample(str(path), role, name))
        inside = stills(folder / f"{name}_stills")
        _written(inside / "still_1.png", content)
        samples.append(Sample(str(inside), "video", f"{name} as a picture of a folder"))
    for text in expressions(str(secret), canary):
        for role in ("video", "audio", "face"):
            samples.append(Sample(text, role, "a path that is a program", frozenset({Code.INPUT_MISSING})))
    for kind in (b"url ", b"alis", b"rsrc"):
        path = reference_movie(folder / f"dref_{kind.decode().strip()}.mov", secret, kind)
        samples.append(Sample(str(path), "video", "its frames lie in another file", NO_MEDIA | {Code.VIDEO_NO_FRAMES}))
    return samples


def plain_open(path: str) -> int:
    """Frames that libav with its defaults finds at `path`: the control that shows what a sample does without rules."""
    with av.open(path) as container:
        return sum(1 for _ in container.decode(video=0))


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
