#!lua flags=allow-oom
-- include: _open _checked _ended _session _ops _doubt
-- Remove everything of a session; a turn that is running will find nothing to commit to. Which
-- operations have removed one of this id, and when, stays known for a minute.
-- ARGV  5 operation, which has no magic characters  6 channel for the note, or '' for none  7 note
-- Returns  nonce 'ok' user messages  |  those of _open, _ended, _session and _doubt
return doubt(version or 0) or end_session(owner)
