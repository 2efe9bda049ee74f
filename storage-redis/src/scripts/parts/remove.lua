-- Takes a peer out of the hash `key`; gives the number removed.
local function remove(key, swarms, counter, peer)
  local removed = redis.call('HDEL', key, peer)
  if removed == 1 then
    if redis.call('EXISTS', key) == 0 then
      redis.call('SREM', swarms, key)
    end
    redis.pcall('DECR', counter)
  end
  return removed
end
