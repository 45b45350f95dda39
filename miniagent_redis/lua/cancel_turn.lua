#!lua
-- include: _open _checked _session _ops _doubt
-- Ask the holder of the open turn to end it: of the one that was open at the first try, and of no
-- later one.
-- ARGV  5 operation  6 turn: which one is meant, '' for that
-- Returns  nonce 'ok' turn, or '' if it is not open: now, or earlier by the same operation
--          those of _open, _session and _doubt
local last = redis.call('HGET', KEYS[4], 'asked') or ''
local asked, at, turn = string.match(last, '^(%S+) (%d+) ?(%S*)$')
if asked == ARGV[5] then
  return {nonce, 'ok', turn}
end
local doubtful = doubt(0)
if doubtful then
  return doubtful
end
local began = tonumber(redis.call('HGET', KEYS[4], 'began') or 0) -- in µs
local is_later = is_late and began > (sent + part) * 1000 -- than the first try, or perhaps
  or (age or 0) > 0 and began > (now - age + 1) * 1000
if open_turn and (ARGV[6] == open_turn or ARGV[6] == '' and not is_later) then
  asked = ARGV[5] .. ' ' .. format('%d', now) .. ' ' .. open_turn
  redis.call('HSET', KEYS[4], 'cancel', open_turn, 'asked', asked)
  return {nonce, 'ok', open_turn}
elseif is_late and tried == '' and open_turn and ARGV[6] == '' then
  return {nonce, 'late', version}
elseif is_repeated and at and tonumber(at) >= since then
  return {nonce, 'unsure', version} -- only the last one is remembered
end
return {nonce, 'ok', ''}
