"""libtorrent: `make FORMAT CONTENT TORRENT` makes a torrent and prints the info hash that its clients
announce; `run TORRENT DIRECTORY` takes part until SIGINT."""

import os
import signal
import sys
import time

import libtorrent


def make(format, content, torrent):
    storage = libtorrent.file_storage()
    libtorrent.add_files(storage, content)
    flags = {"v1": libtorrent.create_torrent.v1_only, "v2": libtorrent.create_torrent.v2_only, "hybrid": 0}
    created = libtorrent.create_torrent(storage, 32 * 1024, flags[format])
    # Peers come from the tracker alone (BEP 27).
    created.set_priv(True)
    libtorrent.set_piece_hashes(created, os.path.dirname(content))
    encoded = libtorrent.bencode(created.generate())
    with open(torrent, "wb") as file:
        file.write(encoded)
    hashes = libtorrent.torrent_info(libtorrent.bdecode(encoded)).info_hashes()
    announced = hashes.v1 if hashes.has_v1() else hashes.get_best()
    print(announced.to_bytes().hex())


def run(torrent, directory):
    session = libtorrent.session({
        "listen_interfaces": "0.0.0.0:6881", "enable_dht": False, "enable_lsd": False,
        "enable_upnp": False, "enable_natpmp": False, "stop_tracker_timeout": 10,
        # Two that call each other at once hang up both, and would not call again for a minute.
        "seeding_outgoing_connections": False, "min_reconnect_time": 1,
    })
    handle = session.add_torrent({"ti": libtorrent.torrent_info(torrent), "save_path": directory})
    ended = []
    signal.signal(signal.SIGINT, lambda *_: ended.append(True))
    while not ended:
        time.sleep(0.1)
    session.remove_torrent(handle)
    time.sleep(60)


{"make": make, "run": run}[sys.argv[1]](*sys.argv[2:])
