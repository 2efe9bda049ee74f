-- Counts a swarm: seeders, leechers, downloads as text.
-- KEYS: hashes of seeders (IPv4, IPv6), of leechers (IPv4, IPv6), downloads
-- ARGV: info hash
return {
  redis.call('HLEN', KEYS[1]) + redis.call('HLEN', KEYS[2]),
  redis.call('HLEN', KEYS[3]) + redis.call('HLEN', KEYS[4]),
  redis.call('HGET', KEYS[5], ARGV[1]),
}
