-- Sets those entries of a hash that still have the value expected ('' for none); gives for each
-- whether it was set.
-- KEYS: hash
-- ARGV: field, value expected, value to set, again and again
local set = {}
for i = 1, #ARGV, 3 do
  if (redis.call('HGET', KEYS[1], ARGV[i]) or '') == ARGV[i + 1] then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    set[#set + 1] = 1
  else
    set[#set + 1] = 0
  end
end
return set
