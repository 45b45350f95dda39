-- Follows where the session may be gone because an earlier try of the operation has removed it.
-- Returns  nonce 'ok' user   that is so; one that was made since stays as it is
local ended = redis.call('HGET', KEYS[5], 'ended') or ''
local former_user = string.match('\n' .. ended, '\n' .. ARGV[5] .. '=([^\n]*)\n')
if former_user then
  return {nonce, 'ok', former_user}
end
