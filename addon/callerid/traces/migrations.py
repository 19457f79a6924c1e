"""The schema of traces.db, grown in numbered steps that are only ever added to."""

from __future__ import annotations

import secrets

from sqlite_utils import Database, Migrations

schema = Migrations("callerid")

FIRST = """
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
"""

SECOND = """
-- With what the cache took and gave, and with reasoning, whichever way the provider counts them;
-- null where nothing was used, as when tokens are only counted.
alter table calls add column total_input_tokens integer;
alter table calls add column total_output_tokens integer;
-- US dollars at the provider's list price, or as the provider itself said; null is unknown.
alter table calls add column cost_usd real;
update calls set
    total_input_tokens = case when dialect in ('anthropic', 'bedrock_converse') then
        input_tokens + coalesce(cache_read_input_tokens, 0)
        + coalesce(cache_creation_input_tokens, 0) else input_tokens end,
    total_output_tokens = case when dialect = 'gemini' then
        output_tokens + coalesce(reasoning_tokens, 0) else output_tokens end
    where kind != 'count_tokens';
drop view session_summary;
create view session_summary as
    select sessions.id as session_id, sessions.parent_session_id, sessions.root_session_id,
        sessions.relation, agents.name as agent, sessions.because, sessions.confidence,
        sessions.evidence, count(calls.id) as calls,
        sum(calls.total_input_tokens) as input_tokens,
        sum(calls.total_output_tokens) as output_tokens, sum(calls.cost_usd) as cost_usd,
        sum(calls.cost_usd is null and calls.total_input_tokens is not null) as calls_unpriced,
        min(calls.started_at) as first_seen,
        max(coalesce(calls.ended_at, calls.started_at)) as last_seen
    from sessions
    left join agents on agents.id = sessions.agent_id
    left join calls on calls.session_id = sessions.id
    group by sessions.id;
"""


@schema()
def m001_agents_sessions_calls_messages(db: Database) -> None:
    """Create the tables and views, and the key with which credentials are digested."""
    _run(db, FIRST)
    db.table("facts").insert({"name": "credential_digest_key", "value": secrets.token_bytes(32)})


@schema()
def m002_cost(db: Database) -> None:
    """Add what calls cost, and their tokens in one way of counting."""
    _run(db, SECOND)


@schema()
def m003_routing(db: Database) -> None:
    """Add where routing sent a call; null is where the client sent it."""
    db.execute("alter table calls add column upstream text")


EXACT = """
alter table calls add column writer_id text;
    -- the proxy that wrote it: while that lives, it holds a lock on traces.db-writer-ID
alter table calls add column layout text;
    -- JSON: what stood around and between the members and messages of the request's body, where
    -- it was not compact JSON: [open, colon, comma, close, open of the messages, comma, close]
alter table calls add column request_patch blob;
    -- what makes the request's body of what is rebuilt, where that has other bytes: zstd, with
    -- what is rebuilt as its dictionary
alter table calls add column request_exactness text;
    -- exact: the same bytes as were sent; equal: the same JSON; redacted: with secrets masked
alter table calls add column reply_exactness text;
    -- as above, or absent: the bytes of the reply are not on record; null while it is in flight
alter table messages add column folds text;
    -- JSON: [[at, start, length, is_ascii], ...]: at this byte of the body stand so many characters
    -- of the text, as JSON writes them
alter table messages add column parts text;
    -- JSON: the ids of the messages that it is a list of; its body is [before, between, after] then
    -- (a body that is a blob is JSON packed with zstd)
create table reply_bodies (
    call_id text primary key references calls (id),
    is_against_messages integer not null,  -- the reply's messages, joined, are zstd's dictionary
    body blob not null                     -- zstd: as it came on the wire, unpacked
);
create index calls_in_flight on calls (writer_id) where state = 'in_flight';
create view prompts as
    -- system prompts and lists of tools with their words; those in parts are put together
    select whole.id, whole.role, coalesce(whole.text, (
        select group_concat(part.text, char(10)) from (
            select messages.text from json_each(whole.parts) as listed
            join messages on messages.id = listed.value order by listed.key
        ) as part
    )) as text
    from messages as whole where whole.role in ('system', 'tools');
create view unused_messages as
    -- what no call refers to any more, as after calls were deleted
    with used (id) as (
        select message_id from call_messages
        union select system_message_id from calls union select tools_message_id from calls
        union select system_message_id from agents
    )
    select id, role, text from messages where id not in (
        select id from used where id not null
        union select listed.value from used join messages as whole on whole.id = used.id
        join json_each(whole.parts) as listed
    );
insert or ignore into facts (name, value) values ('deletions', 0);
    -- goes up with every deletion: proxies that write forget then what they know to be stored
update calls set reply_exactness = 'absent';
update calls set request_exactness = case
    when instr(members, '***') or session_id in (
        select calls.session_id from messages
        join call_messages on call_messages.message_id = messages.id
        join calls on calls.id = call_messages.call_id where instr(messages.body, '***')
    ) or system_message_id in (select id from messages where instr(body, '***'))
    or tools_message_id in (select id from messages where instr(body, '***'))
    then 'redacted' else 'equal' end;
update calls set state = 'interrupted' where state = 'in_flight';
"""


@schema()
def m004_exact_bodies(db: Database) -> None:
    """Keep what it takes to rebuild the bodies of requests and replies exactly."""
    _run(db, EXACT)


SEARCHING = """
-- The words of messages by number, and the full-text index over them; see searching.py.
create table searched (rowid integer primary key, message_id text not null unique);
create view searchable as
    select searched.rowid as rowid, messages.text as text
    from searched join messages on messages.id = searched.message_id;
create virtual table messages_fts using fts5(
    text, content='searchable', content_rowid='rowid', tokenize='unicode61 remove_diacritics 2'
);
create trigger messages_forgotten before delete on messages begin
    insert into messages_fts (messages_fts, rowid, text)
        select 'delete', rowid, old.text from searched where message_id = old.id; \
    delete from searched where message_id = old.id; \
end;
"""


@schema()
def m005_searching(db: Database) -> None:
    """Add the full-text index."""
    _run(db, SEARCHING.replace("\\\n", ""))


def _run(db: Database, statements: str) -> None:
    for statement in statements.split(";\n"):
        if statement.strip():
            db.execute(statement)
