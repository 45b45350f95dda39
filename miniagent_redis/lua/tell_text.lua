#!lua
-- include: _open _session
-- Tell watchers the next piece of the open turn's answer; it is kept nowhere else.
-- ARGV  5 turn id  6 holder  7 the text, a record
-- Returns  nonce 'ok' the turn that is to be cancelled, or nil  |  nonce 'superseded'
--          those of _open and _session
if open_turn ~= ARGV[5] or holder ~= ARGV[6] then
  return {nonce, 'superseded'}
end
emit('text_delta', ARGV[5], ARGV[7], version, true)
expire_at(deadline)
return {nonce, 'ok', redis.call('HGET', KEYS[4], 'cancel')}
