#!lua
-- include: _open _session
-- Tell watchers the next piece of the open turn's answer; it is kept nowhere else.
-- ARGV  5 turn id  6 holder  7 the text, a record  8 operation id
-- Returns  nonce 'ok' the turn that is to be cancelled, or nil   told now, or as the last one before
--          nonce 'superseded'  |  those of _open and _session
if open_turn ~= ARGV[5] or holder ~= ARGV[6] then
  return {nonce, 'superseded'}
end
local cancel, told = unpack(redis.call('HMGET', KEYS[4], 'cancel', 'told'))
if told ~= ARGV[8] then
  redis.call('HSET', KEYS[4], 'told', ARGV[8])
  emit('text_delta', ARGV[5], ARGV[7], version, true)
  expire_at(deadline)
end
return {nonce, 'ok', cancel}
