"""Rules of our own for what is deployed: compose services, Kubernetes manifests, systemd units, the Dockerfile.

    deploy_check.py compose RENDERED SECRETS | manifests DIR KUBECTL | units ROOT | dockerfile

A variable that README's tables do not have is one that nobody reads, so all of them are compared. Every finding is printed; any makes
the exit code 1.
"""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
SERVICES = ("channel-service", "wa-support-gateway", "chatwoot-bridge")
# What the C library and Rust's standard library read.
OTHERS = {"TMPDIR"}
SECRET = re.compile(r"(PASSWORD|PASS|TOKEN|KEY|KEYS|SECRET|ACCESS_KEY_ID|URLENCODED)$")
DRAIN_SECONDS = 10

problems = []
# (service, variable) -> where it is set.
unread = {}


def problem(place, what):
    problems.append(f"{place}: {what}")


def expect(holds, place, what):
    if not holds:
        problem(place, what)


def readme_tables():
    """Per service: variable -> default."""
    text = (ROOT / "README.md").read_text()
    tables = {}
    for service, table in re.findall(r"<!-- config: (\S+) -->(.*?)<!-- /config -->", text, re.S):
        tables[service] = dict(re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \|", table, re.M))
    if set(tables) != set(SERVICES):
        sys.exit(f"README has tables of {sorted(tables)}, not of {sorted(SERVICES)}")
    return tables


TABLES = readme_tables()


def workspace_version():
    return re.search(r'\[workspace.package\]\nversion = "([^"]+)"', (ROOT / "Cargo.toml").read_text()).group(1)


def check_variables(service, names, place):
    """Whether the service reads each of these."""
    for name in names:
        plain = name.removesuffix("_FILE")
        if plain not in TABLES[service] and name not in TABLES[service] and name not in OTHERS:
            unread.setdefault((service, plain), []).append(place)


def check_no_secret(environment, place):
    for name, value in environment.items():
        if SECRET.search(name) and value not in (None, ""):
            problem(place, f"{name} stands there itself; {name}_FILE must name a file")


# ---- compose


def compose(rendered, secrets):
    document = yaml.safe_load(Path(rendered).read_text())
    services = document["services"]
    made = {path.name for path in Path(secrets).iterdir()}
    targets = dockerfile_targets()
    for name, secret in document["secrets"].items():
        file = Path(secret["file"])
        expect(file.parent.name == ".secrets" and file.name in made, f"secret {name}", f"deploy/docker/secrets does not make {file}")
    for name, service in services.items():
        place = f"compose {name}"
        ours = service["image"].startswith("kanal/")
        for limit in ("mem_limit", "cpus", "pids_limit"):
            expect(service.get(limit), place, f"no {limit}")
        environment = service.get("environment") or {}
        given = {entry["source"] if isinstance(entry, dict) else entry for entry in service.get("secrets", [])}
        check_no_secret(environment, place)
        for variable, value in environment.items():
            if str(value).startswith("/run/secrets/"):
                expect(value.removeprefix("/run/secrets/") in given, place, f"{variable} names a secret that it is not given")
        for port in service.get("ports", []):
            address = port.get("host_ip") if isinstance(port, dict) else str(port)
            expect(str(address).startswith("127.0.0.1"), place, f"port {port} is open to everybody")
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            if source.startswith("/"):
                expect(Path(source).exists(), place, f"{source} is not there")
        for other, how in (service.get("depends_on") or {}).items():
            expect(how["condition"] != "service_started", place, f"does not wait until {other} is well")
            wanted = set(services[other].get("profiles", []))
            expect(wanted <= set(service.get("profiles", [])), place, f"needs {other}, which is up in profile {wanted} only")
        if name != "postgres":
            expect("postgres_admin" not in given or name.endswith("-migrate"), place, "knows the administrator's password")
        if not ours:
            # Images without a shell or a client, beside nothing that waits for them.
            expect("healthcheck" in service or name in ("otel-collector", "tempo"), place, "no healthcheck")
            expect(re.search(r":v?\d", service["image"]), place, "no version")
            continue
        expect(service.get("user") == "10001:10001", place, "not the images' user")
        expect(service.get("read_only") is True, place, "may write its root file system")
        expect(service.get("cap_drop") == ["ALL"], place, "keeps capabilities")
        expect("no-new-privileges:true" in service.get("security_opt", []), place, "may gain privileges")
        expect(service["build"]["target"] in targets, place, f"no target {service['build']['target']} in the Dockerfile")
        program = service["build"]["target"]
        if program in SERVICES:
            check_variables(program, environment, place)
            migrates = any(variable.startswith("MIGRATE_") for variable in environment)
            expect(migrates == name.endswith("-migrate"), place, "only migrations know who migrates, and they must")
            expect(str(environment.get("PORT")) == TABLES[program]["PORT"].strip("`"), place, "another PORT than README's")
            if not migrates:
                waits = {how["condition"] for how in service["depends_on"].values()}
                expect("service_completed_successfully" in waits, place, "does not wait for its migration")
    for program in SERVICES:
        expect(program in services, "compose", f"no {program}")


# ---- Kubernetes


def manifests(directory, kubectl):
    import kubernetes_validate

    directory = Path(directory)
    rendered = {}
    for path in sorted(directory.rglob("kustomization.yaml")):
        place = str(path.parent.relative_to(directory))
        made = subprocess.run([kubectl, "kustomize", str(path.parent)], capture_output=True, text=True, check=False)
        if made.returncode != 0 or made.stderr.strip():
            problem(place, made.stderr.strip())
            continue
        documents = [document for document in yaml.safe_load_all(made.stdout) if document]
        rendered[place] = documents
        for document in documents:
            name = f"{place}: {document['kind']} {document['metadata']['name']}"
            if document["apiVersion"].startswith(("monitoring.coreos.com/", "external-secrets.io/")):
                continue
            try:
                kubernetes_validate.validate(document, "1.37", strict=True)
            except Exception as error:
                problem(name, f"{type(error).__name__}: {str(error).splitlines()[0]}")
    if problems:
        return
    keys = {
        secret["metadata"]["name"]: set(secret["data"])
        for secret in rendered["examples/secrets"]
        if secret["kind"] == "Secret"
    }
    outside = {d["metadata"]["name"] for d in rendered["examples/external-secrets"]}
    expect(outside == set(keys), "examples", f"one example has {outside}, the other {set(keys)}")
    for place, documents in rendered.items():
        if not place.startswith("examples"):
            check_set(place, documents, keys)
    for service in SERVICES:
        for place in (service, f"{service}/migrate", f"{service}/bootstrap"):
            expect(place in rendered, "kubernetes", f"no {place}")
        check_ingress(rendered["examples/ingress"], service)
    whole = {(d["kind"], d["metadata"]["name"]) for d in rendered["all"]}
    for service in SERVICES:
        missing = {(d["kind"], d["metadata"]["name"]) for d in rendered[service]} - whole
        expect(not missing, "all", f"lacks {missing}")


def of_kind(documents, kind):
    return {d["metadata"]["name"]: d for d in documents if d["kind"] == kind}


def selects(selector, labels):
    return all(labels.get(key) == value for key, value in (selector or {}).get("matchLabels", {}).items())


def check_set(place, documents, keys):
    settings = {name: document.get("data", {}) for name, document in of_kind(documents, "ConfigMap").items()}
    accounts = of_kind(documents, "ServiceAccount")
    for document in documents:
        if document["kind"] != "Namespace":
            expect(document["metadata"].get("namespace") == "kanal", place, f"{document['metadata']['name']} is in no namespace")
        expect(document["kind"] != "Secret", place, "has a secret in it")
        if document["kind"] in ("Deployment", "Job"):
            check_pod(place, document, settings, accounts, keys)
    for name, account in accounts.items():
        expect(account.get("automountServiceAccountToken") is False, f"{place}: {name}", "hands out a token")
    for name, deployment in of_kind(documents, "Deployment").items():
        check_company(place, name, deployment, documents, keys)


def check_pod(place, workload, settings, accounts, keys):
    name = workload["metadata"]["name"]
    place = f"{place}: {workload['kind']} {name}"
    service = name.removesuffix("-migrate").removesuffix("-bootstrap")
    template = workload["spec"]["template"]
    pod = template["spec"]
    security = pod.get("securityContext", {})
    expect(security.get("runAsNonRoot") is True and security.get("runAsUser", 0) >= 10000, place, "may run as root")
    expect(security.get("seccompProfile", {}).get("type") == "RuntimeDefault", place, "no seccomp profile")
    expect(pod.get("automountServiceAccountToken") is False, place, "gets a token of the cluster")
    expect(pod.get("serviceAccountName") in accounts, place, "has no account of its own in this set")
    for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
        expect(not pod.get(forbidden), place, forbidden)
    mounted = {}
    for volume in pod.get("volumes", []):
        expect(set(volume) - {"name"} <= {"secret", "emptyDir", "persistentVolumeClaim"}, place, f"volume {volume['name']}")
        if "secret" in volume:
            secret = volume["secret"]["secretName"]
            expect(secret in keys, place, f"the examples make no secret {secret}")
            mounted[volume["name"]] = secret
        if "emptyDir" in volume:
            expect((volume["emptyDir"] or {}).get("sizeLimit"), place, f"{volume['name']} has no bound")
    (container,) = pod["containers"]
    inside = container.get("securityContext", {})
    expect(inside.get("readOnlyRootFilesystem") is True, place, "may write its root file system")
    expect(inside.get("allowPrivilegeEscalation") is False, place, "may gain privileges")
    expect(inside.get("capabilities", {}).get("drop") == ["ALL"], place, "keeps capabilities")
    resources = container.get("resources", {})
    for what in ("requests", "limits"):
        for kind in ("cpu", "memory"):
            expect(resources.get(what, {}).get(kind), place, f"no {what}.{kind}")
    image = container["image"]
    expect(image.endswith(f"/{service}:{workspace_version()}"), place, f"image {image} is not this release's")
    environment = {}
    for source in container.get("envFrom", []):
        reference = source.get("configMapRef", {}).get("name")
        expect(reference in settings, place, f"no settings {reference} in this set")
        environment |= settings.get(reference, {})
    for variable in container.get("env", []):
        expect("value" in variable, place, f"{variable['name']} is a secret in the environment")
        environment[variable["name"]] = variable.get("value")
    check_variables(service, environment, place)
    check_no_secret(environment, place)
    paths = {mount["mountPath"]: mounted.get(mount["name"]) for mount in container.get("volumeMounts", [])}
    for variable, value in environment.items():
        if variable.endswith("_FILE") and value:
            file = Path(value)
            secret = paths.get(str(file.parent))
            expect(file.name in keys.get(secret, ()), place, f"{variable}: the examples' secret {secret} has no {file.name}")
    expect("/tmp" in paths, place, "no directory for temporary files")
    migrates = any(variable.startswith("MIGRATE_") for variable in environment)
    expect(migrates == (workload["kind"] == "Job"), place, "only migrations know who migrates, and they must")
    if workload["kind"] == "Job":
        expect(container["args"][0] == "migrate", place, "does not migrate")
        return
    expect(environment.get("PORT") == str(container["ports"][0]["containerPort"]), place, "PORT is another than the container's")
    for probe, path in (("startupProbe", "live"), ("livenessProbe", "live"), ("readinessProbe", "ready")):
        expect(container.get(probe, {}).get("httpGet", {}).get("path") == f"/health/{path}", place, f"no {probe}")
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    grace = pod.get("terminationGracePeriodSeconds", 30)
    expect(0 < sleep and sleep + DRAIN_SECONDS < grace <= sleep + DRAIN_SECONDS + 10, place, f"{grace} s are not the time it needs to stop")
    expect(len(pod.get("topologySpreadConstraints", [])) == 2, place, "is not spread over nodes and zones")


def check_company(place, name, deployment, documents, keys):
    """Everything that a deployment needs beside it is there and means it."""
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    where = f"{place}: {name}"
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    port = container["ports"][0]["containerPort"]
    service = of_kind(documents, "Service").get(name, {})
    expect(selects({"matchLabels": service.get("spec", {}).get("selector", {"": ""})}, labels), where, "its Service selects others")
    if "replicas" in deployment["spec"]:
        expect(deployment["spec"]["strategy"] == {"type": "Recreate"}, where, "one replica must stop before the next starts")
    else:
        scaling = of_kind(documents, "HorizontalPodAutoscaler").get(name, {}).get("spec", {})
        expect(scaling.get("scaleTargetRef", {}).get("name") == name and scaling.get("minReplicas", 0) >= 2, where, "no scaling of two or more")
        budget = of_kind(documents, "PodDisruptionBudget").get(name, {}).get("spec", {})
        expect(budget and selects(budget["selector"], labels), where, "no disruption budget")
        volumes = deployment["spec"]["template"]["spec"]["volumes"]
        expect(not any("persistentVolumeClaim" in volume for volume in volumes), where, "many replicas share a volume")
    policies = [p["spec"] for p in of_kind(documents, "NetworkPolicy").values() if p["spec"]["podSelector"] and selects(p["spec"]["podSelector"], labels)]
    expect(len(policies) == 1, where, f"{len(policies)} network policies mean it")
    for policy in policies:
        expect(set(policy["policyTypes"]) == {"Ingress", "Egress"}, where, "its policy leaves a way open")
        allowed = [p["port"] for rule in policy["ingress"] for p in rule.get("ports", [{"port": None}])]
        expect(allowed == [port] and all(rule.get("from") for rule in policy["ingress"]), where, f"its policy lets in to {allowed}")
        expect(all(rule.get("to") and rule.get("ports") for rule in policy["egress"]), where, "its policy lets out to anywhere")
    monitor = of_kind(documents, "ServiceMonitor").get(name, {}).get("spec", {})
    expect(monitor and selects(monitor["selector"], service.get("metadata", {}).get("labels", {})), where, "no monitor")
    for endpoint in monitor.get("endpoints", []):
        credentials = endpoint["authorization"]["credentials"]
        expect(credentials["key"] in keys.get(credentials["name"], ()), where, "its monitor's token is in no secret")
        expect(endpoint["port"] == container["ports"][0]["name"] == service["spec"]["ports"][0]["name"], where, "ports' names differ")


def check_ingress(documents, service):
    ingress = of_kind(documents, "Ingress").get(service)
    expect(ingress, "examples/ingress", f"nothing leads to {service}")
    for rule in (ingress or {}).get("spec", {}).get("rules", []):
        for path in rule["http"]["paths"]:
            expect(path["backend"]["service"]["name"] == service, "examples/ingress", f"{service} leads elsewhere")


# ---- systemd


def unit_lines(path):
    """(key, value) of a unit file; repeated keys stay."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    lines = [line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith(("#", ";"))]
    return [(key.strip(), value.strip()) for key, value in lines]


def units(root):
    root = Path(root)
    made = {path.name for path in (root / "etc/kanal/credentials").iterdir()}
    directory = root / "usr/local/lib/systemd/system"
    users = set(re.findall(r"^u (\S+)", (root / "usr/local/lib/sysusers.d/kanal.conf").read_text(), re.M))
    taken = []
    for service in SERVICES:
        for suffix in ("", "-migrate", "-bootstrap"):
            path = directory / f"kanal-{service}{suffix}.service"
            if not path.exists():
                problem(path.name, "is not there")
                continue
            lines = unit_lines(path)
            values = dict(lines)
            environment = {}
            for file in [value for key, value in lines if key == "EnvironmentFile"]:
                inside = root / file.lstrip("/")
                expect(inside.exists(), path.name, f"there is no {file}")
                environment |= dict(unit_lines(inside)) if inside.exists() else {}
            for value in [value for key, value in lines if key == "Environment"]:
                environment |= dict(part.split("=", 1) for part in value.split())
            credentials = dict(value.split(":", 1) for key, value in lines if key == "LoadCredential")
            check_variables(service, environment, path.name)
            check_no_secret(environment, path.name)
            for name, file in credentials.items():
                expect(Path(file).name in made, path.name, f"nobody makes {file}")
                expect(environment.get(f"{name}_FILE") == f"%d/{name}", path.name, f"is handed {name} and does not read it")
            for name, value in environment.items():
                if value.startswith("%d/"):
                    expect(value.removeprefix("%d/") in credentials, path.name, f"{name} names a credential that it is not handed")
            expect("MemoryMax" in values, path.name, "no MemoryMax")
            migrates = any(name.startswith("MIGRATE_") for name in environment)
            expect(migrates == bool(suffix), path.name, "only migrations know who migrates, and they must")
            expect(values["ExecStart"].startswith(f"/usr/local/bin/{service} "), path.name, "starts something else")
            expect(environment["PORT"] == TABLES[service]["PORT"].strip("`"), path.name, "another PORT than README's")
            if suffix:
                expect(values.get("Type") == "oneshot" and values.get("DynamicUser") == "yes", path.name, "is no one-shot with a passing user")
            else:
                taken.append(values.get("User"))
                expect(values.get("User") in users, path.name, f"nobody makes the user {values.get('User')}")
                expect(("Wants", f"kanal-{service}-migrate.service") in lines, path.name, "starts without its migration")
                expect(f"kanal-{service}-migrate.service" in [v for k, v in lines if k == "After"], path.name, "does not wait for its migration")
                expect(values.get("Restart") == "always" and values.get("StartLimitIntervalSec") == "0", path.name, "stays down")
                expect(int(values.get("TimeoutStopSec", 0)) > DRAIN_SECONDS, path.name, "is killed while it finishes")
    expect(len(set(taken)) == len(SERVICES), "systemd", "two services share a user")


# ---- Dockerfile


def dockerfile_text():
    text = (ROOT / "deploy/docker/Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M)
    return re.sub(r"\\\n\s*", " ", text)


def dockerfile_targets():
    return re.findall(r"^FROM \S+ AS (\S+)", dockerfile_text(), re.M)


def dockerfile():
    text = dockerfile_text()
    stages = re.split(r"^FROM ", text, flags=re.M)[1:]
    named = {}
    ignored = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    members = {}
    for manifest in [*ROOT.glob("crates/*/Cargo.toml"), *ROOT.glob("services/*/Cargo.toml")]:
        members[re.search(r'name = "([^"]+)"', manifest.read_text()).group(1)] = manifest.parent
    for path in ignored:
        expect((ROOT / path).exists(), ".dockerignore", f"{path} is not there")
    for stage in stages:
        base, _, name = stage.splitlines()[0].split()[:3]
        lines = stage.splitlines()[1:]
        place = f"Dockerfile {name}"
        for line in lines:
            if line.startswith("COPY ") and "--from=" not in line:
                *sources, _ = [word for word in line.split()[1:] if not word.startswith("--")]
                for source in sources:
                    expect((ROOT / source).exists(), place, f"{source} is not there")
                    sent = source == "." or any(source.rstrip("/") == path or source.startswith(path + "/") for path in ignored)
                    expect(sent, place, f".dockerignore keeps {source} from the builder")
            for origin in re.findall(r"--from=(\S+)", line):
                expect(origin in named, place, f"there is no stage {origin} before it")
            for package in re.findall(r" -p (\S+)", line):
                expect((members.get(package, ROOT / "nowhere") / "src/main.rs").exists(), place, f"no binary {package}")
        named[name] = {"base": base, "lines": lines}
    built = set(re.findall(r" -p (\S+)", "\n".join(named["build"]["lines"])))
    for name in (*SERVICES, "simulator"):
        place = f"Dockerfile {name}"
        if name not in named:
            problem(place, "no such target")
            continue
        stage = named[name]
        expect(name in built, place, "is not built")
        lines = named[stage["base"]]["lines"] + stage["lines"]
        expect(named[stage["base"]]["base"] == "scratch", place, "there is more in it than it needs")
        last_user = [line.split()[1] for line in lines if line.startswith("USER ")][-1:]
        expect(last_user == ["10001:10001"], place, "runs as root")
        expect(f'ENTRYPOINT ["{name}"]' in lines, place, "starts something else")
        expect(any(line.startswith("HEALTHCHECK ") and line.endswith(f'CMD ["{name}", "healthcheck"]') for line in lines), place, "no HEALTHCHECK without a shell")
        sources = "".join(path.read_text() for path in (members[name] / "src").rglob("*.rs"))
        expect(re.search(r"\bHealthcheck\b", sources), place, "has no command healthcheck")
        expect(not any(line.startswith("RUN ") for line in stage["lines"]), place, "runs something where there is no shell")
        labels = "\n".join(lines)
        for label in ("title", "description", "version", "revision", "created", "licenses", "vendor"):
            expect(f"org.opencontainers.image.{label}=" in labels, place, f"no label {label}")
        if name in TABLES:
            expect(f"EXPOSE {TABLES[name]['PORT'].strip('`')}" in lines, place, "another port than README's")
            environment = dict(pair.split("=", 1) for line in lines if line.startswith("ENV ") for pair in line.split()[1:])
            environment.pop("PATH", None)
            check_variables(name, environment, place)
    expect(f"ARG VERSION={workspace_version()}" in named["runtime"]["lines"], "Dockerfile", "VERSION is not the workspace's")


def main():
    part, *arguments = sys.argv[1:]
    {"compose": compose, "manifests": manifests, "units": units, "dockerfile": dockerfile}[part](*arguments)
    for (service, name), places in unread.items():
        problem(places[0], f"{name} is not in README's table of {service}; {len(set(places))} places set it")
    for line in problems:
        print(f"  {line}", file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
