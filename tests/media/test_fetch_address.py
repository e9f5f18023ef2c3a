"""Where a fetch may lead: nowhere private, however the address is spelled, resolved or redirected."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, InputError, RaydubError, UsageError
from raydub.media.fetch import fetch
from raydub.media.fetch_address import refused
from raydub.media.fetch_policy import FetchPolicy, allowed_schemes
from raydub.media.fetch_uri import parse_uri, redact
from tests.media.web import OPEN, OWN, Request, Web, serving

PUBLIC = "93.184.215.14"


def code_of(url: str, policy: FetchPolicy = OPEN) -> Code:
    with pytest.raises(InputError) as found:
        parse_uri(url, policy)
    return found.value.code


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
        *("198.18.0.1", "192.0.2.1", "203.0.113.7", "192.88.99.1", "::1", "fc00::1", "fd12:3456::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:192.168.0.1", "64:ff9b::10.0.0.1"),
        *("64:ff9b:1::7f00:1", "2002:7f00:1::1", "2002:c0a8:101::", "2001:0:4136:e378::", "fec0::1", "4000::1"),
        *("2606:4700::5efe:10.0.0.1", "100::1", "5f00::1", "3fff::1"),
    ],
)
def test_private_addresses_need_leave(address: str) -> None:
    one = ipaddress.ip_address(address)
    assert refused(one, allow_private=False)
    assert not refused(one, allow_private=True)


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "0.0.0.0", "0.1.2.3"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "fe80::1", "fe80::1%1", "ff02::1"),
        *("fd00:ec2::254", "fd20:ce::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"),
        *("::169.254.169.254", "::ffff:0.0.0.0"),
    ],
)
def test_some_addresses_are_never_spoken_to(address: str) -> None:
    one = ipaddress.ip_address(address)
    assert refused(one, allow_private=True)
    assert refused(one, allow_private=False)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", PUBLIC, "2606:4700:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8", "2002:808:808::1"]
)
def test_public_addresses(address: str) -> None:
    assert not refused(ipaddress.ip_address(address), allow_private=False)


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_alike_in_all_its_ipv6_dresses(number: int) -> None:
    plain = refused(ipaddress.IPv4Address(number), allow_private=False)
    for high in (0xFFFF << 32, 0x64FF9B << 96, 0x64FF9B0001 << 80):
        assert bool(refused(ipaddress.IPv6Address(high | number), allow_private=False)) == bool(plain)
    assert bool(refused(ipaddress.IPv6Address(0x2002 << 112 | number << 80 | 1), False)) == bool(plain)


@given(st.ip_addresses())
def test_nothing_passes_that_the_standard_library_calls_local(address: Any) -> None:
    if not refused(address, allow_private=False) and getattr(address, "ipv4_mapped", None) is None:
        assert not any((address.is_loopback, address.is_link_local, address.is_multicast, address.is_unspecified))
        assert address.is_global or getattr(address, "sixtofour", None) is not None


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://127.0.0.1/a", Code.URI_DENIED),
        ("https://127.0.0.1:8443/a", Code.URI_DENIED),
        ("https://localhost/a", Code.URI_DENIED),
        ("https://LOCALHOST./a", Code.URI_DENIED),
        ("https://a.localhost/a", Code.URI_DENIED),
        ("https://2130706433/a", Code.URI_DENIED),
        ("https://0x7f000001/a", Code.URI_DENIED),
        ("https://0x7f.1/a", Code.URI_DENIED),
        ("https://127.1/a", Code.URI_DENIED),
        ("https://0177.0.0.1/a", Code.URI_DENIED),
        ("https://127.0.0.1./a", Code.URI_DENIED),
        ("https://0/a", Code.URI_DENIED),
        ("https://127.0.0.0x1/a", Code.URI_DENIED),
        ("https://[::1]/a", Code.URI_DENIED),
        ("https://[::ffff:7f00:1]/a", Code.URI_DENIED),
        ("https://[0:0:0:0:0:0:0:1]:443/a", Code.URI_DENIED),
        ("https://169.254.169.254/latest/meta-data/", Code.URI_DENIED),
        ("https://[fe80::1%25eth0]/a", Code.FIELD_VALUE),
        ("https://public.example@127.0.0.1/a", Code.FIELD_VALUE),
        ("https://user:word@public.example/a", Code.FIELD_VALUE),
        ("https://public.example\\@127.0.0.1/a", Code.FIELD_VALUE),
        ("https://public.example\\.evil/a", Code.FIELD_VALUE),
        ("https://public.example:80:443/a", Code.FIELD_VALUE),
        ("https://public.example:0/a", Code.FIELD_VALUE),
        ("https://public.example:65536/a", Code.FIELD_VALUE),
        ("https://public.example:/a", Code.FIELD_VALUE),
        ("https:///a", Code.FIELD_VALUE),
        ("https://./a", Code.FIELD_VALUE),
        ("https://a..b/a", Code.FIELD_VALUE),
        ("https://%31%32%37.0.0.1/a", Code.URI_DENIED),
        ("https://public%2eexample/a", Code.FIELD_VALUE),
        ("https://１２７.0.0.1/a", Code.FIELD_VALUE),
        ("https://127。0。0。1/a", Code.FIELD_VALUE),
        ("https://ⓛocalhost/a", Code.FIELD_VALUE),
        ("https://public.example/a\r\nHost: evil", Code.FIELD_VALUE),
        ("https://public.example/a\x00", Code.FIELD_VALUE),
        ("https://public.example\t/a", Code.FIELD_VALUE),
        ("https://public.example/\ud800", Code.FIELD_VALUE),
        ("https://public.example/" + "a" * 9000, Code.FIELD_VALUE),
        ("https://" + "a" * 64 + ".example/", Code.FIELD_VALUE),
        ("ftp://public.example/a", Code.URI_SCHEME),
        ("gopher://public.example/a", Code.URI_SCHEME),
        ("s3://bucket/a", Code.URI_SCHEME),
        ("gs://bucket/a?endpoint_override=http://127.0.0.1", Code.URI_SCHEME),
        ("file:///etc/passwd", Code.URI_SCHEME),
        ("concat://a|b", Code.URI_SCHEME),
    ],
)
def test_spellings_that_are_refused(url: str, code: Code) -> None:
    assert code_of(url) is code


def test_plain_http_needs_leave() -> None:
    assert code_of("http://public.example/a", FetchPolicy()) is Code.URI_SCHEME
    assert code_of("https://public.example/a", FetchPolicy(schemes=())) is Code.URI_SCHEME
    assert parse_uri("HTTP://public.example/a", OPEN).scheme == "http"


def test_what_is_asked_is_what_was_checked() -> None:
    uri = parse_uri("HTTPS://Public.Example.:8443/ä b/../x.mp4?sig=a%2Fb+c#frag", OPEN)
    assert (uri.scheme, uri.host, uri.port) == ("https", "public.example", 8443)
    assert uri.target == "/%C3%A4%20b/../x.mp4?sig=a%2Fb+c"
    assert uri.authority == "public.example:8443"
    assert "sig" not in uri.shown
    assert parse_uri("https://public.example", OPEN).target == "/"
    assert parse_uri("https://[2606:4700::1111]/", OPEN).authority == "[2606:4700::1111]"


@given(st.text(max_size=60), st.sampled_from(["https://", "http://", "HTTPS://", "https:/", ""]))
def test_no_text_breaks_the_reader_or_leaks(text: str, start: str) -> None:
    try:
        uri = parse_uri(f"{start}{text}?token=hunter2", OPEN)
    except InputError as error:
        assert "hunter2" not in str(error)
        return
    assert uri.host.isascii()
    assert not set(uri.host) & set("@/\\?# \r\n\t%")
    assert uri.target.isascii()
    assert not set(uri.target) & set(" \r\n\t\\#")
    assert "hunter2" not in uri.shown


@given(st.sampled_from(["user:hunter2@", "hunter2@", ""]), st.sampled_from(["?k=hunter2", "#hunter2", ""]))
def test_redacted_addresses_hold_no_secret(user: str, query: str) -> None:
    said = redact(f"https://{user}public.example/a.mp4{query}")
    assert said.startswith("https://public.example/a.mp4")
    assert "hunter2" not in said
    assert redact("/clips/a?b.mp4") == "/clips/a?b.mp4"
    assert "hunter2" not in redact(f"s3://{user or 'hunter2@'}films/a.mp4{query}")
    assert redact("s3://films/a@b?c#d.mp4") == "s3://films/a@b?c#d.mp4"


def test_schemes_from_words() -> None:
    assert allowed_schemes([]) == ("https",)
    assert allowed_schemes([" HTTP ", "", "file"]) == ("https", "http")
    assert allowed_schemes(["http", "none"]) == ()
    with pytest.raises(UsageError) as found:
        allowed_schemes(["s3"])
    assert found.value.code is Code.URI_SCHEME
    for said in ({}, {"RAYDUB_ALLOW_SCHEMES": "http", "RAYDUB_ALLOW_PRIVATE": "1"}, {"RAYDUB_ALLOW_SCHEMES": "none"}):
        policy = FetchPolicy.from_environment(said)
        assert FetchPolicy.from_words(policy.words()) == policy
        assert policy.allow_private == ("RAYDUB_ALLOW_PRIVATE" in said)


def answers(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[list[str]]]) -> list[str]:
    """A resolver that knows `names` and answers with the next list each time, the last one for ever; returns the list
    of the names that it was asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        found = names.get(host, [[host]])
        now = found.pop(0) if len(found) > 1 else found[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in now]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def dials(monkeypatch: pytest.MonkeyPatch, web: Web) -> list[str]:
    """The server plays PUBLIC; returns the list of the addresses that are connected to. Others get no connection."""
    dialled: list[str] = []

    def dial(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        dialled.append(address[0])
        if address[0] != PUBLIC:
            raise ConnectionRefusedError(111, "Connection refused")
        wire = socket.socket()
        wire.connect(("127.0.0.1", web.port))
        return wire

    monkeypatch.setattr(urllib3.util.connection, "create_connection", dial)
    return dialled


@contextmanager
def canary() -> Iterator[Web]:
    """A server that nobody may ask."""
    with serving(lambda request: request.send(200, b"internal")) as web:
        yield web
    assert web.hits == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "127.1", "0.0.0.0"])
def test_nobody_asks_this_machine_without_leave(tmp_path: Path, host: str) -> None:
    with canary() as web, pytest.raises(InputError) as found:
        fetch(f"http://{host}:{web.port}/a.mp4", tmp_path, OPEN)
    assert found.value.code is Code.URI_DENIED


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1"])
def test_names_that_lead_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with canary() as web:
        dialled = dials(monkeypatch, web)
        for answer in ([address], [PUBLIC, address], [address, PUBLIC]):
            answers(monkeypatch, {"inside.example": [answer]})
            with pytest.raises(InputError) as found:
                fetch(f"http://inside.example:{web.port}/a.mp4", tmp_path, OPEN)
            assert found.value.code is Code.URI_DENIED
            assert address not in str(found.value)
        assert dialled == []


def test_a_name_is_asked_for_once_and_its_answer_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: whoever resolves a second time to connect would land inside."""
    with serving(lambda request: request.send(200, b"public film")) as web:
        dialled = dials(monkeypatch, web)
        asked = answers(monkeypatch, {"turning.example": [[PUBLIC], ["127.0.0.1"]]})
        path = fetch("http://turning.example/a.mp4", tmp_path, OPEN).path
        assert Path(path).read_bytes() == b"public film"
        assert (asked, dialled) == (["turning.example"], [PUBLIC])
        assert web.hits[0][1]["host"] == "turning.example"


def test_a_name_that_turns_between_two_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda request: request.send(503)) as web:
        dialled = dials(monkeypatch, web)
        answers(monkeypatch, {"turning.example": [[PUBLIC], ["127.0.0.1"]]})
        with pytest.raises(InputError) as found:
            fetch("http://turning.example/a.mp4", tmp_path, OPEN, sleep=lambda _: None)
        assert found.value.code is Code.URI_DENIED
        assert dialled == [PUBLIC]


def test_the_next_address_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda request: request.send(200, b"film")) as web:
        dialled = dials(monkeypatch, web)
        answers(monkeypatch, {"two.example": [["93.184.215.99", PUBLIC]]})
        fetch("http://two.example/a.mp4", tmp_path, OPEN)
        assert dialled == ["93.184.215.99", PUBLIC]


@pytest.mark.parametrize(
    ("error", "tries", "words"),
    [(socket.EAI_NONAME, 1, "does not resolve"), (socket.EAI_AGAIN, OPEN.tries, "does not resolve at the moment")],
)
def test_names_that_do_not_resolve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, tries: int, words: str
) -> None:
    asked = []

    def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(error, "told so")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(InputError) as found:
        fetch("https://nowhere.example/a.mp4?k=hunter2", tmp_path, OPEN, sleep=lambda _: None)
    assert found.value.code is Code.FETCH_FAILED
    assert words in found.value.message
    assert "hunter2" not in str(found.value)
    assert len(asked) == tries


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://127.0.0.1:{port}/", Code.URI_DENIED),
        ("http://localhost:{port}/", Code.URI_DENIED),
        ("//127.0.0.1:{port}/", Code.URI_DENIED),
        ("http://2130706433:{port}/", Code.URI_DENIED),
        ("http://[::1]:{port}/", Code.URI_DENIED),
        ("http://169.254.169.254/latest/meta-data/", Code.URI_DENIED),
        ("http://inside.example:{port}/", Code.URI_DENIED),
        ("http://public.example@127.0.0.1:{port}/", Code.FETCH_FAILED),
        ("http://127.0.0.1:{port}\\@public.example/", Code.URI_DENIED),
        ("file:///etc/passwd", Code.URI_SCHEME),
        ("ftp://public.example/a", Code.URI_SCHEME),
        ("gopher://127.0.0.1:{port}/_x", Code.URI_SCHEME),
        ("javascript:alert(1)", Code.FETCH_FAILED),
        ("http://[::1", Code.URI_DENIED),
    ],
)
def test_redirects_are_judged_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, code: Code) -> None:
    with canary() as inside:

        def answer(request: Request) -> None:
            request.send(302, b"", {"Location": location.format(port=inside.port)})

        with serving(answer) as web:
            dialled = dials(monkeypatch, web)
            answers(monkeypatch, {"public.example": [[PUBLIC]], "inside.example": [["10.0.0.5"]]})
            with pytest.raises(InputError) as found:
                fetch("http://public.example/a.mp4?k=hunter2", tmp_path, OPEN)
            assert found.value.code is code
            assert "hunter2" not in str(found.value)
            assert (dialled, len(web.hits)) == ([PUBLIC], 1)


def test_metadata_is_out_of_reach_even_with_leave(tmp_path: Path) -> None:
    with serving(lambda request: request.send(302, b"", {"Location": "http://169.254.169.254/"})) as web:
        with pytest.raises(InputError) as found:
            fetch(web.url(), tmp_path, OWN)
        assert found.value.code is Code.URI_DENIED


def test_good_redirects_are_followed_to_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: Request) -> None:
        steps = int(request.path.rpartition("/")[2])
        if steps:
            request.send(307, b"moved", {"Location": f"../x/{steps - 1}"})
        else:
            request.send(200, b"film")

    with serving(answer) as web:
        dials(monkeypatch, web)
        answers(monkeypatch, {"public.example": [[PUBLIC]]})
        assert Path(fetch("http://public.example/x/5", tmp_path, OPEN).path).read_bytes() == b"film"
        with pytest.raises(InputError) as found:
            fetch("http://public.example/x/6", tmp_path, OPEN)
        assert found.value.code is Code.FETCH_FAILED
        assert "redirects" in found.value.message


def test_proxies_of_the_environment_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with canary() as proxy, serving(lambda request: request.send(200, b"film")) as web:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        fetch(web.url(), tmp_path, OWN)
        assert len(web.hits) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """(certificate, key) for localhost, made here and now."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl program to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    made = [str(folder / "cert.pem"), str(folder / "key.pem")]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-out", made[0], "-keyout", made[1]]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return made[0], made[1]


@pytest.fixture
def safe(certificate: tuple[str, str]) -> Callable[..., Any]:
    """serving() for https."""

    def start(answer: Callable[[Request], None]) -> Any:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        return serving(answer, context)

    return start


def test_certificates_are_verified_against_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, safe: Any, certificate: tuple[str, str]
) -> None:
    with safe(lambda request: request.send(200, b"film")) as web:
        by_name = f"https://localhost:{web.port}/a.mp4"
        with pytest.raises(RaydubError) as found:
            fetch(by_name, tmp_path, OWN)
        assert found.value.code is Code.FETCH_FAILED
        assert "certificate" in found.value.message
        monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
        assert Path(fetch(by_name, tmp_path, OWN).path).read_bytes() == b"film"
        # Trusted, but not for this name.
        with pytest.raises(RaydubError) as found:
            fetch(f"https://127.0.0.1:{web.port}/a.mp4", tmp_path, OWN)
        assert found.value.code is Code.FETCH_FAILED
        assert len(web.hits) == 1


def test_there_is_no_way_back_from_https_to_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, safe: Any, certificate: tuple[str, str]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
    with canary() as plain, safe(lambda request: request.send(301, b"", {"Location": plain.url()})) as web:
        with pytest.raises(InputError) as found:
            fetch(f"https://localhost:{web.port}/a.mp4", tmp_path, OWN)
        assert found.value.code is Code.URI_DENIED
        assert "https to http" in found.value.message


def test_a_handshake_that_never_ends_is_cut_off(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        policy = replace(OWN, connect_seconds=0.2, idle_seconds=0.2, tries=1)
        with pytest.raises(RaydubError) as found:
            fetch(f"https://127.0.0.1:{silent.getsockname()[1]}/a.mp4", tmp_path, policy)
        assert found.value.code is Code.FETCH_FAILED
