#!lua
-- include: _open _checked _session _events _records
-- Tell watchers the next pieces of the open turn's answer; they are kept nowhere else.
-- ARGV  5 turn_id  6 holder  7 operation  8 shown: 1 if it is of the answer, which a message that
--       interrupts the turn keeps; else 0  9… texts, records
-- Returns  nonce 'ok' the turn, if it is to be cancelled, or nil   told now, or as the last ones
--          before  |  nonce 'superseded'  |  those of _open and _session
if open_turn ~= ARGV[5] or holder ~= ARGV[6] then
  return {nonce, 'superseded'}
end
local cancel, told, since = unpack(redis.call('HMGET', KEYS[4], 'cancel', 'told', 'told_since'))
if told ~= ARGV[7] then
  for i = 9, #ARGV do
    since = emit_record('text_delta', ARGV[5], ARGV[i], since, i == #ARGV)
  end
  redis.call('HSET', KEYS[4], 'told', ARGV[7], 'told_since', since, 'events', last_event,
    unpack(ARGV[8] == '1' and {'shown', open_turn} or {}))
  expire(6, deadline) -- it may be new: some was lost
end
return {nonce, 'ok', cancel == open_turn and cancel}
