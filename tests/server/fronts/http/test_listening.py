"""Addresses that the HTTP front takes."""

import socket

import pytest

from gemwire_server.fronts.http.listening import bind


def test_a_host_with_two_addresses_is_bound_on_both(monkeypatch: pytest.MonkeyPatch) -> None:
    two = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0))
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: two)
    sockets, address = bind("localhost:0", share_port=False)
    port = int(address.removeprefix("localhost:"))
    found = [each.getsockname() for each in sockets]
    for each in sockets:
        each.close()
    assert found == [("127.0.0.1", port), ("127.0.0.2", port)]


def test_an_address_that_this_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
    here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [missing, here])
    (made,), _ = bind("localhost:0", share_port=False)
    made.close()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [missing])
    with pytest.raises(OSError, match="cannot listen on localhost:0 for HTTP"):
        bind("localhost:0", share_port=False)


def test_a_taken_address_is_an_error_unless_it_is_shared() -> None:
    (first,), address = bind("127.0.0.1:0", share_port=True)
    first.listen()
    (second,), again = bind(address, share_port=True)
    assert again == address
    second.close()
    with pytest.raises(OSError, match=f"cannot listen on {address} for HTTP: Address already"):
        bind(address, share_port=False)
    first.close()


def test_a_name_that_no_service_has_is_an_error() -> None:
    with pytest.raises(OSError, match=r"cannot listen on a\.invalid:0 for HTTP"):
        bind("a.invalid:0", share_port=False)
