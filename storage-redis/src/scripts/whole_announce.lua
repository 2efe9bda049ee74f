-- A whole announce: the write, then peers and counts; gives 1 if it was a download or else 0, seeders, leechers,
-- downloads as text, and peers, those of each family one after the other in one text, in the order asked for.
-- KEYS: hashes of seeders (IPv4, IPv6), of leechers (IPv4, IPv6), set of swarms, counter of seeders, of
-- leechers, downloads
-- ARGV: what to do with the client: 'seeder', 'leecher', 'completed', 'stopped'; time; info hash; number
-- wanted; '1' for a seeder; families in order of preference, as in '46'; a random number; the client once
-- for each address; expiry
local want, random = tonumber(ARGV[4]), tonumber(ARGV[7])
local swarms, seeder_counter, leecher_counter, downloads = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local families = {
  ['4'] = { seeders = { key = KEYS[1] }, leechers = { key = KEYS[3] }, length = 26, own = { number = 0 } },
  ['6'] = { seeders = { key = KEYS[2] }, leechers = { key = KEYS[4] }, length = 38, own = { number = 0 } },
}

local is_download, completed = 0, {}
for i = 8, #ARGV do
  local peer = ARGV[i]
  local family = families[#peer == 38 and '6' or '4']
  local seeders, leechers = family.seeders.key, family.leechers.key
  family.own[peer] = true
  family.own.number = family.own.number + 1
  if ARGV[1] == 'stopped' then
    remove(seeders, swarms, seeder_counter, peer)
    remove(leechers, swarms, leecher_counter, peer)
  elseif ARGV[1] == 'completed' then
    completed[#completed + 1] = { key = peer, seeders = seeders, leechers = leechers }
  elseif ARGV[1] == 'leecher' then
    put(leechers, seeders, swarms, leecher_counter, seeder_counter, peer, ARGV[2])
  else
    put(seeders, leechers, swarms, seeder_counter, leecher_counter, peer, ARGV[2])
  end
end

if #completed > 0 then
  is_download = graduate(completed, swarms, seeder_counter, leecher_counter, downloads, ARGV[2], ARGV[3])
end

local seeders, leechers = 0, 0
for _, family in pairs(families) do
  family.seeders.size = redis.call('HLEN', family.seeders.key)
  family.leechers.size = redis.call('HLEN', family.leechers.key)
  seeders, leechers = seeders + family.seeders.size, leechers + family.leechers.size
end

local answer = { is_download, seeders, leechers, redis.call('HGET', downloads, ARGV[3]) }
for name in string.gmatch(ARGV[6], '.') do
  local family, found = families[name], {}
  if want > 0 then
    select_peers(found, family.seeders, family.leechers, want, ARGV[5] == '1', family.own, family.length, random)
  end
  want = want - #found
  answer[#answer + 1] = table.concat(found)
end
return answer
