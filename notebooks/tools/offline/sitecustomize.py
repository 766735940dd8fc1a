"""Refuse and record connections beyond this machine.

Python imports a module of this name at start-up, so putting this folder on `PYTHONPATH` guards a
process and every Python process that it starts. What libraries do in C is not seen.
"""

import ipaddress
import os
import sys

RESOLVE = {"socket.getaddrinfo", "socket.gethostbyname"}  # host first
CONNECT = {"socket.connect", "socket.sendto"}  # socket first, then the address


def beyond(host: object) -> bool:
    """Whether a host is another machine than this one."""
    name = host.decode() if isinstance(host, bytes) else host
    if not isinstance(name, str) or name in {"", "localhost"}:  # None and "" stand for this machine
        return False
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return True
    return not (address.is_loopback or address.is_unspecified)


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook: raise where a connection leaves this machine, and write the host down.

    Libraries swallow network errors, so the record counts, not the exception.
    """
    if event in RESOLVE:
        host = arguments[0]
    elif event in CONNECT and isinstance(
        arguments[1], tuple
    ):  # a Unix socket's address is no tuple
        host = arguments[1][0]
    else:
        return
    if beyond(host):
        with open(os.environ["MEDR1_CONNECTIONS"], "a", encoding="utf-8") as record:  # noqa: PTH123
            record.write(f"{host}\n")
        raise ConnectionRefusedError(f"the course runs offline, but {event} asked for {host}")


if "MEDR1_CONNECTIONS" in os.environ:
    sys.addaudithook(refuse)
