-- Adds counts to the metadata: 'name amount name amount …'. Derived data: one of them that is no
-- number must not stop the script.
local function spend(counts)
  for name, amount in string.gmatch(counts, '(%S+) (%d+)') do
    redis.pcall('HINCRBY', KEYS[4], name, amount)
  end
end
