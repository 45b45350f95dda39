-- Follows in every script that tells watchers something; it has to keep `last_event`.

-- Tells the channel what happened and, if somebody waits for the session, whose turn it is next.
local function tell(kind)
  local told = (next_ticket or '') == '' and kind or kind .. ' ' .. next_ticket
  return redis.pcall('PUBLISH', KEYS[6], told)
end

-- Appends an event; some 1,000 are kept. Its id is the time and its number, so that a gap shows. If
-- the clock went back that id is refused, and '*' gives the last one + 1: the next number too. Then
-- wakes who waits, if told to. Returns the reply; what fails here must not stop the script.
-- A message is not stored twice: the event says where its record is, at `index` of the open turn, or
-- of what begins at position `first` of the thread, and how it ends, as another may come to stand
-- there. Short ones of a turn are in the event too, to be told when the turn has been dropped.
local event = '' -- the id of the last one that was appended here
local oldest, told_at = nil, now -- events before this id go, if there is one; the time of a new one
local function emit(kind, turn, record, version, wake, index, first)
  local number, id, field = tonumber(last_event or 0), '*', 'record'
  if number == 1 then -- that of the session's creation is not in the stream
    told_at = math.max(now, tonumber(redis.call('HGET', KEYS[4], 'created_at')) or 0)
  end
  if number then
    last_event = format('%d', number + 1)
    id = format('%d-%s', told_at, last_event)
  end
  if index and (first or #record > 256) then
    -- not by format, which ends a text at a zero byte
    field, record = 'at', (first or '') .. '+' .. index .. ' ' .. string.sub(record or '', -16)
  end
  local by, how, most = 'MAXLEN', '~', '1000'
  if oldest then
    by, how, most = 'MINID', '=', oldest
  end
  local reply = redis.pcall('XADD', KEYS[6], by, how, most, id, 'type', kind, 'turn', turn,
    'version', version, field, record)
  if type(reply) == 'table' and id ~= '*' then
    reply = redis.pcall('XADD', KEYS[6], by, how, most, '*', 'type', kind, 'turn', turn,
      'version', version, field, record)
  end
  event = type(reply) == 'string' and reply or ''
  if number == 1 and event ~= '' then -- the stream is new
    expire(6, deadline)
  end
  if wake then
    tell(kind)
  end
  return reply
end

-- Wakes who waits, pushes items[from…] to a list (in pieces that fit Lua's stack) and tells of the
-- last one: the first writes of a script, and the last commands that may fail. Returns whether all
-- was done; if not, nothing was, as what can be taken back is written before what cannot. `first` is
-- the position of the first one, if the list is the thread.
local function append(key, items, from, kind, turn, version, first)
  local reply = tell(kind)
  for i = from, #items, 1000 do
    if type(reply) ~= 'table' then
      reply = redis.pcall('RPUSH', key, unpack(items, i, math.min(i + 999, #items)))
    end
  end
  if type(reply) == 'table' then
    refused = refusal(reply)
  elseif type(emit(kind, turn, items[#items], version, nil, #items - from, first)) == 'table' then
    refused = refusal()
    if refused then
      redis.call('RPOP', key, #items - from + 1)
    end
  end
  return not refused
end
