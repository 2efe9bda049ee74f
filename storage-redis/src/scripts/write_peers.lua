-- Makes writes of peers of one swarm, each as of its time; gives for each 0 if it changed nothing, 1 if it took
-- effect, 2 if it is a download, or why it was refused.
-- KEYS: hashes of seeders (IPv4, IPv6), of leechers (IPv4, IPv6), set of swarms, counter of seeders, of
-- leechers, downloads
-- ARGV: info hash; what happened ('seeder', 'leecher', 'touch', 'delete', 'graduate'), peer, time, again and again;
-- expiry
local swarms, seeder_counter, leecher_counter, downloads = KEYS[5], KEYS[6], KEYS[7], KEYS[8]

local function write(change, peer, time)
  local family = #peer == 38 and 2 or 1
  local seeders, leechers = KEYS[family], KEYS[2 + family]
  local role, known = stored(seeders, leechers, peer)
  local is_newer = not known or later(time, known)

  local function put_as(new_role)
    if new_role == 'seeder' then
      put(seeders, leechers, swarms, seeder_counter, leecher_counter, peer, time)
    else
      put(leechers, seeders, swarms, leecher_counter, seeder_counter, peer, time)
    end
    return 1
  end

  if change == 'seeder' or change == 'leecher' then
    if is_newer or (time == known and change == 'seeder' and role == 'leecher') then
      return put_as(change)
    end
    return 0
  end
  if change == 'touch' then
    if not role then
      return 0
    end
    return is_newer and put_as(role) or 1
  end
  if change == 'delete' then
    if not role or (known and later(known, time)) then
      return 0
    end
    remove(seeders, swarms, seeder_counter, peer)
    remove(leechers, swarms, leecher_counter, peer)
    return 1
  end
  if role == 'seeder' then
    return is_newer and put_as('seeder') or 1
  end
  if known and later(known, time) then
    return 0
  end
  local peers = { { key = peer, seeders = seeders, leechers = leechers } }
  graduate(peers, swarms, seeder_counter, leecher_counter, downloads, time, ARGV[1])
  return 2
end

local results = {}
for i = 2, #ARGV, 3 do
  local is_done, result = pcall(write, ARGV[i], ARGV[i + 1], ARGV[i + 2])
  if not is_done and type(result) == 'table' then
    result = result.err
  end
  results[#results + 1] = is_done and result or tostring(result)
end
return results
