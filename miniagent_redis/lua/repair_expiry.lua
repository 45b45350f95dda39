#!lua
-- include: _open _checked
-- Give the session's deadline to those of its keys that would stay for ever, or go before it; those
-- of a session that never ends must not end.
-- Returns  nonce 'ok' keys changed  |  those of _open
local deadline = tonumber(redis.call('HGET', KEYS[4], 'deadline'))
local changed = 0
for i = 1, 6 do
  local at = redis.call('PEXPIRETIME', KEYS[i])
  if deadline and (at == -1 and deadline < never or at >= 0 and at < math.min(deadline, never)) then
    -- Messages of a session that is over stay for one more grace, not for none.
    expire(i, math.max(deadline, now))
    changed = changed + 1
  end
end
return {nonce, 'ok', changed}
