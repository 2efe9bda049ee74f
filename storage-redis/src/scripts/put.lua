-- Puts a peer into a role and takes it out of the other one.
-- KEYS: hash of the role, hash of the other role, set of swarms, counter of the role, of the other
-- ARGV: peer, time; expiry
return put(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[1], ARGV[2])
