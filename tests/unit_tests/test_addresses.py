"""Which URLs and addresses may be named or dialled."""

from __future__ import annotations

import ipaddress
from typing import Any

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from langchain_wan._net.addresses import MAX_URL, RefusedAddressError, Target, check_address, check_dial, parse_target
from tests.support.examples import examples
from tests.support.hostile_input import HOSTILE_URLS

GOOD = {
    "https://example.com/a.png": ("https", "example.com", 443),
    "https://example.com": ("https", "example.com", 443),
    "http://example.com/a.png": ("http", "example.com", 80),
    "https://example.com:443/": ("https", "example.com", 443),
    "http://example.com:80/": ("http", "example.com", 80),
    "HTTPS://EXAMPLE.COM/A.PNG": ("https", "example.com", 443),
    "https://example.com./a.png": ("https", "example.com", 443),
    "https://example.com?x=1": ("https", "example.com", 443),
    "https://example.com#top": ("https", "example.com", 443),
    "https://sub-domain.a1.example.co.uk/": ("https", "sub-domain.a1.example.co.uk", 443),
    "https://under_score.example.com/": ("https", "under_score.example.com", 443),
    "https://1st.example.com/": ("https", "1st.example.com", 443),
    "https://example.com/a%20b.png?x=%2e%2e&y=@z:8080#a@b": ("https", "example.com", 443),
    "https://example.com/@user/a.png": ("https", "example.com", 443),
    "https://example.com//evil.example.org/": ("https", "example.com", 443),
    "https://example.com/фото.png": ("https", "example.com", 443),
    "https://bücher.de/a.png": ("https", "xn--bcher-kva.de", 443),
    "https://例え.jp/": ("https", "xn--r8jz45g.jp", 443),
    "https://münchen.de./": ("https", "xn--mnchen-3ya.de", 443),
    "https://xn--bcher-kva.de/": ("https", "xn--bcher-kva.de", 443),
    "https://8.8.8.8/a.png": ("https", "8.8.8.8", 443),
    "https://1.1.1.1./": ("https", "1.1.1.1", 443),
    "https://[2606:4700:4700::1111]/a.png": ("https", "2606:4700:4700::1111", 443),
    "https://[2606:4700:4700::1111]:443/": ("https", "2606:4700:4700::1111", 443),
    "https://notlocalhost.com/": ("https", "notlocalhost.com", 443),
    "https://local.example.com/": ("https", "local.example.com", 443),
    "https://internal-tools.com/": ("https", "internal-tools.com", 443),
    "https://metadata.example.com/": ("https", "metadata.example.com", 443),
    "https://homecorp.com/": ("https", "homecorp.com", 443),
    "https://10.example.com/": ("https", "10.example.com", 443),
    "https://127.0.0.1.example.com/": ("https", "127.0.0.1.example.com", 443),
    "https://dashscope-result-sh.oss-cn-shanghai.aliyuncs.com/1d/a.png?Expires=1&OSSAccessKeyId=x&Signature=a%2Fb%3D": (
        "https",
        "dashscope-result-sh.oss-cn-shanghai.aliyuncs.com",
        443,
    ),
}


def refused(url: str, **allowed: Any) -> bool:
    """Whether a URL is refused; any other error than ours fails the test."""
    try:
        parse_target(url, **allowed)
    except RefusedAddressError:
        return True
    return False


@pytest.mark.parametrize("url", GOOD)
def test_a_plain_url_of_a_public_host_is_read(url: str) -> None:
    assert parse_target(url) == Target(*GOOD[url])


@pytest.mark.parametrize("group", HOSTILE_URLS)
def test_hostile_urls_are_refused(group: str) -> None:
    assert [url for url in HOSTILE_URLS[group] if not refused(url)] == []


@pytest.mark.parametrize("group", HOSTILE_URLS)
def test_allowing_the_sandbox_allows_nothing_else(group: str) -> None:
    allowed = frozenset({("127.0.0.1", 8765), ("localhost", 8765), ("[::1]", 8765)})
    assert [url for url in HOSTILE_URLS[group] if not refused(url, allowed=allowed)] == []


def test_a_refusal_quotes_nothing_of_the_url() -> None:
    said = set()
    for url in (url for group in HOSTILE_URLS.values() for url in group):
        with pytest.raises(RefusedAddressError) as caught:
            parse_target(url)
        said.add(str(caught.value))
    assert 3 <= len(said) <= 10
    assert all(len(text) < 60 and "://" not in text for text in said)


def test_plain_http_can_be_refused() -> None:
    assert refused("http://example.com/", allow_http=False)
    assert not refused("https://example.com/", allow_http=False)


def test_a_url_may_be_as_long_as_the_limit() -> None:
    start = "https://example.com/"
    assert not refused(start + "a" * (MAX_URL - len(start)))
    assert refused(start + "a" * (MAX_URL - len(start) + 1))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:8765/results/a.png?expires=1", Target("http", "127.0.0.1", 8765)),
        ("http://localhost:8765/", Target("http", "localhost", 8765)),
    ],
)
def test_the_sandbox_is_allowed_at_its_own_host_and_port(url: str, target: Target) -> None:
    allowed = frozenset({("127.0.0.1", 8765), ("localhost", 8765)})
    assert parse_target(url, allowed=allowed) == target
    assert refused(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8766/",
        "http://127.0.0.1/",
        "http://127.0.0.2:8765/",
        "http://127.1:8765/",
        "http://localhost:8765/",
        "http://user@127.0.0.1:8765/",
        "http://127.0.0.1:8765@evil.org/",
        "http://[::1]:8765/",
        "http://[::ffff:127.0.0.1]:8765/",
        "ftp://127.0.0.1:8765/",
    ],
)
def test_nothing_beside_the_sandbox_is_allowed_with_it(url: str) -> None:
    assert refused(url, allowed=frozenset({("127.0.0.1", 8765)}))


# One URL is read in one way


@pytest.mark.parametrize(
    "url",
    [
        *GOOD,
        "https://fa\u00df.de/",
        "https://\u03b2\u03cc\u03bb\u03bf\u03c2.com/",
        "https://exam\u200dple.com/",
        "https://exam\u200bple.com/",
        "https://exam\u00adple.com/",
        "https://\uff45xample.com/",
        "https://\u212a.com/",
        "https://\ufb00.com/",
        "https://\u2102.com/",
        "https://example\u3002com/",
        "https://\u2603.net/",
        "https://xn--fa-hia.de/",
    ],
)
def test_the_http_client_reads_the_same_host(url: str) -> None:
    try:
        target = parse_target(url)
    except RefusedAddressError:
        return
    read = httpx.URL(url)
    assert (read.scheme, read.raw_host.decode().rstrip(".")) == (target.scheme, target.host)
    assert read.port in {None, target.port}
    assert read.userinfo == b""


PIECES = st.sampled_from(
    [
        *("http", "https", "HTTP", "ftp", ":", "://", "/", "//", "\\", "@", "?", "#", ".", "..", "-", "_", "%", "%2e"),
        *(
            "example",
            "com",
            "org",
            "localhost",
            "internal",
            "127.0.0.1",
            "127",
            "0",
            "0x7f",
            "8.8.8.8",
            "[::1]",
            "[",
            "]",
        ),
        *(
            "[2606:4700::1]",
            ":443",
            ":80",
            ":22",
            ":",
            "443",
            "ü",
            "ß",
            "\u3002",
            "\u200d",
            "\u017f",
            "\uff14",
            "\ud800",
        ),
        *(
            "\t",
            "\n",
            " ",
            "\x00",
            "\u2028",
            "xn--",
            "a",
            "user",
            "&",
            ";",
            ",",
            "'",
            '"',
            "*",
            "(",
            "|",
            "^",
            "\u00ad",
        ),
    ]
)
URLS = (
    st.lists(PIECES, max_size=14).map("".join)
    | st.builds(
        "{}://{}{}".format, st.sampled_from(("http", "https")), st.lists(PIECES, max_size=5).map("".join), PIECES
    )
    | st.builds("https://{}.com/{}".format, st.text(st.characters(), max_size=6), st.text(st.characters(), max_size=6))
)


@given(URLS)
@examples(6)
def test_any_text_is_refused_or_read_as_the_http_client_reads_it(url: str) -> None:
    try:
        target = parse_target(url)
    except RefusedAddressError:
        return
    read = httpx.URL(url)
    assert (read.scheme, read.raw_host.decode().rstrip(".")) == (target.scheme, target.host)
    assert target.port in {80, 443}
    assert target.host == target.host.lower()


# Addresses that names resolve to


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.215.14",
        "47.74.0.1",
        "2606:4700:4700::1111",
        "2a00:1450:4001::200e",
        "2400:3200::1",
        "64:ff9b::8.8.8.8",  # through NAT64, as a network without IPv4 sees a public address
        "64:ff9b::2f4a:1",
    ],
)
def test_a_public_address_may_be_dialled(address: str) -> None:
    assert check_address(ipaddress.ip_address(address)) is None  # type: ignore[func-returns-value]  # it did not raise


INTERNAL = [
    *("0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1"),  # noqa: S104  nothing is bound
    *("127.255.255.255", "169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.192"),
    *("192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1"),
    *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
    *("::", "::1", "::2", "::127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:10.0.0.1", "64:ff9b::1", "64:ff9b:1::1", "100::1"),
    *("64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::168.63.129.16"),
    *("64:ff9b::8.8.8.8%eth0", "64:ff9b:1::8.8.8.8"),
    *("2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002::1", "3ffe::1", "3fff::1", "5f00::1"),
    *("2620:4f:8000::1", "4000::1", "fc00::1", "fdff::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
    *("2606:4700::5efe:a00:1", "2606:4700::200:5efe:808:808", "2606:4700::1%eth0"),
]


@pytest.mark.parametrize("address", INTERNAL)
def test_an_address_that_is_not_public_is_not_dialled(address: str) -> None:
    with pytest.raises(RefusedAddressError):
        check_address(ipaddress.ip_address(address))


@given(st.ip_addresses())
@examples(5)
def test_what_the_standard_library_calls_internal_is_never_dialled(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assume(address not in ipaddress.ip_network("64:ff9b::/96"))  # judged by the IPv4 address inside
    special = address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
    if special or address.is_reserved or address.is_unspecified:
        with pytest.raises(RefusedAddressError):
            check_address(address)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        *(("10.1.2.3", "10.1.0.0/16"), ("127.0.0.1", "127.0.0.1/32"), ("fd00::5", "fd00::/8"), ("::1", "::1/128")),
        ("64:ff9b::10.1.2.3", "10.1.0.0/16"),
    ],
)
def test_an_internal_network_can_be_allowed(address: str, network: str) -> None:
    allowed = (
        ipaddress.ip_network("192.168.0.0/24"),
        ipaddress.ip_network("2001:db8::/32"),
        ipaddress.ip_network(network),
    )
    assert check_address(ipaddress.ip_address(address), allowed=allowed) is None  # type: ignore[func-returns-value]
    with pytest.raises(RefusedAddressError):
        check_address(ipaddress.ip_address(address), allowed=allowed[:2])


@pytest.mark.parametrize("address", ["10.1.2.3", "64:ff9b::10.1.2.3"])
def test_an_allowed_network_may_be_dialled_on_any_port_through_nat64_too(address: str) -> None:
    allowed = (ipaddress.ip_network("10.1.0.0/16"),)
    assert check_dial(ipaddress.ip_address(address), 8000, allowed=allowed) is None  # type: ignore[func-returns-value]
    with pytest.raises(RefusedAddressError):
        check_dial(ipaddress.ip_address(address), 8000)


@pytest.mark.parametrize("address", ["8.8.8.8", "64:ff9b::8.8.8.8"])
def test_a_public_address_may_be_dialled_on_the_ports_of_web_servers_only(address: str) -> None:
    allowed = (ipaddress.ip_network("10.1.0.0/16"),)
    assert check_dial(ipaddress.ip_address(address), 443, allowed=allowed) is None  # type: ignore[func-returns-value]
    with pytest.raises(RefusedAddressError, match="only ports 80 and 443"):
        check_dial(ipaddress.ip_address(address), 8000, allowed=allowed)


def test_a_nat64_address_with_a_public_ipv4_address_may_stand_in_a_url() -> None:
    assert parse_target("https://[64:ff9b::8.8.8.8]/a.png").host == "64:ff9b::8.8.8.8"
