-- Peers for one who announces, one after the other in one text.
-- KEYS: hash of seeders, hash of leechers
-- ARGV: number wanted, '1' for a seeder, peer to leave out or '', length of a peer, a random number
local found, excluded = {}, { number = 0 }
if ARGV[3] ~= '' then
  excluded = { number = 1, [ARGV[3]] = true }
end
local seeders = { key = KEYS[1], size = redis.call('HLEN', KEYS[1]) }
local leechers = { key = KEYS[2], size = redis.call('HLEN', KEYS[2]) }
local want, length, random = tonumber(ARGV[1]), tonumber(ARGV[4]), tonumber(ARGV[5])
select_peers(found, seeders, leechers, want, ARGV[2] == '1', excluded, length, random)
return table.concat(found)
