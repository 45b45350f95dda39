#!lua
-- include: _open _checked _session _sound _events _ops _doubt _slide
-- Answer calls for which the open turn waits. One that is answered already is passed over. With the
-- last answer the turn is an abandoned one, with no lease and no takeover, which anybody finishes.
-- ARGV  5 turn_id  6 max_bytes of the thread  7… answers: of each call its digest, and its result,
--       a message, or '' to approve it; to one that waits for input, the message with that
-- Returns  nonce 'ok' what it still waits for, as in park_turn  |  nonce 'over', the turn is not open
--          nonce 'toolarge' bytes  |  those of _open, _session, _sound and _doubt
local doubtful = doubt(0) -- twice does no harm, but to another session's turn of that name
if doubtful then
  return doubtful
end
local parked = open_turn == ARGV[5] and string.match(head[19] or '', '^(%S+ %S+)')
if not parked or string.sub(parked, 1, #open_turn + 1) ~= open_turn .. ' ' then
  return {nonce, 'over'}
end
local staged = redis.call('LRANGE', KEYS[3], 0, -1)
for _, message in ipairs(staged) do
  bytes = bytes + #message
end
local results, approved = {}, {}
for i = 7, #ARGV, 2 do
  local before, kind, behind = string.match(waits, '^(.*) (%a)' .. ARGV[i] .. '(.*)$')
  if before then
    waits = before .. behind
    if ARGV[i + 1] == '' or kind == 'i' then
      approved[#approved + 1] = ' ' .. ARGV[i]
    end
    if ARGV[i + 1] ~= '' then
      results[#results + 1] = ARGV[i + 1]
      bytes = bytes + #ARGV[i + 1]
    end
  end
end
if bytes > tonumber(ARGV[6]) then
  return {nonce, 'toolarge', bytes}
elseif #results + #approved == 0 then
  return {nonce, 'ok', waits}
end
for i, result in ipairs(results) do
  redis.call('RPUSH', KEYS[3], result)
  emit('turn_step', open_turn, result, version, i == #results, #staged + i - 1)
end
-- Those that were approved before, with no holder since, are kept; else they have been started.
local fresh = open_turn .. ' -'
local others = redis.call('HGET', KEYS[4], 'approved') or ''
others = string.sub(others, 1, #fresh) == fresh and others or fresh
redis.call('HSET', KEYS[4], 'waits', parked .. waits, 'approved', others .. table.concat(approved))
if waits == '' then
  redis.call('HSET', KEYS[4], 'lease', format('%d', now), 'takeovers', '0')
end
slide()
return {nonce, 'ok', waits}
