-- Makes a peer a seeder and counts a download.
-- KEYS: hash of seeders, hash of leechers, set of swarms, counter of seeders, of leechers, downloads
-- ARGV: peer, time, info hash; expiry
graduate(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], ARGV[1], ARGV[2], ARGV[3])
return 1
