-- Puts peers into a role and takes them out of the other one, where their times in both are still
-- those expected ('' for none); gives for each whether it was put.
-- KEYS: hash of the role, hash of the other role, set of swarms, counter of the role, of the other
-- ARGV: peer, time expected in the role, in the other role, time to set, again and again
local put = {}
local is_known = redis.call('SISMEMBER', KEYS[3], KEYS[1])
local added, removed = 0, 0
for i = 1, #ARGV, 4 do
  local peer = ARGV[i]
  local time = redis.call('HGET', KEYS[1], peer) or ''
  local other_time = redis.call('HGET', KEYS[2], peer) or ''
  if time == ARGV[i + 1] and other_time == ARGV[i + 2] then
    added = added + redis.call('HSET', KEYS[1], peer, ARGV[i + 3])
    removed = removed + redis.call('HDEL', KEYS[2], peer)
    put[#put + 1] = 1
  else
    put[#put + 1] = 0
  end
end
if is_known == 0 and redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('SADD', KEYS[3], KEYS[1])
end
if removed > 0 then
  if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('SREM', KEYS[3], KEYS[2])
  end
  redis.pcall('DECRBY', KEYS[5], removed)
end
if added > 0 then
  redis.pcall('INCRBY', KEYS[4], added)
end
return put
