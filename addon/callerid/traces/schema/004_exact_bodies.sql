-- What it takes to rebuild the bytes of requests and replies.
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
