"""pywa, as it comes from PyPI, against the gate: sends everything, is told everything. Started by a test of channel-service's,
which speaks to it by environment and by one line each way: `ready`, upon which a person writes "Halo dari orang"."""

import http.server
import json
import os
import threading
import time
import urllib.parse
import urllib.request

from pywa import WhatsApp, types
from pywa.errors import WhatsAppError

BASE = os.environ["GATE_BASE"]
PHONE_ID = os.environ["GATE_NUMBER"]
TOKEN = os.environ["GATE_TOKEN"]
PERSON = os.environ["GATE_PERSON"]
IS_CLOUD = os.environ["GATE_PROVIDER"] == "cloud"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + b"\x07" * 2000


def client(**more):
    wa = WhatsApp(phone_id=PHONE_ID, token=TOKEN, server=None, verify_token="kata-kunci", **more)
    wa.api._session.base_url = f"{BASE}/graph/v22.0"
    return wa


class Told:
    """The tenant's own system."""

    def __init__(self):
        self.wa = None
        self.challenger = client(validate_updates=False)
        self.messages, self.statuses, self.troubles = [], [], []
        told = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self, status, body):
                body = str(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                body, status = told.challenger.webhook_challenge_handler(
                    vt=query.get("hub.verify_token"), ch=query.get("hub.challenge"))
                self.reply(status, body)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                wrong = told.wa.webhook_update_validator(body, self.headers.get("x-hub-signature-256"))
                if wrong:
                    told.troubles.append(wrong)
                    self.reply(wrong[1], wrong[0])
                    return
                answer, status = told.wa.webhook_update_handler(body)
                self.reply(status, answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhook"

    def listen(self, secret):
        self.wa = client(app_secret=secret)

        @self.wa.on_message()
        def on_message(_, message: types.Message):
            self.messages.append(message)

        @self.wa.on_message_status()
        def on_status(_, status: types.MessageStatus):
            self.statuses.append(status)


def until(what, find):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = find()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"never happened: {what}")


def subscribe(url):
    request = urllib.request.Request(
        f"{BASE}/api/whatsapp/gate/subscriptions",
        data=json.dumps({"callback_url": url, "verify_token": "kata-kunci"}).encode(),
        headers={"authorization": os.environ["GATE_ADMIN"], "content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["app_secret"]


def main():
    told = Told()
    told.listen(subscribe(told.url))
    wa = told.wa

    print("ready", flush=True)
    message = until("a person's message", lambda: next(
        (one for one in told.messages if one.text == "Halo dari orang"), None))
    assert message.from_user.wa_id == PERSON, message.from_user
    assert message.from_user.bsuid, message.from_user
    assert message.metadata.phone_number_id == PHONE_ID, message.metadata

    message.react("👍")
    reply = message.reply_text("Halo dari pywa", quote=True, tracker="job:1")
    assert reply.id.startswith("wamid."), reply
    moved = until("the reply was sent", lambda: next(
        (one for one in told.statuses if one.id == reply.id and one.status == "sent"), None))
    assert moved.tracker == "job:1", moved
    assert moved.from_user.bsuid == message.from_user.bsuid, (moved.from_user, message.from_user)
    wa.mark_message_as_read(message_id=message.id)
    wa.indicate_typing(message_id=message.id)

    number = wa.get_business_phone_number()
    assert number.id == PHONE_ID, number

    media = wa.upload_media(media=JPEG, mime_type="image/jpeg", filename="peta.jpg")
    sent = [wa.send_image(to=PERSON, image=media.id, caption="Peta dari pywa").id]
    told_of = wa.get_media_url(media.id)
    assert told_of.mime_type == "image/jpeg" and told_of.file_size == len(JPEG), told_of
    url = told_of.url.replace("https://files.example", BASE)
    assert wa.get_media_bytes(url) == JPEG
    sent.append(wa.send_location(to=PERSON, latitude=-6.17, longitude=106.82, name="Monas", address="Jakarta").id)
    sent.append(wa.send_contact(to=PERSON, contact=types.Contact(
        name=types.Contact.Name(formatted_name="Budi Santoso", first_name="Budi"),
        phones=[types.Contact.Phone(phone="+628110000002", type="WORK", wa_id="628110000002")])).id)
    buttons = [types.Button(title="Ya", callback_data="1")]
    if IS_CLOUD:
        sent.append(wa.send_message(to=PERSON, text="Hadir?", buttons=buttons).id)
    else:
        refusal = refused(lambda: wa.send_message(to=PERSON, text="Hadir?", buttons=buttons))
        assert refusal.code == 131051, refusal
    for wamid in sent:
        until(f"{wamid} was sent", lambda: any(one.id == wamid and one.status == "sent" for one in told.statuses))
    assert wa.delete_media(media.id)
    assert refused(lambda: wa.get_media_url(media.id)).code == 100
    wa.api._session.headers["Authorization"] = "Bearer KANALGATE0"
    assert refused(lambda: wa.send_message(to=PERSON, text="x")).code == 190
    assert not told.troubles, told.troubles
    print("done", flush=True)


def refused(act):
    try:
        act()
    except WhatsAppError as error:
        return error
    raise SystemExit("it was not refused")


main()
