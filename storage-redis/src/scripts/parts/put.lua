-- Puts a peer into the hash `key` and takes it out of the hash `other`.
local function put(key, other, swarms, counter, other_counter, peer, time)
  -- Reading comes first, so that a key of the wrong type stops the script before it has changed anything.
  local was_other = redis.call('HEXISTS', other, peer)
  local is_known = redis.call('SISMEMBER', swarms, key)
  -- The first write must be one that a server without memory refuses.
  local added = redis.call('HSET', key, peer, time)
  if is_known == 0 then
    redis.call('SADD', swarms, key)
  end
  if was_other == 1 then
    redis.call('HDEL', other, peer)
    if redis.call('EXISTS', other) == 0 then
      redis.call('SREM', swarms, other)
    end
    redis.pcall('DECR', other_counter)
  end
  if added == 1 then
    redis.pcall('INCR', counter)
  end
  return added
end
