-- Writes entries, all of them or none.
-- KEYS: hash of the context
-- ARGV: key, value, again and again; expiry
-- Lua hands a command no more than some thousand arguments.
for i = 1, #ARGV, 5000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 4999, #ARGV)))
end
return 1
