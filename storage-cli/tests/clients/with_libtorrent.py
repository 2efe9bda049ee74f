"""libtorrent: `make FORMAT CONTENT TORRENT` makes a torrent and prints the info hashes that its clients
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
    if hashes.has_v1():
        print(hashes.v1.to_bytes().hex())
    if hashes.has_v2():
        print(hashes.v2.to_bytes()[:20].hex())


class Client:
    """A session with one torrent.

    libtorrent drops an event of an info hash while an earlier announce of it is not answered: it says
    `completed` at the next interval then, and `stopped` never. A hybrid torrent has two info hashes, and the
    answer to one is enough to get the file; so nothing is asked for, and nobody leaves, before all announces
    are answered."""

    def __init__(self, torrent, directory):
        self.session = libtorrent.session({
            "listen_interfaces": "0.0.0.0:6881", "enable_dht": False, "enable_lsd": False,
            "enable_upnp": False, "enable_natpmp": False, "stop_tracker_timeout": 10,
            # Two that call each other at once hang up both, and would not call again for a minute.
            "seeding_outgoing_connections": False, "min_reconnect_time": 1,
            "alert_mask": libtorrent.alert.category_t.tracker_notification,
        })
        self.torrent = self.session.add_torrent({
            "ti": libtorrent.torrent_info(torrent), "save_path": directory,
            "flags": libtorrent.torrent_flags.upload_mode,
        })
        self.announced = self.answered = 0

    def see(self):
        """Waits a little for announces and answers."""
        self.session.wait_for_alert(100)
        for alert in self.session.pop_alerts():
            self.announced += isinstance(alert, libtorrent.tracker_announce_alert)
            self.answered += isinstance(alert, (libtorrent.tracker_reply_alert, libtorrent.tracker_error_alert))
            print(f"{time.time():.3f} {alert.message()}", flush=True)

    def wait_for_answers(self):
        self.see()
        while not 0 < self.announced == self.answered:
            self.see()


def run(torrent, directory):
    ended = []
    signal.signal(signal.SIGINT, lambda *_: ended.append(True))
    client = Client(torrent, directory)
    client.wait_for_answers()
    client.torrent.unset_flags(libtorrent.torrent_flags.upload_mode)
    while not ended:
        client.see()
    client.wait_for_answers()
    client.session.remove_torrent(client.torrent)
    while True:
        client.see()


{"make": make, "run": run}[sys.argv[1]](*sys.argv[2:])
