"""Clusters and prices as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, UsageError
from raydub.pipeline.capacity import Group, Prices, hosts_of, parse_cluster, parse_prices
from raydub.pipeline.simulated import Host

GROUPS = st.lists(
    st.one_of(
        st.builds(Group, st.integers(0, 3000), st.integers(1, 4096)),
        st.builds(
            Group,
            st.integers(0, 3000),
            st.integers(1, 4096),
            st.integers(1, 64),
            st.sampled_from(["H100", "L40S", "A-1"]),
        ),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda group: group.node,
).filter(lambda groups: any(group.count for group in groups))


@given(GROUPS)
def test_what_is_written_is_read(groups: list[Group]) -> None:
    assert parse_cluster(",".join(map(str, groups))) == tuple(groups)


def test_what_the_forms_mean() -> None:
    assert parse_cluster("8xH100:16cpu") == (Group(8, 16, 1, "H100"),)
    assert parse_cluster("2x8xh100:128cpu, 4x64cpu") == (Group(2, 128, 8, "H100"), Group(4, 64))
    assert parse_cluster("1x2cpu,3x4cpu,2x2cpu") == (Group(3, 2), Group(3, 4))
    assert hosts_of(parse_cluster("1xL4:8cpu,2x4cpu,0x1cpu")) == [Host(8, 1, "L4"), Host(4), Host(4)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "group 1, ''"),
        ("H100:16cpu", "group 1, 'H100:16cpu': a group begins with the number"),
        ("8xH100", "the cores of a node are missing, as in 8xH100:16cpu"),
        ("8x16cpu,", "group 2, ''"),
        ("8x16cpu,2xH100:cpu", "group 2, '2xH100:cpu': 'H100:cpu' is not a node"),
        ("8xH100:16", "'H100:16' is not a node"),
        ("8x0xH100:16cpu", "a node with GPUs has 1 to 64"),
        ("8x0cpu", "a node has 1 to 4096 cores"),
        ("8x5000cpu", "a node has 1 to 4096 cores"),
        ("0x16cpu", "has 0 nodes"),
        ("20001x1cpu", "more than 20000 nodes"),
        ("-1x1cpu", "group 1"),
        ("1.5x1cpu", "group 1"),
        ("1x1cpu;2x1cpu", "is not a node"),
        ("8xH100:16cpu\n", None),
        ("٣x4cpu", "group 1"),
        ("0xH100", "the cores of a node are missing"),
        ("1e9xH100:16cpu", "group 1"),
        ("8xH100:0cpu", "1 to 4096 cores"),
        pytest.param("9" * 5000 + "xH100:16cpu", "group 1", id="digits"),
        pytest.param("1x" + "9" * 5000 + "cpu", "group 1", id="digits of cores"),
        pytest.param("1x" + "9" * 5000 + "xH100:1cpu", "group 1", id="digits of GPUs"),
    ],
)
def test_errors_name_the_place(text: str, says: str | None) -> None:
    if says is None:
        assert parse_cluster(text) == (Group(8, 16, 1, "H100"),)
        return
    with pytest.raises(UsageError) as caught:
        parse_cluster(text)
    assert (caught.value.code, caught.value.field) == (Code.FIELD_VALUE, "--cluster")
    assert says in caught.value.message
    assert "8xH100:16cpu is 8 nodes" in caught.value.hint


@given(st.text("0123456789xXcpuH:,. -٣", max_size=30))
def test_any_text_is_a_cluster_or_an_error(text: str) -> None:
    try:
        groups = parse_cluster(text)
    except UsageError:
        return
    assert parse_cluster(",".join(map(str, groups))) == groups


def test_prices() -> None:
    cluster = parse_cluster("2x8xH100:128cpu,4xL4:8cpu,10x64cpu")
    prices = parse_prices("gpu=2,cpu=0.04, node = 1,h100=3", cluster)
    assert prices == Prices(gpu=2.0, cpu=0.04, node=1.0, types={"H100": 3.0})
    assert prices.per_hour(cluster) == pytest.approx(16 + 16 * 3 + 4 * 2 + 0.04 * (256 + 32 + 640))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "item 1, '' is not NAME=NUMBER"),
        ("gpu", "item 1, 'gpu' is not"),
        ("gpu=2,cpu=x", "item 2, 'cpu=x' is not"),
        ("gpu=-1", "item 1, 'gpu=-1'"),
        ("gpu=inf", "item 1"),
        ("gpu=nan", "item 1"),
        ("gpu=1,GPU=2", "item 2, 'GPU=2': GPU is priced twice"),
        ("L4=1", "item 1, 'L4=1': L4 is none of gpu, cpu, node, H100"),
    ],
)
def test_wrong_prices_name_the_place(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_prices(text, parse_cluster("1xH100:8cpu"))
    assert (caught.value.code, caught.value.field) == (Code.FIELD_VALUE, "--price")
    assert says in caught.value.message
