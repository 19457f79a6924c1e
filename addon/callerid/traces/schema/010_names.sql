-- The name that a person gave a session; null where nobody did.
alter table sessions add column given_name text;
-- What it was named by a correction of the kind rename; null where its name was taken away.
alter table corrections add column given_name text;
drop view session_summary;
drop view session_tree;
create view session_summary as
    select sessions.id as session_id, sessions.given_name, sessions.parent_session_id, sessions.root_session_id,
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
        tree.session_id, sessions.given_name, sessions.parent_session_id, tree.root_session_id, tree.depth,
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
-- A call that was refused by a budget (blocked) has not failed.
drop view agent_summary;
drop view daily_usage;
create view agent_summary as
    select agents.id as agent_id, agents.name as agent,
        count(distinct calls.session_id) as sessions, count(calls.id) as calls,
        sum(calls.state not in ('ok', 'in_flight', 'blocked')) as failed_calls,
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
create view daily_usage as
    -- days are those of the place where this is asked
    select date(calls.started_at, 'unixepoch', 'localtime') as day,
        calls.provider_name, coalesce(calls.response_model, calls.request_model) as model,
        count(*) as calls, count(distinct calls.session_id) as sessions,
        sum(calls.state not in ('ok', 'in_flight', 'blocked')) as failed_calls,
        sum(calls.total_input_tokens) as input_tokens,
        sum(calls.total_output_tokens) as output_tokens,
        sum(calls.cache_read_input_tokens) as cache_read_input_tokens,
        sum(calls.cache_creation_input_tokens) as cache_creation_input_tokens,
        sum(calls.cost_usd) as cost_usd,
        sum(calls.cost_usd is null and calls.total_input_tokens is not null) as calls_unpriced
    from calls group by 1, 2, 3;
