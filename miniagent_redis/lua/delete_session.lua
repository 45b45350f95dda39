#!lua flags=allow-oom
-- include: _open _session
-- Remove everything of a session; a turn that is running will find nothing to commit to.
-- Returns  nonce 'ok' user  |  those of _open and _session
redis.call('DEL', unpack(KEYS))
redis.call('PUBLISH', KEYS[6], 'session_ended')
return {nonce, 'ok', head[1]}
