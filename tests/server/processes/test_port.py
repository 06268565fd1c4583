"""A port is held for processes that share it, and against those that do not."""

import socket

import pytest

from gemwire_server.processes.port import HeldPort


def listening(address: str, share: bool) -> socket.socket:
    host, _, port = address.rpartition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(share))
    sock.bind((host, int(port)))
    sock.listen()
    return sock


def test_any_free_port_stays_the_same_for_who_shares_it() -> None:
    held = HeldPort("127.0.0.1:0")
    assert held.address != "127.0.0.1:0"
    for _ in range(2):
        listening(held.address, share=True).close()
    with pytest.raises(OSError):
        listening(held.address, share=False)
    held.close()
    listening(held.address, share=False).close()


@pytest.mark.parametrize("share", [False, True])
def test_a_port_that_somebody_listens_on_is_taken(share: bool) -> None:
    with listening("127.0.0.1:0", share) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(OSError, match=f"cannot listen on {address}"):
            HeldPort(address)


@pytest.mark.parametrize("address", ["192.0.2.1:0", "no-such-host.invalid:1"])
def test_an_address_of_another_machine_is_refused(address: str) -> None:
    with pytest.raises(OSError, match="cannot listen on"):
        HeldPort(address)
