-- Removes those entries of a hash that still have the value given; gives the number removed. A hash
-- that is gone leaves the set of swarms.
-- KEYS: hash, and where they are on the same node: set of swarms, counter
-- ARGV: field and value, again and again
local removed = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    removed = removed + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
if KEYS[2] then
  if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('SREM', KEYS[2], KEYS[1])
  end
  if removed > 0 then
    redis.pcall('DECRBY', KEYS[3], removed)
  end
end
return removed
