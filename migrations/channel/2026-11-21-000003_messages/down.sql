DROP TABLE quarantine;
DROP TABLE provider_events;
DROP TABLE send_attempts;
DROP TABLE send_requests;
DROP TABLE inbound_ledger;
DROP TABLE messages;
DROP TABLE chats;
DROP TABLE accounts;
