-- Where routing sent a call; null is where the client sent it.
alter table calls add column upstream text;
