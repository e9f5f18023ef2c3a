"""Opens all input files: local files only, known containers only, every failure with a code.

libav interprets paths (protocols, playlists that name other files). So the path must be an existing regular file, gets
the `file:` prefix, may open no other protocol, and its container must be on the list.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import av
import av.container
import av.error

from raydub.errors import Code, InputError
from raydub.kinds import NotRegularError
from raydub.media.info import ProbeLimits
from raydub.media.joined import joined, layout_of
from raydub.media.joined_view import View
from raydub.present import in_parts
from raydub.regular import open_regular

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,mxf,h264,hevc,ivf,"
    "wav,w64,mp3,flac,ogg,aac,aiff,caf,amr"
)
_PLAYLIST_SIGNS = ("#extm3u", "ffconcat", "[playlist]", "[reference]", "rtsptext", "# vobsub index", "v=0\n", "v=0\r")
_PLAYLIST_TAGS = ("mpd", "asx", "smil", "playlist", "smoothstreamingmedia", "compositionplaylist")
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGI")
_HEAD = 4096
_VIEW_BYTES = 1 << 18
_TS_HEAD = 4 * 204


def check_file(path: str, limits: ProbeLimits, what: str) -> int:
    """Size of the regular file `path` in bytes; InputError MISSING, EMPTY, LIMIT, PLAYLIST or UNREADABLE otherwise."""
    try:
        with open_regular(path) as stream:
            size, head = os.fstat(stream.fileno()).st_size, stream.read(_HEAD)
    except FileNotFoundError as error:
        raise InputError(Code.INPUT_MISSING, f"{what} {path} does not exist") from error
    except NotRegularError as error:
        raise InputError(Code.INPUT_UNREADABLE, f"{what} {path} {error.strerror}") from error
    except (OSError, ValueError) as error:
        raise InputError(Code.INPUT_UNREADABLE, f"{what} {path} cannot be read: {error}") from error
    if size == 0:
        raise InputError(Code.INPUT_EMPTY, f"{what} {path} is empty (0 bytes)")
    if size > limits.max_bytes:
        raise InputError(Code.INPUT_LIMIT, f"{what} {path} has {size} bytes, more than {limits.max_bytes}")
    if _is_playlist(head):
        raise InputError(
            Code.INPUT_PLAYLIST, f"{what} {path} is a playlist, not media", hint="give the media file itself"
        )
    return size


def _is_playlist(head: bytes) -> bool:
    """Does a file that starts with `head` look like a playlist? For a better message only: libav is kept from following
    playlists by the list of containers."""
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = head.decode("utf-16" if wide else "latin-1", "replace").lower()
    lines = text.lstrip("\ufeff\xef\xbb\xbf\0\xa0\xc2 \t\r\n\v\f")
    if lines.startswith(_PLAYLIST_SIGNS):
        return True
    if lines.startswith("<"):
        return any(f"<{tag}" in lines for tag in _PLAYLIST_TAGS)
    plain = all(character >= " " or character in "\t\r\n" for character in lines)
    return plain and any(f"\n{sign}" in lines for sign in _PLAYLIST_SIGNS)


def open_input(path: str, limits: ProbeLimits, what: str = "video") -> av.container.InputContainer:
    """Open a local media file under the rules of this module. The caller closes it. Raises InputError.

    Of a large input in a bucket only ranges may be read; whoever made its plan has checked all of it."""
    part = in_parts(path)
    if part is not None and layout_of(part.read(_TS_HEAD)) is not None:
        part = None  # transport streams may be several in one file, which media.joined sees in all of it
    if part is None:
        check_file(path, limits, what)
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": CONTAINERS,
        # A QuickTime file may reference frames in another file by path: never followed.
        "enable_drefs": "0",
        # libav decodes some frames while it opens a file: no giant ones, nor giant cover art.
        "max_pixels": decoder_pixels(limits),
    }
    container: av.container.InputContainer
    film = joined(path) if part is None else None
    try:
        if part is not None:
            part.seek(0)
            container = av.open(part, "r", options=options, metadata_errors="replace", buffer_size=_VIEW_BYTES)
        elif film is None:
            container = av.open(f"file:{path}", options=options, metadata_errors="replace")
        else:
            view = View(film)
            container = av.open(
                view, "r", "mpegts", options=options, metadata_errors="replace", buffer_size=_VIEW_BYTES
            )
    except av.error.ArgumentError as error:
        # libavformat answers EINVAL for a container that it knows and that is not on the list.
        raise InputError(Code.INPUT_FORMAT, f"{what} {path} has a container that is not accepted") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise unreadable(path, what, error) from error
    if len(container.streams) > limits.max_streams:
        count = len(container.streams)
        container.close()
        raise InputError(Code.INPUT_LIMIT, f"{what} {path} has {count} streams, more than {limits.max_streams}")
    return container


def open_made(path: str) -> av.container.InputContainer:
    """Open a film that raydub wrote itself, as what its name says (.mkv, all others mp4) and as nothing else.
    Raises av.error.FFmpegError, OSError or ValueError."""
    form = "matroska" if path.lower().endswith(".mkv") else "mp4"
    return av.open(f"file:{path}", format=form, options={"protocol_whitelist": "file", "enable_drefs": "0"})


def packets_of(container: av.container.InputContainer, stream: Any) -> Iterator[Any]:
    """The packets of one stream in the file's order, then an empty one for the decoder's last frames. PyAV alone raises
    IndexError at the end of a file in which another stream appears on the way, as in transport streams. Tags that stand
    between the frames of an MP3, where two were joined, are left out: decoders take them for damaged frames."""
    packets = container.demux(stream)
    tagged = stream.type == "audio" and container.format.name in ("mp3", "mp2")
    behind = -1
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):
            return
        if tagged and packet.size:
            head, place = bytes(memoryview(packet)[:10]), packet.pos
            if head[:3] == b"ID3" and len(head) == 10 and place is not None:
                behind = place + 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
            if head.startswith(_TAGS) or (place is not None and place < behind):
                continue
        yield packet


def unreadable(path: str, what: str, error: BaseException) -> InputError:
    """INPUT_UNREADABLE with libav's message."""
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(Code.INPUT_UNREADABLE, f"{what} {path} cannot be read: {reason}")


def video_stream(container: av.container.InputContainer, path: str) -> Any:
    """The first video stream that is not cover art. Raises InputError VIDEO_NO_STREAM."""
    for stream in container.streams.video:
        if not stream.disposition & (av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails):
            return decodable(stream, path, "video")
    raise InputError(Code.VIDEO_NO_STREAM, f"video {path} has no video stream")


def decoder_pixels(limits: ProbeLimits) -> str:
    """libav's option max_pixels, with room for the padding that decoders add."""
    return str(limits.max_pixels + limits.max_pixels // 4 + (1 << 16))


def strictly(stream: Any, limits: ProbeLimits) -> Any:
    """The same stream, set to report damage instead of concealing it, and to refuse frames beyond the limits before
    memory is taken for them. To be called before anything is decoded."""
    stream.codec_context.options = {"err_detect": "explode", "max_pixels": decoder_pixels(limits)}
    return stream


def decodable(stream: Any, path: str, what: str) -> Any:
    """The stream itself. Raises InputError INPUT_UNREADABLE when no decoder is known for it."""
    if stream.codec_context is None:
        raise InputError(
            Code.INPUT_UNREADABLE,
            f"{what} {path} is in an unsupported codec",
            hint="convert it with ffmpeg, to H.264 or AAC for instance; a damaged file can look like this too",
        )
    return stream
