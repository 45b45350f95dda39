#!lua flags=allow-oom
-- Let a lock end within its ttl: one that ends later was taken before the clock went back.
-- KEYS  1 a lock, a string: its holder
-- ARGV  1 nonce  2 holder, the one seen  3 ttl_ms of that holder
-- Returns  nonce 'ok' 1, or 0 if it ends in time  |  nonce 'wrongtype' key type
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'string' and found ~= 'none' then
  return {ARGV[1], 'wrongtype', KEYS[1], found}
end
if redis.call('GET', KEYS[1]) ~= ARGV[2] then
  return {ARGV[1], 'ok', 0}
end
return {ARGV[1], 'ok', redis.call('PEXPIRE', KEYS[1], ARGV[3], 'LT')}
