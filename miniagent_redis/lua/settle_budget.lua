#!lua
-- include: _hashes _budget
-- Count what a request took, once, in place of what was reserved for it.
-- KEYS  1 … a hash for each budget, see _budget
-- ARGV  1 nonce  2 now in ms, or ''  3 request_id  4 held_ms  5… numbers, for each key: every ('day',
--       'month' or ''), amount, kept_ms
-- Returns  nonce 'ok'   counted now, or earlier  |  those of _hashes
for i = 1, #KEYS do
  local _, _, _, done = look(KEYS[i], ARGV[3 * i + 2], ARGV[3 * i + 4])
  if not done then
    redis.call('HDEL', KEYS[i], 'r:' .. id)
    redis.call('HINCRBY', KEYS[i], 'spent', ARGV[3 * i + 3])
    redis.call('HSET', KEYS[i], 'd:' .. id, now + held)
    redis.call('PEXPIRE', KEYS[i], ARGV[3 * i + 4])
  end
end
return {ARGV[1], 'ok'}
