-- Takes a peer out of both roles; gives the number removed.
-- KEYS: hash of seeders, hash of leechers, set of swarms, counter of seeders, of leechers
-- ARGV: peer; expiry
return remove(KEYS[1], KEYS[3], KEYS[4], ARGV[1]) + remove(KEYS[2], KEYS[3], KEYS[5], ARGV[1])
