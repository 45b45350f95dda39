#!lua flags=no-writes
-- include: _open _checked _session
-- Read which branches of the session were noted.
-- Returns  nonce 'ok' owner branches: lines, the newest first, each ms and percent-encoded session id
--          those of _open and _session
return {nonce, 'ok', owner, redis.call('HGET', KEYS[5], 'branches') or ''}
