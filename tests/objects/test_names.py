from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raydub.errors import Code, UsageError
from raydub.objects.names import KEY_BYTES, base_name, is_object, join, parent, parse, prefix

_KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=40)


def _valid(text: str) -> bool:
    try:
        parse(text)
    except UsageError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "bucket", "key", "canonical"),
    [
        ("s3://films/a.mp4", "films", "a.mp4", "s3://films/a.mp4"),
        ("S3://films/a b/ü 😀.mp4", "films", "a b/ü 😀.mp4", "s3://films/a b/ü 😀.mp4"),
        ("gs://films_1.x/a?b#c%20d", "films_1.x", "a?b#c%20d", "gs://films_1.x/a?b#c%20d"),
        ("Gs://films/...", "films", "...", "gs://films/..."),
        ("s3://films/" + "é" * (KEY_BYTES // 2), "films", "é" * (KEY_BYTES // 2), None),
        ("s3://films/a@b:c\\d", "films", "a@b:c\\d", "s3://films/a@b:c\\d"),
    ],
)
def test_names_are_taken_as_they_are(text: str, bucket: str, key: str, canonical: str | None) -> None:
    name = parse(text)
    assert (name.bucket, name.key, name.text) == (bucket, key, canonical or text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("films/a.mp4", "not a name in a bucket"),
        ("https://films/a.mp4", "not a name in a bucket"),
        ("s3://", "no bucket"),
        ("s3:///a", "no bucket"),
        ("s3://films", "no object in it"),
        ("s3://films/", "no object in it"),
        ("s3://Films/a", "bucket name"),
        ("s3://fi/a", "bucket name"),
        ("s3://" + "f" * 64 + "/a", "bucket name"),
        ("s3://1.2.3.4/a", "bucket name"),
        ("s3://a..b/a", "bucket name"),
        ("s3://films?x/a", "bucket name"),
        ("s3://films/a//b", "empty step"),
        ("s3://films//b", "empty step"),
        ("s3://films/b/", "empty step"),
        ("s3://films/../b", "'..'"),
        ("s3://films/a/./b", "'.'"),
        ("s3://films/a\nb", "U+000A"),
        ("s3://films/a\x7fb", "U+007F"),
        ("s3://films/a\u202eb", "U+202E"),
        ("s3://films/a\u2028b", "U+2028"),
        ("s3://films/\udce9", "UTF-8"),
        ("s3://films/" + "é" * 513, "1026 bytes"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=r".") as caught:
        parse(text, "video")
    assert caught.value.code is Code.FIELD_VALUE
    assert caught.value.field == "video"
    assert said in caught.value.message
    caught.value.message.encode()


@pytest.mark.parametrize("text", ["s3://AKIAX:hunter22@films/a", "s3://films:9000/a", "s3://hunter22@films/a"])
def test_passwords_in_names_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert "hunter22" not in str(caught.value)
    assert "environment" in caught.value.hint


def test_folders() -> None:
    assert prefix("S3://films/") == prefix("s3://films") == "s3://films"
    assert prefix("s3://films/a/b//") == "s3://films/a/b"
    assert join("s3://films/", "a/b") == "s3://films/a/b"
    assert parent("s3://films/a/b") == "s3://films/a"
    assert parent("s3://films/a") == parent("s3://films") == "s3://films"
    assert base_name("gs://films/a/b") == "b"
    assert base_name("gs://films") == ""
    for relative in ("", "/a", "a/", "../a", "a/../../b"):
        with pytest.raises(UsageError):
            join("s3://films/a", relative)


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_a_usage_error(text: str) -> None:
    for whole in (text, f"s3://{text}", f"gs://films/{text}"):
        if is_object(whole) and _valid(whole):
            name = parse(whole)
            assert parse(name.text) == name
            assert prefix(name.text + "/") == name.text
        else:
            with pytest.raises(UsageError):
                parse(whole)


@given(_KEYS, _KEYS)
def test_join_is_undone_by_parent_and_base_name(folder: str, base: str) -> None:
    assume("/" not in base and _valid(f"s3://films/{folder}/{base}"))
    whole = join(f"s3://films/{folder}", base)
    assert (parent(whole), base_name(whole)) == (f"s3://films/{folder}", base)


@given(_KEYS)
def test_the_client_takes_every_valid_key_as_it_is(key: str) -> None:
    from obstore.store import MemoryStore

    assume(_valid(f"s3://films/{key}"))
    store = MemoryStore()
    store.put(key, b"")
    assert store.head(key)["path"] == key
