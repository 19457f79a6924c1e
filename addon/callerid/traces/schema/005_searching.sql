-- The words of messages by number, and the full-text index over them (searching.py). The numbers
-- are the index's own: those of messages change when somebody vacuums the file.
create table searched (
    rowid integer primary key,
    message_id text not null unique
);
create view searchable as
    select searched.rowid as rowid, messages.text as text
    from searched join messages on messages.id = searched.message_id;
create virtual table messages_fts using fts5 (
    text, content = 'searchable', content_rowid = 'rowid',
    tokenize = 'unicode61 remove_diacritics 2'
);
create trigger messages_forgotten before delete on messages begin
    insert into messages_fts (messages_fts, rowid, text)
        select 'delete', rowid, old.text from searched where message_id = old.id;
    delete from searched where message_id = old.id;
end;
