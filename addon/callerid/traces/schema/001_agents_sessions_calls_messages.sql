-- Agents, their sessions, the calls of those, and what was said in them.
create table agents (
    id text primary key,
    name text not null,
    tools text,                        -- JSON: the names of the tools it was first seen with
    system_message_id text references messages (id),
    first_seen real not null,
    last_seen real not null
);
create table sessions (
    id text primary key,
    root_session_id text not null,
    parent_session_id text,
    relation text,                     -- subagent, fork, reset; null for a root
    agent_id text references agents (id),
    client_name text,
    client_scope text,                 -- a keyed digest of the credential, never the credential
    because text not null,             -- how its first call was identified
    confidence real not null,
    evidence text not null,
    first_seen real not null,          -- seconds since the epoch, as all times here
    last_seen real not null
);
create table calls (
    id text primary key,
    session_id text references sessions (id),
    agent_id text references agents (id),
    kind text not null,
    because text,
    confidence real,
    evidence text,
    is_final integer not null default 0,
    state text not null,               -- in_flight, then how it ended: ok, error, truncated,
                                       -- aborted, unreachable, interrupted
    status integer,
    error_type text,
    error_message text,
    provider_name text,
    dialect text not null,
    request_model text,
    response_model text,
    response_id text,
    previous_response_id text,
    finish_reason text,
    is_stream integer not null,
    started_at real not null,
    first_byte_at real,
    ended_at real,
    input_tokens integer,              -- as the provider counts; null is unknown
    output_tokens integer,
    cache_read_input_tokens integer,
    cache_creation_input_tokens integer,
    reasoning_tokens integer,
    usage text,                        -- JSON: the provider's own usage object
    method text not null,
    scheme text not null,
    host text not null,
    port integer not null,
    path text not null,
    request_headers text not null,     -- JSON: [[name, value], ...], secrets masked
    stamped_headers text not null,     -- JSON: [[name, value or null], ...]
    members text not null,             -- JSON: [[name, JSON], ...], the rest of the body, with
                                       -- <messages>, <system>, <tools> for what is kept elsewhere
    system_message_id text references messages (id),
    tools_message_id text references messages (id),
    base_call_id text references calls (id),
    base_length integer not null default 0,  -- so many messages are those of the base call
    request_bytes integer not null,
    reply_bytes integer,
    client_address text,
    client_connection text,
    user_agent text
);
create index calls_by_session on calls (session_id, started_at);
create index calls_by_start on calls (started_at);
create table messages (
    id text primary key,               -- a hash of the body: each message is stored once
    role text not null,                -- system, user, assistant, tool; or tools: a list of tools
    text text,                         -- its words
    body text not null                 -- JSON, exactly as sent
);
create table call_messages (
    call_id text not null references calls (id),
    is_reply integer not null,
    position integer not null,
    message_id text not null references messages (id),
    primary key (call_id, is_reply, position)
) without rowid;
create table facts (
    name text primary key,
    value blob not null
);
create view conversation as
    -- the newest main call of each session with its reply: the session's transcript
    with recursive newest as (
        select session_id, id, max(started_at) from calls where kind = 'main' group by session_id
    ), levels (session_id, call_id, length) as (
        -- a call's own messages, then those of the call it builds on, and so on
        select session_id, id, 1000000 from newest
        union all
        select levels.session_id, calls.base_call_id, min(levels.length, calls.base_length)
        from levels join calls on calls.id = levels.call_id
        where calls.base_call_id is not null
    )
    select session_id, position, role, text, message_id from (
        select levels.session_id, position, role, text, message_id
        from levels join call_messages on call_messages.call_id = levels.call_id
        join messages on messages.id = message_id
        where is_reply = 0 and position < levels.length
        union all
        select newest.session_id, 1000000 + position, role, text, message_id
        from newest join call_messages on call_id = newest.id
        join messages on messages.id = message_id
        where is_reply = 1
    ) order by session_id, position;
create view session_summary as
    select sessions.id as session_id, sessions.parent_session_id, sessions.root_session_id,
        sessions.relation, agents.name as agent, sessions.because, sessions.confidence,
        sessions.evidence, count(calls.id) as calls, sum(calls.input_tokens) as input_tokens,
        sum(calls.output_tokens) as output_tokens, min(calls.started_at) as first_seen,
        max(coalesce(calls.ended_at, calls.started_at)) as last_seen
    from sessions
    left join agents on agents.id = sessions.agent_id
    left join calls on calls.session_id = sessions.id
    group by sessions.id;
