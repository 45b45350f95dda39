#!lua flags=no-writes
-- include: _open _checked _session _sound _seal
-- Read all of a session but its thread and events, to move it to another id.
-- Returns  nonce 'ok' seal document metadata ops staged, as they are stored
--          nonce 'busy' ms left of the lease: a turn is running  |  those of _open, _session and _sound
local left = open_turn and (tonumber(head[17]) or 0) - now or 0
if left > 0 then
  return {nonce, 'busy', left}
end
return {nonce, 'ok', seal(), redis.call('GET', KEYS[1]), redis.call('HGETALL', KEYS[4]),
  redis.call('HGETALL', KEYS[5]), open_turn and redis.call('LRANGE', KEYS[3], 0, -1) or {}}
