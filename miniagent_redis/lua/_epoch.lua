-- Follows where the messages of a thread are counted anew: a number made of the random operation
-- id, unlike that of any thread before, be it one of an earlier session with the same session id in
-- the same millisecond.
local new_epoch = format('%d', tonumber(string.sub(ARGV[5], 1, 13), 16))
