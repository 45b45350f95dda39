-- Follows where what a caller knows of the thread is compared with what is there: a server may have
-- lost the end of it and got as many other messages since, with the same epoch and count.

-- Returns the last bytes of the record in front of a position, or '' if there is none.
local function end_before(position)
  local record = position > 0 and redis.call('LINDEX', KEYS[2], position - count - 1)
  return record and string.sub(record, -256) or ''
end

-- Returns `start`, or `first`, the position of the first record, if that is behind it, or the thread
-- up to there is another one than that of the caller: it has another epoch, or is shorter, or its
-- last record is not that of `mark`, if one is given.
local function still(start, known_epoch, mark, first)
  if tonumber(known_epoch) ~= epoch or start > count or start <= first
    or mark ~= '' and string.sub(end_before(start), -#mark) ~= mark then
    return first
  end
  return start
end
