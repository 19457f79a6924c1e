create table corrections (
    -- what people corrected; proxies that run look here, and take it in
    number integer primary key,
    kind text not null,           -- link, split, merge
    session_id text not null,     -- the child that was linked, the one split, the one that was kept
    other_session_id text,        -- the parent, the new one, the one that is gone
    call_id text,                 -- from which on it was split
    was text not null,            -- JSON: what it was before
    made_at real not null
);
