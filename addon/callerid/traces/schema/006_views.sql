create table tool_calls (
    call_id text not null references calls (id),  -- in whose reply the model asked for it
    position integer not null,
    name text not null,
    tool_call_id text,
    primary key (call_id, position)
) without rowid;
create index tool_calls_by_name on tool_calls (name);

create view agent_summary as
    select agents.id as agent_id, agents.name as agent,
        count(distinct calls.session_id) as sessions, count(calls.id) as calls,
        sum(calls.state not in ('ok', 'in_flight')) as failed_calls,
        sum(calls.total_input_tokens) as input_tokens,
        sum(calls.total_output_tokens) as output_tokens,
        sum(calls.cache_read_input_tokens) as cache_read_input_tokens,
        sum(calls.cost_usd) as cost_usd,
        sum(calls.cost_usd is null and calls.total_input_tokens is not null) as calls_unpriced,
        group_concat(distinct coalesce(calls.response_model, calls.request_model)) as models,
        agents.tools, min(calls.started_at) as first_seen,
        max(coalesce(calls.ended_at, calls.started_at)) as last_seen
    from agents left join calls on calls.agent_id = agents.id
    group by agents.id;

create view tool_usage as
    select tool_calls.name as tool, agents.name as agent, count(*) as times,
        count(distinct calls.session_id) as sessions, max(calls.started_at) as last_asked
    from tool_calls
    join calls on calls.id = tool_calls.call_id
    left join agents on agents.id = calls.agent_id
    group by tool_calls.name, agents.name;

create view daily_usage as
    -- days are those of the place where this is asked
    select date(calls.started_at, 'unixepoch', 'localtime') as day,
        calls.provider_name, coalesce(calls.response_model, calls.request_model) as model,
        count(*) as calls, count(distinct calls.session_id) as sessions,
        sum(calls.state not in ('ok', 'in_flight')) as failed_calls,
        sum(calls.total_input_tokens) as input_tokens,
        sum(calls.total_output_tokens) as output_tokens,
        sum(calls.cache_read_input_tokens) as cache_read_input_tokens,
        sum(calls.cache_creation_input_tokens) as cache_creation_input_tokens,
        sum(calls.cost_usd) as cost_usd,
        sum(calls.cost_usd is null and calls.total_input_tokens is not null) as calls_unpriced
    from calls group by 1, 2, 3;

create view session_tree as
    -- each session below the one that it came from; the costs are with all that came from it
    with recursive tree (session_id, root_session_id, depth, place) as (
        select id, id, 0, printf('%020.6f', first_seen) || id from sessions
        where parent_session_id is null
            or parent_session_id not in (select id from sessions)
        union all
        select sessions.id, tree.root_session_id, tree.depth + 1,
            tree.place || '/' || printf('%020.6f', sessions.first_seen) || sessions.id
        from tree join sessions on sessions.parent_session_id = tree.session_id
        where tree.depth < 32
    ), below (session_id, descendant) as (
        select session_id, session_id from tree
        union
        select below.session_id, sessions.id
        from below join sessions on sessions.parent_session_id = below.descendant
    )
    select substr('                                ', 1, tree.depth * 2) || coalesce(agents.name, sessions.client_name, '')
            as tree,
        tree.session_id, sessions.parent_session_id, tree.root_session_id, tree.depth,
        sessions.relation, count(calls.id) as calls,
        sum(calls.total_input_tokens) as input_tokens,
        sum(calls.total_output_tokens) as output_tokens, sum(calls.cost_usd) as cost_usd,
        (select sum(cost_usd) from below join calls on calls.session_id = below.descendant
            where below.session_id = tree.session_id) as cost_usd_with_children,
        sessions.first_seen, sessions.last_seen
    from tree
    join sessions on sessions.id = tree.session_id
    left join agents on agents.id = sessions.agent_id
    left join calls on calls.session_id = tree.session_id
    group by tree.session_id
    order by tree.place;

create view slowest_calls as
    select calls.id as call_id, calls.session_id, agents.name as agent,
        coalesce(calls.response_model, calls.request_model) as model,
        round(calls.ended_at - calls.started_at, 3) as seconds,
        round(calls.first_byte_at - calls.started_at, 3) as first_byte_seconds,
        calls.total_input_tokens as input_tokens, calls.total_output_tokens as output_tokens,
        calls.state, calls.status, calls.started_at
    from calls left join agents on agents.id = calls.agent_id
    where calls.ended_at is not null
    order by calls.ended_at - calls.started_at desc;

create view spans as
    -- calls under the names that OpenTelemetry's conventions for generative AI give their values
    -- (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/)
    select calls.id as call_id,
        case calls.kind when 'embedding' then 'embeddings' else 'chat' end
            as "gen_ai.operation.name",
        calls.provider_name as "gen_ai.provider.name",
        calls.request_model as "gen_ai.request.model",
        calls.response_model as "gen_ai.response.model",
        calls.response_id as "gen_ai.response.id",
        calls.finish_reason as "gen_ai.response.finish_reasons",
        calls.total_input_tokens as "gen_ai.usage.input_tokens",
        calls.total_output_tokens as "gen_ai.usage.output_tokens",
        calls.cache_read_input_tokens as "gen_ai.usage.cache_read.input_tokens",
        calls.cache_creation_input_tokens as "gen_ai.usage.cache_creation.input_tokens",
        calls.session_id as "gen_ai.conversation.id",
        sessions.root_session_id as "session.id",
        calls.agent_id as "gen_ai.agent.id", agents.name as "gen_ai.agent.name",
        calls.host as "server.address", calls.port as "server.port",
        coalesce(calls.error_type, case when calls.state not in ('ok', 'in_flight')
            then calls.state end) as "error.type",
        calls.started_at, calls.ended_at
    from calls
    left join sessions on sessions.id = calls.session_id
    left join agents on agents.id = calls.agent_id;
