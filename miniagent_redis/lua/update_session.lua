#!lua
-- include: _open _session _sound
-- Replace a session's document.
-- ARGV  5 operation id  6 session document
-- Returns  nonce 'ok' version deadline user  |  those of _open, _session and _sound
if not recall(ARGV[5]) then
  version = version + 1
  redis.call('SET', KEYS[1], ARGV[6])
  remember(ARGV[5], version, '')
  slide('version', version)
end
return {nonce, 'ok', version, deadline, head[1]}
