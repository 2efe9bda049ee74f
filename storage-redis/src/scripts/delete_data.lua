-- Removes keys.
-- KEYS: hash of the context
-- ARGV: keys; expiry
for i = 1, #ARGV, 5000 do
  redis.call('HDEL', KEYS[1], unpack(ARGV, i, math.min(i + 4999, #ARGV)))
end
return 1
