"""Follows docs/OPERATIONS.md in a guest that install-check made ready, and judges the outcome. Called by install-check as

    install_check.py WORK BASE BINARIES

What is pasted is read from the document each time, so that it cannot say anything else than what was done.
"""

import os
import re
import secrets
import signal
import sys
from pathlib import Path

from install_guest import ROOT, Failed, Guest, Terminal, eventually, expect, found, step

OPERATIONS, INSTALL, SECURITY = "docs/OPERATIONS.md", "Install: one server", "SECURITY.md"
# Done before, outside the guest.
BUILD = "cargo build --locked --profile dist -p channel-service -p wa-support-gateway -p chatwoot-bridge\n"
# service: unit's user, port, login role, schema.
SERVICES = {
    "channel-service": ("kanal-channel", 3001, "channel_service", "channel"),
    "wa-support-gateway": ("kanal-gateway", 8070, "wa_support_service", "wa_support"),
    "chatwoot-bridge": ("kanal-bridge", 3000, "chatwoot_bridge_service", "chatwoot_bridge"),
}
# 0 is shut, 10 is open; as in deploy-check.
EXPOSURE = 1.5


# ---- the documents


def section(document, heading):
    text = (ROOT / document).read_text()
    parts = re.split(r"^## (.*)$", text, flags=re.M)
    for title, body in zip(parts[1::2], parts[2::2]):
        if title == heading:
            return body
    raise Failed(f"{document} has no section '{heading}'")


def blocks(document, heading):
    """The commands of a section, one string for each block."""
    found_here = re.findall(r"^( *)```sh\n(.*?)^ *```$", section(document, heading), flags=re.M | re.S)
    expect(found_here, f"{document}, '{heading}' has no commands")
    return ["".join(line.removeprefix(indent) for line in text.splitlines(keepends=True)) for indent, text in found_here]


def says(document, heading, command):
    """A command that stands in the running text."""
    expect(f"`{command}`" in section(document, heading), f"{document}, '{heading}' does not say `{command}` any more")
    return command + "\n"


# ---- judgement


def ready(guest, service):
    port = SERVICES[service][1]
    made = guest.run("curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{port}/health/ready", check=False)
    return '"status":"ready"' in made.stdout or made.stdout + made.stderr


def all_ready(guest):
    for service in SERVICES:
        eventually(f"{service} is not ready", lambda service=service: ready(guest, service))


def main_pid(guest, service):
    return guest.said("systemctl", "show", "-P", "MainPID", f"kanal-{service}")


def users(guest):
    uids = set()
    for service, (user, *_) in SERVICES.items():
        status = dict(line.split(":", 1) for line in guest.said("cat", f"/proc/{main_pid(guest, service)}/status").splitlines())
        status = {name: value.split() for name, value in status.items()}
        uid = guest.said("id", "-u", user)
        expect(set(status["Uid"]) == {uid} and uid != "0", f"{service} runs as {status['Uid']}, and {user} is {uid}")
        uids.add(uid)
        rights = [status[name] for name in ("NoNewPrivs", "Seccomp", "CapEff", "CapBnd", "CapPrm")]
        expect(rights == [["1"], ["2"], ["0" * 16], ["0" * 16], ["0" * 16]], f"{service} has no sandbox: {rights}")
        judged = guest.said("systemd-analyze", "security", "--no-pager", f"kanal-{service}").splitlines()[-1]
        exposure = float(re.search(r": ([0-9.]+)", judged).group(1))
        expect(exposure <= EXPOSURE, f"{service}: {judged}")
        found(f"{service}: {user}, no capability, system calls filtered, exposure {exposure}")
    expect(len(uids) == len(SERVICES), "two services share a user")


def files(guest):
    keys = guest.said("ls", "/etc/kanal/credentials").split()
    expect(len(keys) > 10, f"only these credentials are there: {keys}")
    tried = 0
    for service, (user, *_) in SERVICES.items():
        others = [f"/etc/kanal/credentials/{key}" for key in keys]
        for other in SERVICES:
            handed = guest.said("find", f"/run/credentials/kanal-{other}.service", "-type", "f").split()
            expect(len(handed) > 5, f"{other} was handed only {handed}")
            if other != service:
                others += handed
        if service != "channel-service":
            others += ["/var/lib/kanal/channel-service", "/var/lib/kanal/channel-service/uploads"]
        for path in others:
            guest.run("test", "-e", path)
            expect(guest.run("runuser", "-u", user, "--", "test", "-r", path, check=False).returncode == 1, f"{user} may read {path}")
            tried += 1
    found(f"{tried} files of others, none is readable")


ROLES = """
WITH service (role, schema) AS (VALUES {pairs}),
reach AS (SELECT role, schema, r.oid, r.rolname FROM service JOIN pg_roles r ON pg_has_role(role, r.oid, 'MEMBER')),
ours AS (SELECT c.oid, c.relname, c.relowner, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE nspname IN (SELECT schema FROM service) AND relkind IN ('r', 'p', 'v'))
SELECT role, 'may too much as ' || r.rolname FROM reach r JOIN pg_roles USING (oid)
    WHERE rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication
UNION ALL SELECT role, 'owns ' || relname FROM reach JOIN ours ON relowner = reach.oid
UNION ALL SELECT role, 'reads ' || nspname || '.' || relname FROM reach JOIN ours ON nspname <> schema
    WHERE has_table_privilege(reach.oid, ours.oid, 'SELECT,INSERT,UPDATE,DELETE')
UNION ALL SELECT role, 'makes things in ' || nspname FROM reach, pg_namespace n WHERE has_schema_privilege(reach.oid, n.oid, 'CREATE')
UNION ALL SELECT role, 'has no table' FROM service WHERE NOT EXISTS (SELECT FROM ours WHERE nspname = schema)
UNION ALL SELECT role, 'is not connected' FROM service WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = role)
UNION ALL SELECT usename, 'is connected' FROM pg_stat_activity
    WHERE datname = 'kanal' AND pid <> pg_backend_pid() AND usename NOT IN (SELECT role FROM service)
"""


def psql(guest, text):
    return guest.run("runuser", "-u", "postgres", "--", "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "kanal", text=text).stdout.strip()


def roles(guest):
    pairs = ", ".join(f"('{role}', '{schema}')" for _, _, role, schema in SERVICES.values())
    wrong = psql(guest, ROLES.format(pairs=pairs))
    expect(not wrong, f"roles in Postgres:\n{wrong}")
    found("each is connected as its own role, which owns nothing, is no superuser and sees no other's table")


def a_wrong_setting(guest, terminal):
    unit, file = "kanal-channel-service", "/etc/kanal/channel-service.env"
    guest.run("sed", "-i", "s/^PORT=3001$/PORT=abc/", file)
    # Whether systemctl sees that it ends depends on how soon it does.
    terminal.paste(f"sudo systemctl restart {unit} || true\n")
    status = lambda: guest.said("systemctl", "show", "-P", "ExecMainStatus", unit)  # noqa: E731
    eventually("a wrong port is no end with 78", lambda: status() == "78" or status(), 20)
    logged = terminal.paste(says(OPERATIONS, INSTALL, "sudo journalctl -u kanal-channel-service").strip() + " -n 5 -o cat\n")
    line = next((line.strip() for line in logged.splitlines() if "PORT" in line), None)
    expect(line, f"the log does not name the setting:\n{logged}")
    guest.run("sed", "-i", "s/^PORT=abc$/PORT=3001/", file)
    terminal.paste(f"sudo systemctl restart {unit}\n")
    all_ready(guest)
    found(f"ends with 78, and the log says: {line}")


def one_is_down(guest, terminal):
    others = [service for service in SERVICES if service != "wa-support-gateway"]
    before = [main_pid(guest, service) for service in others]
    terminal.paste("sudo systemctl stop kanal-wa-support-gateway\n")
    seen = terminal.paste("{ kanal channel-service doctor || true; } | grep -A1 '^wrong'\n")
    expect("endpoint Primary" in seen, f"doctor does not see it:\n{seen}")
    for service in others:
        expect(ready(guest, service) is True, f"{service} does not stand without the gateway: {ready(guest, service)}")
    expect(before == [main_pid(guest, service) for service in others], "a service was started anew when another stopped")
    terminal.paste("sudo systemctl start kanal-wa-support-gateway\n")
    all_ready(guest)
    found(f"the others go on; doctor says: {seen.splitlines()[0]}")


SIMULATOR = """
sudo systemd-run --quiet --unit=simulator --property=LoadCredential=token:/etc/kanal/credentials/wa_admin_token \\
    --setenv=WA_ADMIN_TOKEN_FILE=/run/credentials/simulator.service/token /usr/local/bin/simulator serve --retry-delay-ms 1000 </dev/null
curl -sS --retry 30 --retry-connrefused --retry-delay 1 -o /dev/null http://127.0.0.1:8090/
"""
# The functions of `make run`; its chores are `kanal`.
DEMO = """
. deploy/dev/lib/common.sh
. deploy/dev/lib/demo.sh
DEMO_LOG=/tmp/demo.log CHANNEL_URL=http://127.0.0.1:3001 CHATWOOT_BRIDGE_URL=http://127.0.0.1:3000 SIMULATOR_URL=http://127.0.0.1:8090
chore() { kanal "$@" </dev/null; }
provision_demo
"""
FIRST_MESSAGE = """
simulator first-message --session "$DEMO_TENANT" --chatwoot-account "$DEMO_CHATWOOT_ACCOUNT" </dev/null
"""


def counted(guest):
    """Rows of tables that only sessions, inboxes and messages change."""
    tables = ("channel.messages", "channel.chats", "channel.accounts", "wa_support.sessions", "chatwoot_bridge.inboxes", "chatwoot_bridge.message_links")
    return [psql(guest, f"SELECT count(*) FROM {table}") for table in tables]


def install(guest, terminal):
    section_blocks = blocks(OPERATIONS, INSTALL)
    expect(sum(BUILD in block for block in section_blocks) == 1, f"the document builds otherwise than `{BUILD.strip()}`")
    for block in section_blocks:
        block = block.replace(BUILD, "")
        step(f"pasting: {block.splitlines()[0].strip()}")
        if "kanal-bootstrap.target" in block:
            settings(guest)
        printed = terminal.paste(block, 900)
        if "doctor" in block:
            judge_doctors(printed)
            found("doctor of each: nothing is wrong, and everything was asked")
        elif "health/ready" in block:
            found(printed.splitlines()[-1])


def judge(guest, terminal):
    step("users and sandboxes")
    all_ready(guest)
    users(guest)
    step("files")
    files(guest)
    step("roles in Postgres")
    roles(guest)
    step("a first message all the way round")
    terminal.paste(DEMO)
    found(terminal.paste(FIRST_MESSAGE).splitlines()[-1].strip())
    message = psql(guest, "SELECT id FROM channel.messages ORDER BY created_at LIMIT 1")
    traced = terminal.paste(f"kanal chatwoot-bridge trace {message}\n")
    expect("put_in_chatwoot" in traced and "not asked" not in traced, f"trace does not know all of its way:\n{traced}")
    step("a wrong setting")
    a_wrong_setting(guest, terminal)
    step("one service is down")
    one_is_down(guest, terminal)


def upgrade(guest, terminal):
    step("the upgrade: install again, and start one after the other")
    sums = ("sh", "-c", "cd /etc/kanal && find . -type f | sort | xargs sha256sum")
    kept = guest.said(*sums)
    guest.place_binaries()
    terminal.paste(says(OPERATIONS, "Upgrade", "sudo deploy/systemd/install"))
    expect(kept == guest.said(*sums), "it changed settings or secrets")
    says(OPERATIONS, "Upgrade", "sudo systemctl restart kanal-channel-service")
    for service in SERVICES:
        before = main_pid(guest, service)
        terminal.paste(f"sudo systemctl restart kanal-{service}\n")
        after = main_pid(guest, service)
        program = guest.said("readlink", f"/proc/{after}/exe")
        expect(after != before and program == f"/usr/local/bin/{service}", f"{service}, process {before}, is now {after}, {program}")
        all_ready(guest)
    terminal.paste(FIRST_MESSAGE)


def new_key(guest, terminal):
    step("a new key for the gateway")
    heading, file = "Changing a key, step by step", "/etc/kanal/credentials/wa_support_gateway_encryption_keys"
    key = terminal.paste(says(SECURITY, heading, "printf 'k2:%s' \"$(head -c 32 /dev/urandom | base64 -w0)\""))
    expect(re.fullmatch(r"k2:[A-Za-z0-9+/]{43}=", key), "the command made no key")
    old = guest.said("cat", file)
    for keys, then in ((f"{key},{old}", "kanal " + says(SECURITY, heading, "wa-support-gateway key reencrypt")), (key, "")):
        guest.run("tee", file, text=keys)
        terminal.paste("sudo systemctl restart kanal-wa-support-gateway\n")
        all_ready(guest)
        doctor = terminal.paste(f"{then}kanal wa-support-gateway doctor\n")
        found(next(line for line in doctor.splitlines() if "encryption keys" in line))
    terminal.paste(FIRST_MESSAGE)


def new_password(guest, terminal):
    step("a new password for the gateway's role")
    guest.run("tee", "/etc/kanal/credentials/wa_support_gateway_db", text=secrets.token_hex(16) + "'\\ ü%")
    terminal.paste(says(OPERATIONS, "Upgrade", "sudo systemctl restart kanal-bootstrap.target"))
    terminal.paste("sudo systemctl restart kanal-wa-support-gateway\n")
    all_ready(guest)


def backup_and_restore(guest, terminal):
    step("backup")
    before = counted(guest)
    printed = terminal.paste(blocks(OPERATIONS, "Backup")[0])
    found(next((line for line in printed.splitlines() if line.startswith("/var/backups/")), printed))
    step("restore")
    terminal.paste(says(OPERATIONS, "Restore", "sudo systemctl stop 'kanal-*'"))
    guest.run("rm", "-r", "/var/lib/kanal/channel-service/uploads")
    today = guest.said("date", "+%F")
    for block in blocks(OPERATIONS, "Restore"):
        terminal.paste(re.sub(r"\b20\d\d-\d\d-\d\d\b", today, block))
    terminal.paste(says(OPERATIONS, "Restore", "sudo systemctl restart kanal-bootstrap.target"))
    terminal.paste(says(OPERATIONS, "Restore", "sudo systemctl restart kanal.target"))
    all_ready(guest)
    expect(counted(guest) == before, f"rows before: {before}, after: {counted(guest)}")
    guest.run("runuser", "-u", "kanal-channel", "--", "test", "-w", "/var/lib/kanal/channel-service/uploads")
    terminal.paste(FIRST_MESSAGE)
    found("as many rows as before, the files are the service's, and the next message went round")


def reboot(guest):
    step("a reboot")
    guest.reboot()
    for service in SERVICES:
        state = lambda service=service: guest.said("sh", "-c", f"systemctl is-active kanal-{service} || true")  # noqa: E731
        eventually(f"{service} does not come back", lambda state=state: state() == "active" or state())
    terminal = Terminal(guest)
    (commands,) = [block for block in blocks(OPERATIONS, INSTALL) if "kanal()" in block]
    terminal.paste(commands.split("\nkanal ")[0] + "\n")
    # Nobody has made a unit for the simulator, and it remembers nothing.
    terminal.paste(SIMULATOR)
    all_ready(guest)
    users(guest)
    terminal.paste(DEMO)
    terminal.paste(FIRST_MESSAGE)
    found("all three came back by themselves, and the next message went round")


def settings(guest):
    """What the prose asks for: addresses in place of example.org, and the token. Here WhatsApp and Chatwoot are the simulator."""
    own = {"channel": 3001, "gateway": 8070, "bridge": 3000}
    for service in SERVICES:
        file = f"/etc/kanal/{service}.env"
        text = guest.said("cat", file)
        text = text.replace("https://wa-server.example.org", "http://127.0.0.1:8090/wa")
        for name, port in own.items():
            text = text.replace(f"https://{name}.example.org", f"http://127.0.0.1:{port}")
        expect("example.org" not in text, f"{file} has an address that nobody replaced")
        text = re.sub(r"^(OUTBOUND_ALLOWED_PRIVATE_HOSTS=.*)$", r"\1,127.0.0.1:8090", text, flags=re.M)
        guest.run("tee", file, text=text + "\n")
    simulator = Terminal(guest)
    simulator.paste(SIMULATOR)


def judge_doctors(printed):
    verdicts = re.findall(r"^(\S+): (\d+) ok, (\d+) warn, (\d+) wrong, (\d+) skipped", printed, re.M)
    expect([name for name, *_ in verdicts] == list(SERVICES), f"doctors said: {printed}")
    expect(all(wrong == "0" for *_, wrong, _ in verdicts), printed)
    expect("settings are missing or wrong" not in printed, f"doctor did not ask:\n{printed}")


def main():
    work, base, binaries = (Path(argument) for argument in sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    guest = Guest(work, base, binaries)
    try:
        step("booting a bare Debian")
        guest.boot()
        terminal = Terminal(guest)
        install(guest, terminal)
        judge(guest, terminal)
        upgrade(guest, terminal)
        new_key(guest, terminal)
        new_password(guest, terminal)
        backup_and_restore(guest, terminal)
        reboot(guest)
        step("a stranger can install, use, upgrade, restore and reboot it")
    except Failed as failure:
        print(f"\nFAILED: {failure}\n    do: mend the document, or what it installs; the guest's console: {guest.log}", file=sys.stderr)
        sys.exit(1)
    finally:
        guest.end()
        if os.environ.get("KEEP_STACK") != "1":
            guest.remove()


main()
