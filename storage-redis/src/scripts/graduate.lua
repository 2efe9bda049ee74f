-- Makes a client a seeder at each of its addresses; gives 1 if that is a download, else 0.
-- KEYS: hashes of seeders (IPv4, IPv6), of leechers (IPv4, IPv6), set of swarms, counter of seeders, of
-- leechers, downloads
-- ARGV: time; info hash; the client once for each address; expiry
local peers = {}
for i = 3, #ARGV do
  local family = #ARGV[i] == 38 and 2 or 1
  peers[#peers + 1] = { key = ARGV[i], seeders = KEYS[family], leechers = KEYS[2 + family] }
end
return graduate(peers, KEYS[5], KEYS[6], KEYS[7], KEYS[8], ARGV[1], ARGV[2])
