-- Begins every script whose keys are all hashes, or nothing yet.
-- Returns  nonce 'wrongtype' key type   before anything is written
for i = 1, #KEYS do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= 'hash' and found ~= 'none' then
    return {ARGV[1], 'wrongtype', KEYS[i], found}
  end
end
