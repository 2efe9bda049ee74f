-- Takes a peer out of a role; gives the number removed.
-- KEYS: hash of the role, set of swarms, counter of the role
-- ARGV: peer; expiry
return remove(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
