-- What is asked when something is deleted: who else refers to it.
create index call_messages_by_message on call_messages (message_id);
create index calls_by_base on calls (base_call_id) where base_call_id is not null;
create index calls_by_system on calls (system_message_id) where system_message_id is not null;
create index calls_by_tools on calls (tools_message_id) where tools_message_id is not null;
create index calls_by_agent on calls (agent_id);
create index sessions_by_last_seen on sessions (last_seen);
create index messages_in_parts on messages (id) where parts is not null;
