-- Takes a peer out of a role; gives the number removed.
-- KEYS: hash of the role, set of swarms, counter of the role
-- ARGV: peer
local removed = redis.call('HDEL', KEYS[1], ARGV[1])
if removed == 1 then
  if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('SREM', KEYS[2], KEYS[1])
  end
  redis.pcall('DECR', KEYS[3])
end
return removed
