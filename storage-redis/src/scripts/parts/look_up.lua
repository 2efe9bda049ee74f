-- Those of the peers that are in a hash; nil for none.
local function look_up(hash, peers)
  local there
  for first = 1, #peers, 1000 do
    local last = math.min(first + 999, #peers)
    local times = redis.call('HMGET', hash, unpack(peers, first, last))
    for i = 1, #times do
      if times[i] then
        there = there or {}
        there[peers[first + i - 1]] = true
      end
    end
  end
  return there
end
