-- What is stored of a swarm: for each of the four hashes its size and up to so many peers at random, each followed by
-- its time, without those that count in the other role; then its downloads as text.
-- KEYS: hashes of seeders (IPv4, IPv6), of leechers (IPv4, IPv6), set of swarms, counter of seeders, of
-- leechers, downloads
-- ARGV: info hash, most peers of each hash
local limit = tonumber(ARGV[2])

local answer = {}
for place = 1, 4 do
  local family = place % 2 == 1 and 1 or 2
  local seeders, leechers = KEYS[family], KEYS[2 + family]
  local hash, is_of_seeders = KEYS[place], place <= 2
  local other = is_of_seeders and leechers or seeders
  local found, kept = limit > 0 and redis.call('HRANDFIELD', hash, limit, 'WITHVALUES') or {}, {}
  local peers = {}
  for i = 1, #found, 2 do
    peers[#peers + 1] = found[i]
  end
  local both = look_up(other, peers)
  for i = 1, #found, 2 do
    if not (both and both[found[i]]) or is_seeder(seeders, leechers, found[i]) == is_of_seeders then
      kept[#kept + 1] = found[i]
      kept[#kept + 1] = found[i + 1]
    end
  end
  answer[#answer + 1] = redis.call('HLEN', hash)
  answer[#answer + 1] = kept
end
answer[#answer + 1] = redis.call('HGET', KEYS[8], ARGV[1])
return answer
