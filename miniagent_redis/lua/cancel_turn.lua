#!lua
-- include: _open _checked _session _ops _doubt
-- Ask the holder of the open turn to end it.
-- ARGV  5 operation
-- Returns  nonce 'ok' 1, or 0 if there is none: now, or earlier by the same operation
--          those of _open, _session and _doubt
local asked, at = string.match(redis.call('HGET', KEYS[4], 'asked') or '', '^(%S+) (%d+)$')
if asked == ARGV[5] then
  return {nonce, 'ok', 1}
end
local doubtful = doubt(0)
if not doubtful and is_late and at and tonumber(at) >= since then
  doubtful = {nonce, doubted, version} -- only the last one is remembered
end
if doubtful then
  return doubtful
elseif not open_turn then
  return {nonce, 'ok', 0}
end
redis.call('HSET', KEYS[4], 'cancel', open_turn, 'asked', ARGV[5] .. ' ' .. format('%d', now))
return {nonce, 'ok', 1}
