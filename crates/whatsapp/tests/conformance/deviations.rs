//! Where providers do something else than the table says, and why it cannot be otherwise.

use crate::provider::Deviation;

/// The genfity server.
pub(crate) const GENFITY: &[Deviation] = &[
    Deviation {
        case: "answer to nobody knows whom",
        instead: "accepted; 'Ya'",
        why: "the server knows no messages, and WhatsApp shows no quote without its writer",
    },
    Deviation {
        case: "sound by link",
        instead: "rejected unprocessable; nothing shown",
        why: "the server fetches pictures and films only; callers load everything else",
    },
    Deviation {
        case: "voice note by link",
        instead: "rejected unprocessable; nothing shown",
        why: "the server fetches pictures and films only; callers load everything else",
    },
    Deviation {
        case: "document by link",
        instead: "rejected unprocessable; nothing shown",
        why: "the server fetches pictures and films only; callers load everything else",
    },
    Deviation {
        case: "sticker by link",
        instead: "rejected unprocessable; nothing shown",
        why: "the server fetches pictures and films only; callers load everything else",
    },
    Deviation {
        case: "session that shows a code",
        instead: "unknown server_error; nothing shown",
        why: "a 500 whose text no contract fixes: it could be said after sending",
    },
    Deviation {
        case: "endpoint does not take us",
        instead: "accepted; 'Halo'",
        why: "sends prove themselves by the session's token alone",
    },
    Deviation {
        case: "session, endpoint does not take us",
        instead: "connected, logged in, 628111000001, events come here",
        why: "the same of a session's calls",
    },
];

/// GoWA.
pub(crate) const GOWA: &[Deviation] = &[
    Deviation {
        case: "place with a name",
        instead: "accepted; place -5.1477 119.4327",
        why: "the route has no field for it",
    },
    Deviation {
        case: "the same text twice",
        instead: "not to be repeated; 'Halo'; 'Halo'",
        why: "the server makes the ids: each call is a message",
    },
    Deviation {
        case: "the same picture twice",
        instead: "not to be repeated; image image/jpeg whole; image image/jpeg whole",
        why: "the server makes the ids: each call is a message",
    },
    Deviation {
        case: "the same cards twice",
        instead: "not to be repeated; card Pak Lurah 6281300000007; card Bu RT 6281300000008; card Pak Lurah 6281300000007; card Bu RT 6281300000008",
        why: "the server makes the ids: each call is a message",
    },
    Deviation {
        case: "second card rate limited",
        instead: "unknown partly_sent; card A 6281300000007",
        why: "the first card would be sent twice",
    },
    Deviation {
        case: "document comes in",
        instead: "from 6281290000011@s.whatsapp.net: document 'ini'",
        why: "a file that the server has downloaded is told of by its path alone",
    },
    Deviation {
        case: "poll comes in",
        instead: "from 6281290000011@s.whatsapp.net: document",
        why: "an event with nothing in it is the same as one whose file was not downloaded, and is asked for",
    },
    Deviation {
        case: "choice comes in",
        instead: "from 6281290000011@s.whatsapp.net: kept raw",
        why: "its shape is in no contract",
    },
    Deviation {
        case: "send told once more",
        instead: "not told",
        why: "GoWA repeats no send",
    },
    Deviation {
        case: "connected",
        instead: "not told",
        why: "GoWA tells nothing about sessions: they are asked",
    },
    Deviation {
        case: "disconnected",
        instead: "not told",
        why: "GoWA tells nothing about sessions: they are asked",
    },
    Deviation {
        case: "logged out",
        instead: "not told",
        why: "GoWA tells nothing about sessions: they are asked",
    },
    Deviation {
        case: "code shown",
        instead: "not told",
        why: "GoWA tells nothing about sessions: they are asked",
    },
    Deviation {
        case: "codes ran out",
        instead: "not told",
        why: "GoWA tells nothing about sessions: they are asked",
    },
    Deviation {
        case: "paired",
        instead: "not told",
        why: "GoWA tells nothing about sessions: they are asked",
    },
    Deviation {
        case: "connection failed",
        instead: "not told",
        why: "GoWA tells nothing about sessions: they are asked",
    },
    Deviation {
        case: "file while off the network",
        instead: "whole",
        why: "the server has downloaded it, and shows it to whoever knows its path",
    },
    Deviation {
        case: "code of a session never connected",
        instead: "a picture",
        why: "a code is made by asking for one, which begins a login",
    },
    Deviation {
        case: "linking code of a session never connected",
        instead: "a code",
        why: "a code is made by asking for one, which begins a login",
    },
    Deviation {
        case: "logout of a session never connected",
        instead: "not_logged_in",
        why: "the server tells an idle device and an unpaired one apart by nothing",
    },
    Deviation {
        case: "disconnect",
        instead: "provider_refused",
        why: "a device cannot leave the network and keep its pairing",
    },
    Deviation {
        case: "disconnect what is not connected",
        instead: "provider_refused",
        why: "a device cannot leave the network and keep its pairing",
    },
    Deviation {
        case: "disconnect an unknown session",
        instead: "provider_refused",
        why: "a device cannot leave the network and keep its pairing",
    },
];

/// The Cloud API.
pub(crate) const CLOUD: &[Deviation] = &[
    Deviation {
        case: "longest text",
        instead: "rejected too_large; nothing shown",
        why: "a text has 4096 characters at most",
    },
    Deviation {
        case: "text to a hidden id",
        instead: "rejected invalid_recipient; nothing shown",
        why: "Meta knows people by number or user id; hidden ids and groups of phones are nothing to it",
    },
    Deviation {
        case: "text to a group",
        instead: "rejected invalid_recipient; nothing shown",
        why: "Meta knows people by number or user id; hidden ids and groups of phones are nothing to it",
    },
    Deviation {
        case: "reaction to our own",
        instead: "accepted under a strange id; 'Halo' with 👍",
        why: "Meta gives a reaction an id of its own, and tells of its failure under that",
    },
    Deviation {
        case: "reaction taken back",
        instead: "accepted under a strange id; 'Halo'",
        why: "Meta gives a reaction an id of its own, and tells of its failure under that",
    },
    Deviation {
        case: "edit",
        instead: "rejected unprocessable under a strange id; 'Halo'",
        why: "the API edits nothing",
    },
    Deviation {
        case: "deletion for everyone",
        instead: "rejected unprocessable under a strange id; 'Halo'",
        why: "the API deletes nothing",
    },
    Deviation {
        case: "edit cut after it was done",
        instead: "rejected unprocessable, not to be repeated; 'Halo'",
        why: "the API edits nothing",
    },
    Deviation {
        case: "the same text twice",
        instead: "not to be repeated; 'Halo'; 'Halo'",
        why: "Meta takes no id of ours: each call is a message",
    },
    Deviation {
        case: "the same picture twice",
        instead: "not to be repeated; image image/jpeg whole; image image/jpeg whole",
        why: "Meta takes no id of ours: each call is a message",
    },
    Deviation {
        case: "the same cards twice",
        instead: "not to be repeated; card Pak Lurah 6281300000007; card Bu RT 6281300000008; card Pak Lurah 6281300000007; card Bu RT 6281300000008",
        why: "Meta takes no id of ours: each call is a message",
    },
    Deviation {
        case: "session never connected",
        instead: "rejected refused; nothing shown",
        why: "a number is registered or not, which is its owner's to do: contract 3.6 has it as a refusal for good",
    },
    Deviation {
        case: "session that shows a code",
        instead: "rejected refused; nothing shown",
        why: "a number is registered or not, which is its owner's to do: contract 3.6 has it as a refusal for good",
    },
    Deviation {
        case: "session off the network",
        instead: "rejected refused; nothing shown",
        why: "a number is registered or not, which is its owner's to do: contract 3.6 has it as a refusal for good",
    },
    Deviation {
        case: "session logged out",
        instead: "rejected refused; nothing shown",
        why: "a number is registered or not, which is its owner's to do: contract 3.6 has it as a refusal for good",
    },
    Deviation {
        case: "unknown token",
        instead: "rejected not_found; nothing shown",
        why: "the token is the endpoint's and is taken; the number is not there, or not for it",
    },
    Deviation {
        case: "503 with a wait",
        instead: "unknown bad_gateway; nothing shown",
        why: "contract 3.8: of a 5xx nobody knows, whatever its headers say",
    },
    Deviation {
        case: "second card rate limited",
        instead: "accepted; card A 6281300000007; card B 6281300000008",
        why: "all cards travel in one message, so there is no second call",
    },
    Deviation {
        case: "second card lost",
        instead: "accepted; card A 6281300000007; card B 6281300000008",
        why: "all cards travel in one message, so there is no second call",
    },
    Deviation {
        case: "second card refused",
        instead: "accepted; card A 6281300000007; card B 6281300000008",
        why: "all cards travel in one message, so there is no second call",
    },
    Deviation {
        case: "typing",
        instead: "not sendable, 0",
        why: "typing is shown under a message that came, and none has",
    },
    Deviation {
        case: "typing ended",
        instead: "shown, 0",
        why: "typing ends by itself, and there is no call that ends it",
    },
    Deviation {
        case: "typing from an unknown session",
        instead: "not sendable",
        why: "typing is shown under a message that came, and none has",
    },
    Deviation {
        case: "typing from a session never connected",
        instead: "not sendable",
        why: "typing is shown under a message that came, and none has",
    },
    Deviation {
        case: "typing refused",
        instead: "not sendable",
        why: "typing is shown under a message that came, and none has",
    },
    Deviation {
        case: "typing cut",
        instead: "not sendable",
        why: "typing is shown under a message that came, and none has",
    },
    Deviation {
        case: "typing to nobody",
        instead: "not sendable",
        why: "typing is shown under a message that came, and none has",
    },
    Deviation {
        case: "one marked as read",
        instead: "refused, 0 marked",
        why: "Meta marks what it delivered itself, and the table's messages are made up",
    },
    Deviation {
        case: "many marked as read",
        instead: "refused, not the newest 20 marked",
        why: "Meta marks what it delivered itself, and the table's messages are made up; with the newest all are",
    },
];
