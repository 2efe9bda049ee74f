-- Makes a peer a seeder and counts a download.
-- KEYS: hash of seeders, hash of leechers, set of swarms, counter of seeders, of leechers, downloads
-- ARGV: peer, time, info hash
local was_leecher = redis.call('HEXISTS', KEYS[2], ARGV[1])
local was_seeder = redis.call('HEXISTS', KEYS[1], ARGV[1])
local is_known = redis.call('SISMEMBER', KEYS[3], KEYS[1])
-- Refused without effect where the number there is none.
redis.call('HINCRBY', KEYS[6], ARGV[3], 1)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if is_known == 0 then
  redis.call('SADD', KEYS[3], KEYS[1])
end
if was_leecher == 1 then
  redis.call('HDEL', KEYS[2], ARGV[1])
  if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('SREM', KEYS[3], KEYS[2])
  end
  redis.pcall('DECR', KEYS[5])
end
if was_seeder == 0 then
  redis.pcall('INCR', KEYS[4])
end
return 1
