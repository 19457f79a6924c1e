-- What the upstream's reply said of itself: request ids, rate limits, cookies masked.
alter table calls add column reply_headers text;
    -- JSON: [[name, value], ...], secrets masked; null where there was no reply, or it is not known
