-- A whole announce: the write, then peers and counts; gives seeders, leechers, downloads as text, peers.
-- KEYS: hashes of seeders (IPv4, IPv6), of leechers (IPv4, IPv6), set of swarms, counter of seeders, of
-- leechers, downloads
-- ARGV: what to do with the client: 'seeder', 'leecher', 'completed', 'stopped'; time; info hash; number
-- wanted; '1' for a seeder; families in order of preference, as in '46'; a random number; the client once
-- for each address
local want, random = tonumber(ARGV[4]), tonumber(ARGV[7])
local swarms, seeder_counter, leecher_counter, downloads = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local families = {
  ['4'] = { seeders = KEYS[1], leechers = KEYS[3], length = 26, own = { number = 0 } },
  ['6'] = { seeders = KEYS[2], leechers = KEYS[4], length = 38, own = { number = 0 } },
}

local function put_as(is_seeder, family, peer)
  if is_seeder then
    put(family.seeders, family.leechers, swarms, seeder_counter, leecher_counter, peer, ARGV[2])
  else
    put(family.leechers, family.seeders, swarms, leecher_counter, seeder_counter, peer, ARGV[2])
  end
end

-- The first address comes last: what may fail has been done by then, and no download is counted twice.
for i = #ARGV, 8, -1 do
  local peer = ARGV[i]
  local family = families[#peer == 38 and '6' or '4']
  family.own[peer] = true
  family.own.number = family.own.number + 1
  if ARGV[1] == 'stopped' then
    remove(family.seeders, swarms, seeder_counter, peer)
    remove(family.leechers, swarms, leecher_counter, peer)
  elseif ARGV[1] == 'completed' and i == 8 then
    graduate(family.seeders, family.leechers, swarms, seeder_counter, leecher_counter, downloads, peer, ARGV[2], ARGV[3])
  else
    put_as(ARGV[1] ~= 'leecher', family, peer)
  end
end

local found = {}
for name in string.gmatch(ARGV[6], '.') do
  local family = families[name]
  if #found < want then
    select_peers(found, family.seeders, family.leechers, want, ARGV[5] == '1', family.own, family.length, random)
  end
end

return {
  redis.call('HLEN', KEYS[1]) + redis.call('HLEN', KEYS[2]),
  redis.call('HLEN', KEYS[3]) + redis.call('HLEN', KEYS[4]),
  redis.call('HGET', downloads, ARGV[3]),
  found,
}
