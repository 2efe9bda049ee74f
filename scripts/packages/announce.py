"""A client that announces, over HTTP and UDP, for the tests of packages and images."""

import http.client
import os
import random
import socket
import struct
import urllib.parse


class Refused(Exception):
    """The tracker answered with a failure."""


def over_http(address, info_hash, port, left=0, timeout=5):
    """Returns the answer as it came, bencoded."""
    query = urllib.parse.urlencode({"info_hash": info_hash, "peer_id": b"-TS0000-" + os.urandom(12), "port": port,
                                    "left": left, "uploaded": 0, "downloaded": 0, "compact": 1, "event": "started"})
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    connection.request("GET", f"/announce?{query}")
    answer = connection.getresponse().read()
    connection.close()
    if b"failure reason" in answer:
        raise Refused(answer.decode(errors="replace"))
    return answer


def over_udp(address, info_hash, port, left=0, timeout=5):
    """Returns the interval and the ports of the peers (BEP 15)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        client.connect(address)

        def exchange(head, action, body=b""):
            number = random.getrandbits(31)
            client.send(head + struct.pack("!II", action, number) + body)
            answer = client.recv(2048)
            if struct.unpack("!II", answer[:8]) != (action, number):
                raise Refused(answer[8:].decode(errors="replace"))
            return answer[8:]

        connection = exchange(struct.pack("!Q", 0x41727101980), 0)[:8]
        started = 2
        body = struct.pack("!20s20sQQQIIIiH", info_hash, b"-TS0000-" + os.urandom(12), 0, left, 0, started, 0,
                           random.getrandbits(31), -1, port)
        answer = exchange(connection, 1, body)
    interval, _leechers, _seeders = struct.unpack("!III", answer[:12])
    peers = answer[12:]
    return interval, [struct.unpack("!H", peers[at + 4:at + 6])[0] for at in range(0, len(peers), 6)]
