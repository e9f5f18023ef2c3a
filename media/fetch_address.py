"""Which network addresses may be connected to. A name is resolved once, all its addresses are checked, and the
connection goes to a checked address, so that a later answer of the name server makes no difference.

The lists follow the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and its updates). They are written out
because the standard library's `is_global` differs between Python releases and calls multicast global.
"""

from __future__ import annotations

import ipaddress
import socket

from raydub.errors import Code, InputError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_WAY_OUT = "use a public host; for a server of your own pass --allow-private"

# Always refused: metadata servers of clouds hand out credentials, the others are not host addresses.
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for itself
        "169.254.0.0/16",  # link-local, with 169.254.169.254
        "168.63.129.16/32",  # Azure's platform server, a public address by its number
        "100.100.100.200/32",  # Alibaba's metadata
        "192.0.0.0/24",  # protocol assignments, with Oracle's metadata
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, with broadcast
        "::/128",
        "fe80::/10",  # link-local
        "fd00:ec2::/32",  # Amazon's metadata
        "fd20:ce::/32",  # Google's metadata
        "ff00::/8",  # multicast
    )
)
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.0.2.0/24",  # documentation, as are the two below
        "198.51.100.0/24",
        "203.0.113.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",  # benchmarks
        "2001::/23",  # protocol assignments, with Teredo
        "2001:db8::/32",
        "3fff::/20",
        "2620:4f:8000::/48",
    )
)
_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_COMPATIBLE = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("::ffff:0:0:0/96"))
_ISATAP = (0x00005EFE, 0x02005EFE)


def refused(address: Address, allow_private: bool) -> str:
    """Why this address must not be connected to, "" if it may. An IPv6 address with an embedded IPv4 address is checked
    as both."""
    if getattr(address, "scope_id", None):
        return "an address with a zone"
    if any(address in network for network in _NEVER if network.version == address.version):
        return "a link-local, metadata or reserved address"
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return refused(inner, allow_private)
        outside = address not in _UNICAST
    else:
        outside = False
    if outside or any(address in network for network in _PRIVATE if network.version == address.version):
        return "" if allow_private else "a private or local address"
    return ""


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside: mapped, compatible, translated, NAT64, 6to4 or ISATAP; None for ::1 and all others."""
    number = int(address)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if number > 1 and any(address in network for network in (*_COMPATIBLE, *_NAT64)):
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address((number >> 80) & 0xFFFFFFFF)
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    return None


def check_literal(host: str, allow_private: bool) -> None:
    """Check a host without resolving it: addresses, and names of this machine. Raises InputError URI_DENIED; other
    names pass."""
    if host == "localhost" or host.endswith(".localhost"):
        reason = "" if allow_private else "this machine"
    else:
        try:
            reason = refused(ipaddress.ip_address(host), allow_private)
        except ValueError:
            return
    if reason:
        raise _denied(host, reason)


def resolve(host: str, port: int, allow_private: bool) -> list[str]:
    """The addresses of `host`, all of them checked, in the resolver's order.

    One refused address refuses the name: public and private addresses together are the sign of an attack, or of a
    network that needs --allow-private. Raises InputError URI_DENIED, OSError (socket.gaierror) if the name does not
    resolve.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    texts = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not texts:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    for text in texts:
        try:
            reason = refused(ipaddress.ip_address(text), allow_private)
        except ValueError:
            reason = "no address"
        if reason:
            raise _denied(host, reason)
    return texts


def _denied(host: str, reason: str) -> InputError:
    # The resolved address is not shown, so that errors cannot be used to map a private network.
    return InputError(Code.URI_DENIED, f"{host} is or resolves to {reason}", hint=_WAY_OUT)
