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
