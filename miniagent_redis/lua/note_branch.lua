#!lua
-- include: _open _checked _session _sound _ops _doubt
-- Take note of a branch of the session, before it is made, and strike out some that are over.
-- ARGV  5 branch: its session id, percent-encoded, or ''  6 most branches that are kept and
--       7 most_bytes: the oldest go  8… gone: branches to strike out
-- Returns  nonce 'ok'  |  those of _open, _session, _sound and _doubt
local doubtful = doubt(0) -- twice does no harm, but to another session
if doubtful then
  return doubtful
end
local gone, kept, size = {[ARGV[5]] = true}, {}, 0
for i = 8, #ARGV do
  gone[ARGV[i]] = true
end
local entries = ARGV[5] ~= '' and {format('%d %s', now, ARGV[5])} or {}
for entry in string.gmatch(redis.call('HGET', KEYS[5], 'branches') or '', '[^\n]+') do
  if not gone[string.match(entry, ' (.*)$')] then
    entries[#entries + 1] = entry
  end
end
for i, entry in ipairs(entries) do
  size = size + #entry + 1
  if i == 1 or i <= tonumber(ARGV[6]) and size <= tonumber(ARGV[7]) then
    kept[#kept + 1] = entry
  end
end
redis.call('HSET', KEYS[5], 'branches', table.concat(kept, '\n'))
redis.call('HSET', KEYS[4], 'branched', nonce) -- so that the seal is another one, each time
expire(5, deadline)
return {nonce, 'ok'}
