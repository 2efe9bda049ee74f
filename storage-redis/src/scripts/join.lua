-- Puts a hash that is there into the set of swarms, and takes out one that is not.
-- KEYS: hash, set of swarms
if redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.call('SADD', KEYS[2], KEYS[1])
end
return redis.call('SREM', KEYS[2], KEYS[1])
