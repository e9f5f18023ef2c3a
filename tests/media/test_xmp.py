"""XMP packets, and their places in films: read back by code of its own, by libav and by the ffmpeg program."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.media.mux import assemble, check_output
from raydub.media.xmp import COMPOSITE, SOURCE_TYPE, facts_of, packet
from raydub.media.xmp_place import MKV_TAG, place_xmp, read_xmp
from tests.ffmpeg import ffmpeg_program
from tests.media.films import sound, tone
from tests.media.test_output import parts_at

XML_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=60)
HOSTILE = ["<b>&amp;</b>", "]]>", '"/><rdf:li>', "<!DOCTYPE x [<!ENTITY a 'b'>]>&a;", "<?xpacket end='w'?>", "  x  "]


@given(job=XML_TEXT | st.sampled_from(HOSTILE), consent=XML_TEXT | st.sampled_from(HOSTILE))
def test_values_come_back_as_they_were(job: str, consent: str) -> None:
    facts = {SOURCE_TYPE: COMPOSITE, "tool": "raydub 1", "job": job, "consent": consent}
    made = packet(facts)
    if "<!" in job + consent:
        assert b"<!" not in made
    assert facts_of(made) == facts
    root = ElementTree.fromstring(made)  # the whole packet is well-formed XML
    space = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
    assert [found.text for found in root.iter(f"{space}DigitalSourceType")] == [COMPOSITE]
    assert made == packet(facts)


@given(st.text(max_size=30))
def test_what_xml_cannot_contain_is_replaced(text: str) -> None:
    found = facts_of(packet({"job": text}))
    assert len(found["job"]) == len(text.replace("\r\n", "\n"))


@given(
    st.binary(max_size=300)
    | st.sampled_from([b"<a>" * 500, b"<!DOCTYPE a><a/>", b'<?xml version="1.0" encoding="x"?><a/>'])
)
def test_anything_else_says_nothing(found: bytes) -> None:
    assert facts_of(found) == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_nothing_is_expanded(encoding: str) -> None:
    """In no encoding that the parser knows."""
    made = packet({"engine": "ENGINE"}).decode().partition("?>")[2]
    head = f'<?xml version="1.0" encoding="{encoding[:6]}"?><!DOCTYPE a [<!ENTITY a "{"ha" * 100}">]>'
    bomb = head + made.replace("ENGINE", "&a;" * 100)
    assert facts_of(bomb.encode(encoding)) == {}


def test_a_packet_by_others() -> None:
    """Properties as attributes, in an envelope of another tool."""
    made = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="{COMPOSITE}"/></rdf:RDF></x:xmpmeta>'
    )
    assert facts_of(made.encode()) == {SOURCE_TYPE: COMPOSITE}


def boxes(data: bytes, *path: bytes) -> list[bytes]:
    """The contents of the boxes at a path, by a walk that knows nothing else."""
    found, position = [], 0
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if length == 1:
            length, start = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        else:
            start = 8
        if data[position + 4 : position + 8] == path[0]:
            inside = data[position + start : position + length]
            found += [inside] if len(path) == 1 else boxes(inside, *path[1:])
        position += max(length, 8)
    return found


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_films_carry_it_and_play_as_before(tmp_path: Path, suffix: str) -> None:
    rate, made = Fraction(30000, 1001), packet({SOURCE_TYPE: COMPOSITE, "job": "<é&>"})
    parts, counts = parts_at(tmp_path, rate, [9, 4]), [9, 4]
    speech = str(sound(tmp_path / "speech.wav", tone(0.5), 22050))
    plain, marked = str(tmp_path / f"plain.{suffix}"), str(tmp_path / f"marked.{suffix}")
    tags = {"comment": "Synthetic media"}
    assemble(parts, counts, rate, plain, speech, tags)
    assemble(parts, counts, rate, marked, speech, tags | ({MKV_TAG: made.decode()} if suffix == "mkv" else {}))
    if suffix != "mkv":
        place_xmp(marked, made)
    assert (read_xmp(plain), read_xmp(marked)) == (b"", made)
    check_output(marked, 13, rate)
    assert packets(marked) == packets(plain)
    data = Path(marked).read_bytes()
    if suffix == "mp4":
        assert next(one for one in boxes(data, b"uuid") if one[16:] == made)[:4].hex() == "be7acfcb"
    elif suffix == "mov":
        assert boxes(data, b"moov", b"udta", b"XMP_") == [made]
        assert data.index(b"moov") < data.index(b"mdat")  # it still starts to play before it has arrived
    done = subprocess.run(
        [ffmpeg_program(), "-v", "error", "-i", marked, "-f", "null", "-"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def packets(path: str) -> list[tuple[int | None, bytes]]:
    with av.open(path) as film:
        return [(packet.pts, bytes(packet)) for packet in film.demux() if packet.size]


def test_reading_what_is_no_film(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"\0" * 20, b"\x1aE\xdf\xa3" + b"\0" * 20, b"\0\0\0\x08moov" * 3)):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(content)
        assert read_xmp(str(path)) == b""
