//! The control plane as methods, for tests in the same process. Each does what the HTTP route of its name does.

use crate::chatwoot::{acts, control as chatwoot};
use crate::gowa::control as gowa;
use crate::graph::control as graph;
use crate::hub::lock;
use crate::wa::control as wa;
use crate::{
    AccountCreated, AgentTyping, ApiCall, ChatwootConfigChange, ChatwootDelivery, ChatwootFile,
    ChatwootSettings, ContactMerge, ContactView, ControlError, ConversationStatusChange, ConversationView,
    DeliveryAttempt, FaultError, FaultSpec, FaultView, GowaChatwoot, GowaConfigChange, GowaDelivery,
    GowaDevice, GowaInbound, GowaMessage, GowaNote, GowaReceipt, GowaSend, GowaSettings, GraphApp,
    GraphChange, GraphDelivery, GraphEmitted, GraphInbound, GraphMedia, GraphNumber, GraphRaw,
    GraphRedelivery, GraphSend, GraphSettings, GraphStatusChange, GraphTemplate, GraphToken, GraphTrouble,
    GraphTroubleView, GraphUpdate, GraphVerification, GraphWindowChange, Inbound, InboundStream,
    InboxCreated, MessageView, NewAccount, NewGowaDevice, NewGraphNumber, NewInbox, NewSession, PhoneMessage,
    RawEvent, Receipt, Redelivery, Reply, ReplyStream, ReplyStreamProgress, RequestEntry, ShownPicture,
    Simulator, StatusUpdate, StreamProgress, SupportCustomer, Trouble, TroubleKind, WaConfigChange,
    WaSettings, WaUser,
};

/// The bucket.
impl Simulator {
    /// Puts an object into the bucket. Returns its address.
    pub fn put_s3_object(&self, key: &str, bytes: Vec<u8>) -> String {
        crate::s3::put(&self.hub, key, bytes);
        format!("{}/s3/{key}", self.base_url())
    }
}

/// The WA server and its phones.
impl Simulator {
    /// A session that is created, connected, paired and, with a key, signing: everything but the ceremony.
    pub fn create_wa_session(&self, new: NewSession) -> Result<WaUser, ControlError> {
        wa::create_session(&self.hub, new)
    }

    /// All users with their live state.
    #[must_use]
    pub fn wa_users(&self) -> Vec<WaUser> {
        wa::users(&self.hub)
    }

    /// The phone scans the QR code of a session that waits for it.
    pub fn scan_qr(&self, session: &str, jid: Option<String>) -> Result<(), ControlError> {
        wa::scan(&self.hub, session, jid)
    }

    /// The code of a session that waits to be scanned runs out, and another one is shown.
    pub fn renew_qr(&self, session: &str) -> Result<(), ControlError> {
        wa::renew_code(&self.hub, session)
    }

    /// Something happens to a session that runs.
    pub fn trouble(&self, session: &str, kind: TroubleKind) -> Result<(), ControlError> {
        let session = session.to_owned();
        wa::trouble(&self.hub, &Trouble { session, kind })
    }

    /// Rebuilds the WA server's cache from its rows, as a restart does (WA contract §9).
    pub fn restart_wa_server(&self) {
        wa::restart(&self.hub);
    }

    /// Someone shows another picture of themselves, or none any more.
    pub fn show_picture(&self, picture: &ShownPicture) -> Result<(), ControlError> {
        wa::show_picture(&self.hub, picture)
    }

    /// Someone writes to a session. Returns the message id.
    pub fn inbound(&self, message: &Inbound) -> Result<String, ControlError> {
        wa::receive(&self.hub, message)
    }

    /// Many people write to a session, in order within each chat. Returns the stream's number.
    pub fn start_inbound_stream(&self, stream: InboundStream) -> Result<u64, ControlError> {
        wa::start_stream(&self.hub, stream)
    }

    /// How far a stream is.
    #[must_use]
    pub fn inbound_stream(&self, id: u64) -> Option<StreamProgress> {
        wa::stream_progress(&self.hub, id)
    }

    /// Emits any event. Returns its number.
    pub fn emit_wa_event(&self, event: RawEvent) -> Result<u64, ControlError> {
        wa::emit(&self.hub, event)
    }

    /// A phone confirms messages. The event's number is absent when the session does not hear of receipts (§12).
    pub fn receipt(&self, receipt: &Receipt) -> Result<Option<u64>, ControlError> {
        wa::receipt(&self.hub, receipt)
    }

    /// The gateway's customers with their keys and sessions, in the order they came.
    #[must_use]
    pub fn support_customers(&self) -> Vec<SupportCustomer> {
        lock(&self.hub.support).view()
    }

    /// Changes settings and returns them all.
    pub fn configure_wa(&self, change: WaConfigChange) -> WaSettings {
        wa::configure(&self.hub, change)
    }

    /// Accepted `/chat/*` calls, oldest first; of one session (id or name) or of all.
    #[must_use]
    pub fn wa_sends(&self, session: Option<&str>) -> Vec<ApiCall> {
        wa::calls(&self.hub, session, None, None)
    }

    /// What a phone shows, in order of arrival.
    #[must_use]
    pub fn phone(&self, phone: &str) -> Vec<PhoneMessage> {
        wa::phone(&self.hub, phone)
            .map(|(messages, _)| messages)
            .unwrap_or_default()
    }

    /// How many messages phones show.
    #[must_use]
    pub fn count_on_phones<'a>(&self, phones: impl IntoIterator<Item = &'a str>) -> u64 {
        wa::count_on_phones(&self.hub, phones)
    }

    /// All attempts to deliver WA events, oldest first.
    #[must_use]
    pub fn wa_deliveries(&self) -> Vec<DeliveryAttempt> {
        wa::deliveries(&self.hub, None, None, None)
    }
}

/// Chatwoot and its agents.
impl Simulator {
    /// Makes an account with an administrator's token.
    pub fn create_chatwoot_account(&self, new: NewAccount) -> AccountCreated {
        chatwoot::add_account(&self.hub, new)
    }

    /// Makes an API inbox.
    pub fn create_chatwoot_inbox(&self, new: NewInbox) -> Result<InboxCreated, ControlError> {
        chatwoot::add_inbox(&self.hub, new)
    }

    /// An agent writes. Returns the message id.
    pub fn agent_reply(&self, reply: &Reply) -> Result<u64, ControlError> {
        chatwoot::reply(&self.hub, reply)
    }

    /// Agents write in every conversation of an inbox, in order within each. Returns the stream's number.
    pub fn start_reply_stream(&self, stream: ReplyStream) -> Result<u64, ControlError> {
        chatwoot::start_stream(&self.hub, stream)
    }

    /// How far a stream of replies is.
    #[must_use]
    pub fn reply_stream(&self, id: u64) -> Option<ReplyStreamProgress> {
        chatwoot::stream_progress(&self.hub, id)
    }

    /// Fires a message's `message_created` again under another delivery id.
    pub fn redeliver(&self, redelivery: &Redelivery) -> Result<(), ControlError> {
        chatwoot::redeliver(&self.hub, redelivery)
    }

    /// The button under a message that failed.
    pub fn press_retry(&self, message: u64) -> Result<(), ControlError> {
        acts::press_retry(&self.hub, message)
    }

    /// An agent deletes a message.
    pub fn agent_deletes(&self, message: u64) -> Result<(), ControlError> {
        acts::delete_message(&self.hub, message)
    }

    /// An agent resolves, opens, parks or snoozes a conversation.
    pub fn set_conversation_status(&self, change: &ConversationStatusChange) -> Result<(), ControlError> {
        acts::set_status(&self.hub, change)
    }

    /// An agent begins to type, or stops.
    pub fn agent_types(&self, typing: &AgentTyping) -> Result<(), ControlError> {
        acts::typing(&self.hub, typing)
    }

    /// An agent makes one contact of two.
    pub fn merge_chatwoot_contacts(&self, merge: &ContactMerge) -> Result<(), ControlError> {
        acts::merge(&self.hub, merge)
    }

    /// An agent deletes a contact, and all conversations with it.
    pub fn delete_chatwoot_contact(&self, account: u64, contact: u64) -> Result<(), ControlError> {
        acts::delete_contact(&self.hub, account, contact)
    }

    /// An administrator deletes a conversation.
    pub fn delete_chatwoot_conversation(&self, account: u64, conversation: u64) -> Result<(), ControlError> {
        acts::delete_conversation(&self.hub, account, conversation)
    }

    /// The file of a message's attachment, counted from 0.
    #[must_use]
    pub fn chatwoot_file(&self, message: u64, number: usize) -> Option<ChatwootFile> {
        acts::file(&self.hub, message, number)
    }

    /// The picture that was put up for a contact.
    #[must_use]
    pub fn chatwoot_avatar(&self, account: u64, contact: u64) -> Option<ChatwootFile> {
        acts::avatar(&self.hub, account, contact)
    }

    /// How Chatwoot is set up.
    #[must_use]
    pub fn chatwoot_settings(&self) -> ChatwootSettings {
        acts::settings(&self.hub)
    }

    /// Sets Chatwoot up differently.
    pub fn configure_chatwoot(&self, change: ChatwootConfigChange) -> ChatwootSettings {
        acts::configure(&self.hub, change)
    }

    /// All contacts of an account.
    #[must_use]
    pub fn chatwoot_contacts(&self, account: u64) -> Vec<ContactView> {
        chatwoot::contacts(&self.hub, account)
    }

    /// All conversations of an account.
    #[must_use]
    pub fn chatwoot_conversations(&self, account: u64) -> Vec<ConversationView> {
        chatwoot::conversations(&self.hub, account)
    }

    /// All messages of an account in the order they were made.
    #[must_use]
    pub fn chatwoot_messages(&self, account: u64) -> Vec<MessageView> {
        chatwoot::messages(&self.hub, account, None, None, None)
    }

    /// How many messages of one kind (`incoming`, `outgoing`) an account has.
    #[must_use]
    pub fn count_chatwoot_messages(&self, account: u64, message_type: &str) -> u64 {
        chatwoot::count_messages(&self.hub, account, message_type)
    }

    /// All attempts to deliver Chatwoot webhooks, oldest first.
    #[must_use]
    pub fn chatwoot_deliveries(&self) -> Vec<ChatwootDelivery> {
        chatwoot::deliveries(&self.hub, None, None)
    }

    /// All status updates asked for, in the order they came.
    #[must_use]
    pub fn status_updates(&self) -> Vec<StatusUpdate> {
        chatwoot::status_updates(&self.hub, None, None)
    }
}

/// The GoWA and its phones.
impl Simulator {
    /// A device that is made, paired and posting: everything but the ceremony.
    pub fn create_gowa_device(&self, new: NewGowaDevice) -> GowaDevice {
        gowa::create(&self.hub, new)
    }

    /// All devices.
    #[must_use]
    pub fn gowa_devices(&self) -> Vec<GowaDevice> {
        gowa::all(&self.hub)
    }

    /// The phone scans or types the code of a device that waits for it.
    pub fn scan_gowa(&self, device: &str, jid: Option<String>) -> Result<(), ControlError> {
        gowa::scan(&self.hub, device, jid)
    }

    /// A device is unlinked on the phone.
    pub fn unlink_gowa(&self, device: &str) {
        gowa::unlink(&self.hub, device);
    }

    /// A device's socket breaks; its pairing holds.
    pub fn cut_gowa(&self, device: &str) {
        gowa::lose_connection(&self.hub, device);
    }

    /// Changes settings and returns them all.
    pub fn configure_gowa(&self, change: GowaConfigChange) -> GowaSettings {
        gowa::configure(&self.hub, change)
    }

    /// Something happens at the far end. Returns the message id.
    pub fn gowa_inbound(&self, inbound: &GowaInbound) -> Result<String, ControlError> {
        gowa::receive(&self.hub, inbound)
    }

    /// Someone shows another picture of themselves, or none any more.
    pub fn gowa_show_picture(&self, picture: &ShownPicture) -> Result<(), ControlError> {
        gowa::show_picture(&self.hub, picture)
    }

    /// A phone confirms messages.
    pub fn gowa_receipt(&self, receipt: &GowaReceipt) -> Result<(), ControlError> {
        gowa::receipt(&self.hub, receipt)
    }

    /// Accepted calls under `/send` and `/message`, oldest first.
    #[must_use]
    pub fn gowa_sends(&self) -> Vec<GowaSend> {
        lock(&self.hub.gowa).sends.page(None, None, |_| true)
    }

    /// What a phone shows, in order of arrival.
    #[must_use]
    pub fn gowa_phone(&self, phone: &str) -> Vec<GowaMessage> {
        gowa::phone(&self.hub, phone)
    }

    /// Ids of the messages that devices have marked as read.
    #[must_use]
    pub fn gowa_read(&self) -> Vec<String> {
        gowa::read(&self.hub)
    }

    /// Gives a device a Chatwoot inbox of its own, or takes it away.
    pub fn set_gowa_chatwoot(&self, device: &str, config: Option<GowaChatwoot>) {
        gowa::set_chatwoot(&self.hub, device, config);
    }

    /// The notes the GoWA posted because WhatsApp did not take an agent's message.
    #[must_use]
    pub fn gowa_notes(&self) -> Vec<GowaNote> {
        gowa::notes(&self.hub)
    }

    /// The GoWA has just made this message in Chatwoot itself: it knows the echo for five minutes.
    pub fn gowa_made_in_chatwoot(&self, account: i64, message: i64) {
        gowa::made_in_chatwoot(&self.hub, account, message);
    }

    /// All attempts to deliver the GoWA's events, oldest first.
    #[must_use]
    pub fn gowa_deliveries(&self) -> Vec<GowaDelivery> {
        gowa::deliveries(&self.hub, None, None)
    }
}

/// The Graph API: what is set up, and what its servers and its people do.
impl Simulator {
    /// The base address for clients of the Graph API, without a version: `{base}/v22.0/{number}/messages`.
    #[must_use]
    pub fn graph_url(&self) -> String {
        format!("{}/graph", self.base_url())
    }

    /// A number that is registered, reached by a token and posting: everything but the ceremony. With the first one the
    /// Graph API becomes strict.
    pub fn create_graph_number(&self, new: NewGraphNumber) -> GraphNumber {
        graph::create_number(&self.hub, new)
    }

    /// A number as it is now.
    #[must_use]
    pub fn graph_number(&self, id: &str) -> Option<GraphNumber> {
        lock(&self.hub.graph).numbers.get(id).cloned()
    }

    /// Makes an app or changes its secret and callback.
    pub fn put_graph_app(&self, app: GraphApp) {
        graph::put_app(&self.hub, app);
    }

    /// Makes a token, or changes what it reaches and whether it is whole.
    pub fn put_graph_token(&self, token: GraphToken) {
        graph::put_token(&self.hub, token);
    }

    /// Adds a template to a business account, or replaces the one of its name and language.
    pub fn put_graph_template(
        &self,
        waba: &str,
        template: GraphTemplate,
    ) -> Result<GraphTemplate, ControlError> {
        graph::put_template(&self.hub, waba, template)
    }

    /// Changes settings and returns them all.
    pub fn configure_graph(&self, change: impl FnOnce(&mut GraphSettings)) -> GraphSettings {
        let settings = &mut lock(&self.hub.graph).settings;
        change(settings);
        settings.clone()
    }

    /// A person writes. Returns the message id.
    pub fn graph_inbound(&self, inbound: &GraphInbound) -> Result<String, ControlError> {
        graph::receive(&self.hub, inbound)
    }

    /// Something happened to a message.
    pub fn graph_status(&self, change: &GraphStatusChange) -> Result<GraphEmitted, ControlError> {
        graph::emit(&self.hub, &[GraphUpdate::Status(change.clone())])
    }

    /// Any change of any field.
    pub fn graph_change(&self, change: &GraphChange) -> Result<GraphEmitted, ControlError> {
        graph::emit(&self.hub, &[GraphUpdate::Change(change.clone())])
    }

    /// Up to 1,000 updates in one webhook per callback.
    pub fn graph_batch(&self, updates: &[GraphUpdate]) -> Result<GraphEmitted, ControlError> {
        graph::emit(&self.hub, updates)
    }

    /// Signs and sends a body as it stands. Returns the webhook's number.
    pub fn graph_raw(&self, raw: &GraphRaw) -> Result<u64, ControlError> {
        graph::raw(&self.hub, raw)
    }

    /// Sends one of the last webhooks again, the same bytes.
    pub fn graph_redeliver(&self, redelivery: &GraphRedelivery) -> Result<(), ControlError> {
        graph::redeliver(&self.hub, redelivery)
    }

    /// Asks an app's callback whose it is; the first app's if `app` is empty.
    pub async fn verify_graph_callback(&self, app: &str) -> Result<GraphVerification, ControlError> {
        graph::verify(&self.hub, app).await
    }

    /// Opens or closes the window between a number and a person.
    pub fn set_graph_window(&self, change: &GraphWindowChange) {
        graph::set_window(&self.hub, change);
    }

    /// Buckets are full and allowances whole again.
    pub fn reset_graph_limits(&self) {
        graph::reset_limits(&self.hub);
    }

    /// A file that is there as if it had come with a message to the number. Returns its id.
    pub fn put_graph_media(&self, number: &str, mime_type: &str, bytes: Vec<u8>) -> String {
        graph::put_media(&self.hub, number, mime_type, bytes)
    }

    /// All files that are kept, oldest first.
    #[must_use]
    pub fn graph_media(&self) -> Vec<GraphMedia> {
        graph::media(&self.hub)
    }

    /// The bytes of a file.
    #[must_use]
    pub fn graph_media_content(&self, id: &str) -> Option<Vec<u8>> {
        graph::media_content(&self.hub, id)
    }

    /// A file's id is dead from now on.
    pub fn expire_graph_media(&self, id: &str) -> Result<(), ControlError> {
        graph::expire(&self.hub, Some(id))
    }

    /// All download addresses are dead from now on.
    pub fn expire_graph_urls(&self) {
        graph::expire(&self.hub, None).ok();
    }

    /// Switches a scripted trouble on. Returns its number.
    pub fn add_graph_trouble(&self, trouble: GraphTrouble) -> Result<u64, ControlError> {
        lock(&self.hub.graph).troubles.add(trouble)
    }

    /// All scripted troubles that are on, spent ones included.
    #[must_use]
    pub fn graph_troubles(&self) -> Vec<GraphTroubleView> {
        lock(&self.hub.graph).troubles.list()
    }

    /// Switches all scripted troubles off.
    pub fn clear_graph_troubles(&self) {
        lock(&self.hub.graph).troubles.clear();
    }

    /// Messages and read marks that were accepted, oldest first.
    #[must_use]
    pub fn graph_sends(&self) -> Vec<GraphSend> {
        lock(&self.hub.graph).sends.page(None, None, |_| true)
    }

    /// All attempts to deliver the Graph API's webhooks, oldest first.
    #[must_use]
    pub fn graph_deliveries(&self) -> Vec<GraphDelivery> {
        graph::deliveries(&self.hub, None, None)
    }
}

/// Faults, and what the servers were asked.
impl Simulator {
    /// Switches a fault on. Returns its number.
    pub fn add_fault(&self, fault: FaultSpec) -> Result<u64, FaultError> {
        lock(&self.hub.faults).add(fault)
    }

    /// All faults that are on, spent ones included.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultView> {
        lock(&self.hub.faults).list()
    }

    /// Switches one fault off; false if it was not on.
    pub fn remove_fault(&self, id: u64) -> bool {
        lock(&self.hub.faults).remove(id)
    }

    /// Switches all faults off.
    pub fn clear_faults(&self) {
        lock(&self.hub.faults).clear();
    }

    /// All requests the imitated servers got, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestEntry> {
        lock(&self.hub.requests).page(None, None, |_| true)
    }
}
