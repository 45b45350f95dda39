#!lua flags=allow-oom
-- include: _open _checked _ended _ops _doubt
-- Remove everything of a user's session as delete_session does, also of one that has expired, and
-- what is left of one that has lost its counters or its document. That it was removed stays known
-- for a minute.
-- ARGV  5 operation, which has no magic characters  6 channel for the note, or '' for none  7 note
-- Returns  nonce 'ok' user messages  |  nonce 'other', it is somebody else's
--          nonce 'gone', there is nothing  |  nonce 'notfound', it was made since the first try
--          those of _open, _ended and _doubt
local owner, version = unpack(redis.call('HMGET', KEYS[4], 'user', 'version'))
if user ~= '' and owner and owner ~= user then
  return {nonce, 'other'}
end
-- Not the ops: what they hold may be that it was ended.
if redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6], KEYS[7]) == 0 then
  return {nonce, 'gone'}
end
if is_anew() then
  return {nonce, 'notfound'}
end
return doubt(tonumber(version) or 0) or end_session(owner or user)
