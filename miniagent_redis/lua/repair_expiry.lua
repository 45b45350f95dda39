#!lua
-- include: _open
-- Give the session's deadline to those of its keys that would stay for ever, or go before it.
-- Returns  nonce 'ok' keys changed  |  those of _open
local deadline = tonumber(redis.call('HGET', KEYS[4], 'deadline'))
local changed = 0
for i = 1, 6 do
  local at = redis.call('PEXPIRETIME', KEYS[i])
  if deadline and (at == -1 or (at >= 0 and at < deadline)) then
    -- Messages of a session that is over stay for one more grace, not for none.
    redis.call('PEXPIREAT', KEYS[i], math.max(deadline, now) + (i > 1 and grace or 0))
    changed = changed + 1
  end
end
return {nonce, 'ok', changed}
