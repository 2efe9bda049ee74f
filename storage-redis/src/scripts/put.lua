-- Puts a peer into a role and takes it out of the other one.
-- KEYS: hash of the role, hash of the other role, set of swarms, counter of the role, of the other
-- ARGV: peer, time
-- Reading comes first, so that a key of the wrong type stops the script before it has changed anything.
local was_other = redis.call('HEXISTS', KEYS[2], ARGV[1])
local is_known = redis.call('SISMEMBER', KEYS[3], KEYS[1])
-- The first write must be one that a server without memory refuses.
local added = redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if is_known == 0 then
  redis.call('SADD', KEYS[3], KEYS[1])
end
if was_other == 1 then
  redis.call('HDEL', KEYS[2], ARGV[1])
  if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('SREM', KEYS[3], KEYS[2])
  end
  redis.pcall('DECR', KEYS[5])
end
if added == 1 then
  redis.pcall('INCR', KEYS[4])
end
return added
