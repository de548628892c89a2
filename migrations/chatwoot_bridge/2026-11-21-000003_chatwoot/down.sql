DROP TABLE unrouted_inboxes;
DROP TABLE handled_events;
DROP TABLE agent_messages;
DROP TABLE message_links;
DROP TABLE contacts;
DROP TABLE inboxes;
