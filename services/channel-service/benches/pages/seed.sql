-- Ten thousand villages. Triggers rest meanwhile; what they would have done is done at once at the end.
SET search_path TO channel;
SET session_replication_role = replica;

INSERT INTO tenants (tenant_id, name)
SELECT 'desa-' || n, 'Desa Sukamaju ' || n FROM generate_series(1, :tenants - 1) AS n;

INSERT INTO accounts (tenant_id, id, provider, endpoint, instance_name, session_id, status)
SELECT 'desa-' || n, gen_random_uuid(), a.provider, a.endpoint, 'village-' || n, md5('session ' || n), a.status
FROM accounts a, generate_series(1, :tenants - 1) AS n WHERE a.tenant_id = 'desa-0';

-- One tenant has many chats with a message each, the others one with many.
INSERT INTO chats (tenant_id, id, account_id, address, phone, name, profile_name, last_message_at, last_text, unread, last_inbound_at)
SELECT 'desa-0', gen_random_uuid(), ':account', 628120000000 + n || '@s.whatsapp.net', (628120000000 + n)::text,
    (ARRAY['Warga', 'Wulandari', 'Joko', 'Siti', 'Agus'])[1 + n % 5] || ' ' || n, NULL,
    now() - n * interval '20 seconds', 'Apakah kantor buka hari ini?', (n % 9 = 0)::int, now() - n * interval '20 seconds'
FROM generate_series(1, :chats) AS n;
INSERT INTO chats (tenant_id, id, account_id, address, phone, name, last_message_at, last_text)
SELECT tenant_id, gen_random_uuid(), id, '6281399999999@s.whatsapp.net', '6281399999999', 'Budi', now(), 'Baik, terima kasih'
FROM accounts WHERE tenant_id <> 'desa-0';

INSERT INTO messages (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, body, content, sent_at, status,
    created_at)
SELECT c.tenant_id, gen_random_uuid(), c.account_id, c.id, CASE WHEN m % 2 = 1 THEN 'inbound' ELSE 'outbound' END,
    CASE WHEN m % 2 = 1 THEN 'webhook' ELSE 'admin' END, c.id || '-' || m, 'text', 'Apakah kantor buka hari ini?',
    '{"kind":"text","text":"Apakah kantor buka hari ini?"}', c.last_message_at - m * interval '1 minute',
    CASE WHEN m % 2 = 1 THEN 'delivered' ELSE 'read' END, c.last_message_at - m * interval '1 minute'
FROM chats c CROSS JOIN LATERAL generate_series(1, CASE WHEN c.tenant_id = 'desa-0' THEN 1 ELSE :each END) AS m;

INSERT INTO chat_words (tenant_id, chat_id, word)
SELECT c.tenant_id, c.id, w.word FROM chats c CROSS JOIN LATERAL (
    SELECT words_of(concat_ws(' ', c.profile_name, c.name)) AS word UNION SELECT digits_of(c.phone)) w
WHERE w.word IS NOT NULL;

SET session_replication_role = origin;
ANALYZE;
