-- Removes a swarm; gives the number of peers it had.
-- KEYS: hashes of seeders (IPv4, IPv6), of leechers (IPv4, IPv6), set of swarms, counters of seeders,
-- of leechers, downloads
-- ARGV: info hash
local seeders = redis.call('HLEN', KEYS[1]) + redis.call('HLEN', KEYS[2])
local leechers = redis.call('HLEN', KEYS[3]) + redis.call('HLEN', KEYS[4])
redis.call('HDEL', KEYS[8], ARGV[1])
redis.call('SREM', KEYS[5], KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
if seeders > 0 then
  redis.pcall('DECRBY', KEYS[6], seeders)
end
if leechers > 0 then
  redis.pcall('DECRBY', KEYS[7], leechers)
end
return seeders + leechers
