-- Peers of one family for one who announces, at random, are added to `found`: seeders first, then
-- leechers, up to `want` in all, without those `excluded`. A role is its hash: `key`, `size`. `length` is
-- that of a peer, `random` a number.
local call = redis.call

-- So few peers are looked up one by one, however the hash is kept.
local FEW = 16
-- A hash of so few is read whole, however it is kept.
local SMALL = 64

-- All peers of a role, read once.
local function all_of(role)
  role.peers = role.peers or call('HKEYS', role.key)
  return role.peers
end

-- Whether the hash is kept as a list, in which each look-up reads from the beginning.
local function is_list(role)
  local encoding = redis.pcall('OBJECT', 'ENCODING', role.key)
  return encoding == 'listpack' or encoding == 'ziplist'
end

-- Those of the peers that are in another role as well; nil for none.
local function also_in(role, peers)
  if role.size == 0 then
    return nil
  end
  if not role.peers and role.size > #peers and (#peers < FEW or (role.size > SMALL and not is_list(role))) then
    return look_up(role.key, peers)
  end
  local sought, others, both = {}, all_of(role), nil
  for i = 1, #peers do
    sought[peers[i]] = true
  end
  for i = 1, #others do
    if sought[others[i]] then
      both = both or {}
      both[others[i]] = true
    end
  end
  return both
end

local function select_peers(found, seeders, leechers, want, for_seeder, excluded, length, random)
  -- Whether all of a role have been looked for in the other one, and those that are in both.
  local known, in_both_roles = false, nil

  -- Adds those peers that count in their role; tells whether there are enough now. It begins anywhere:
  -- a small hash gives its sample in a fixed order, and the last would always be left over.
  local function add(peers, both, as_seeder)
    local n, total = #found, #peers
    local first = total > 0 and random % total or 0
    for i = first + 1, first + total do
      if n == want then
        return true
      end
      local peer = peers[i] or peers[i - total]
      if #peer == length and not excluded[peer] then
        if not (both and both[peer]) or is_seeder(seeders.key, leechers.key, peer) == as_seeder then
          n = n + 1
          found[n] = peer
        end
      end
    end
    return n == want
  end

  local function those_of(role, other, peers)
    if known then
      return in_both_roles
    end
    local both = also_in(other, peers)
    if peers == role.peers then
      known, in_both_roles = true, both
    end
    return both
  end

  -- Adds peers of a role until there are enough, or no more.
  local function sample(role, other, as_seeder)
    local before = #found
    local ask = want - before + excluded.number
    while ask < role.size do
      local peers = call('HRANDFIELD', role.key, ask)
      if add(peers, those_of(role, other, peers), as_seeder) then
        return
      end
      -- Too many don't count: all over again with more.
      for i = #found, before + 1, -1 do
        found[i] = nil
      end
      ask = ask * 2
    end
    if role.size > 0 then
      add(all_of(role), those_of(role, other, all_of(role)), as_seeder)
    end
  end

  if not for_seeder then
    sample(seeders, leechers, true)
  end
  if #found < want then
    sample(leechers, seeders, false)
  end
end
