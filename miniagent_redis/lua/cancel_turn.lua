#!lua
-- include: _open _session
-- Ask the holder of the open turn to end it.
-- Returns  nonce 'ok' 1, or 0 if there is none  |  those of _open and _session
if not open_turn then
  return {nonce, 'ok', 0}
end
redis.call('HSET', KEYS[4], 'cancel', open_turn)
expire_at(deadline)
return {nonce, 'ok', 1}
